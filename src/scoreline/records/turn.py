"""One turn of a worker's event loop: all that is decided in it goes to the spool with one `write`.

Delivery order of a turn:
  1. each request that has come is scored, its decisions wait here and its answer in its transport;
  2. before the first answer leaves, `commit` writes a frame of each request, all with one `write`;
  3. only then answers leave. Where the write does not go through, each of them is replaced by its refusal.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from scoreline.core.decision import Author, Decisions
from scoreline.core.errors import RecordRefused
from scoreline.records.writer import SpoolWriter

Refused = Callable[[RecordRefused], None]


class Turn:
    """Decisions that wait to be written together. A `core.ports.Sink` whose `write` is durable after `commit`."""

    def __init__(self, writer: SpoolWriter) -> None:
        self._writer = writer
        self._waiting: list[Decisions] = []
        self._told: list[Refused] = []

    def write(self, decisions: Decisions) -> None:
        self._waiting.append(decisions)

    def tell(self, refused: Refused) -> None:
        """Takes what to call if the decisions that wait cannot be written."""
        self._told.append(refused)

    @contextmanager
    def aside(self) -> Iterator[list[Decisions]]:
        """What is written meanwhile waits in the list it gives, and nowhere else."""
        waiting, self._waiting = self._waiting, []
        try:
            yield self._waiting
        finally:
            self._waiting = waiting

    def commit(self) -> None:
        """Writes what waits. Never raises: where it cannot be written, all who asked are told."""
        waiting, told = self._waiting, self._told
        if not waiting:
            return
        self._waiting, self._told = [], []
        try:
            self._writer.write_all(waiting)
        except RecordRefused as error:
            for refused in told:
                refused(error)

    def failed(self, author: Author, base: int, time_ns: int, kind: str, entities: Sequence[bytes]) -> None:
        """Keeps that a version did not score a request; it waits for nothing."""
        self._writer.failed(author, base, time_ns, kind, entities)

    def unsent(self, decisions: Decisions) -> None:
        """Marks decisions whose answer never left; they are written first, where they wait."""
        self.commit()
        self._writer.unsent(decisions)
