"""The spool: one folder of segments that workers append to and the steward tails.

Delivery order of a decision:
  1. the engine has scored it;
  2. its frame goes to the worker's segment, with those of the same turn of the loop in one `write` (`records.turn`): it
     outlives the process from here on;
  3. only then the answer leaves.
A write that does not go through whole is taken back, and its requests refused.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from scoreline.core.batch import Batch
from scoreline.core.decision import Author, Decisions
from scoreline.core.entities import entity_hash
from scoreline.core.ports import Score, Sink
from scoreline.records.frames import MAGIC, Item, read_frames
from scoreline.records.segments import BEGIN, Segment, read_items, segments, size_of


def recorded(score: Score, sink: Sink, entity_key: bytes = b"") -> Score:
    """The same score, with every decision in the sink before it is answered.

    Whom a row is about is kept as a hash with `entity_key`: who has only the record cannot tell, nor try names.
    """

    def score_and_record(batch: Batch) -> Decisions:
        decisions = score(batch)
        if batch.entities and not decisions.entities:
            decisions.entities = [entity_hash(entity, entity_key) for entity in batch.entities]
        sink.write(decisions)
        return decisions

    return score_and_record


class SpoolReader:
    """Tails every segment of a folder from where it last stopped; what it has read it hands on once and in order."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._offsets: dict[str, int] = {}
        self._authors: dict[str, dict[int, Author]] = {}

    def read(self, take: Callable[[Item], None]) -> int:
        """Hands on what has been appended since the last call, about 256 KiB per segment; returns how many decisions.

        Segments that are gone are forgotten.
        """
        found = segments(self._folder)
        for name in self._offsets.keys() - {segment.path.name for segment in found}:
            del self._offsets[name]
            self._authors.pop(name, None)
        return sum(self._read_segment(segment, take) for segment in found)

    @property
    def offsets(self) -> dict[str, int]:
        """How far each segment was handed on, by name."""
        return dict(self._offsets)

    def begin(self, offsets: Mapping[str, int]) -> None:
        """Goes on from where another reader has stopped."""
        self._offsets = dict(offsets)

    def _read_segment(self, segment: Segment, take: Callable[[Item], None]) -> int:
        offset = self._offsets.get(segment.path.name, BEGIN)
        if size_of(segment.path) <= offset:
            return 0
        found, end = read_items(segment.path, offset, self._authors.setdefault(segment.path.name, {}))
        for item in found:
            take(item)
        self._offsets[segment.path.name] = end
        return sum(len(item) for item in found if isinstance(item, Decisions))

    @property
    def lag_bytes(self) -> int:
        """Bytes appended and not yet read."""
        return sum(
            max(0, size_of(segment.path) - self._offsets.get(segment.path.name, BEGIN))
            for segment in segments(self._folder)
        )


def read_spool(folder: Path) -> Iterator[Decisions]:
    """Every decision in a spool, in the order each segment was written; what is deleted meanwhile is passed over."""
    for segment in segments(folder):
        with suppress(FileNotFoundError):
            raw = segment.path.read_bytes()
            yield from (item for item, _ in read_frames(raw[len(MAGIC) :], {}) if isinstance(item, Decisions))
