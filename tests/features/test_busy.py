"""A store that answers in time, asked by a process that is busy: the time of the one is not that of the other."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress

from scoreline.core.batch import Context
from scoreline.core.ports import FeatureRow, Looked, Views
from scoreline.core.rows import read_rows
from scoreline.core.schema import Field, Schema
from scoreline.features.known import Known
from scoreline.features.ladder import Ladder

SCHEMA = Schema(
    (Field("amount", "number"), Field("visits", "integer", source="store", default=3)),
    "customer",
)
BUDGET_S = 0.05
BUSY_S = 0.2


class Echo:
    """A store at the other end of a connection: it has everybody, and says so in half its time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    def get(self, views: Views, entities: Sequence[str]) -> Looked:
        return [[FeatureRow(entity, time.time_ns(), {"visits": 12}) for _ in views] for entity in entities]

    async def aget(self, views: Views, entities: Sequence[str]) -> Looked:
        self._writer.write(b"?")
        await self._reader.readexactly(1)
        return self.get(views, entities)

    async def aclose(self) -> None: ...


@contextmanager
def answering() -> Iterator[int]:
    """A server that sends back what it gets, in half the time it has, in a thread of its own; its port."""

    def answer() -> None:
        with suppress(OSError), listener.accept()[0] as found:
            while asked := found.recv(1):
                time.sleep(BUDGET_S / 2)
                found.sendall(asked)

    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        threading.Thread(target=answer, daemon=True).start()
        yield listener.getsockname()[1]


def test_an_answer_that_was_there_in_time_is_taken_though_this_process_was_busy() -> None:
    """Others are scored while it is looked up, for longer than the store may take."""

    async def go(port: int) -> tuple[float, bool]:
        ladder = Ladder(Echo(*await asyncio.open_connection("127.0.0.1", port)), Known(10))
        lookup = ladder.looking(SCHEMA, BUDGET_S)
        assert lookup is not None
        batch = read_rows(SCHEMA, [{"amount": 1.0, "customer": "anna"}], Context(1))
        asked = asyncio.create_task(lookup.in_time(batch))
        for _ in range(5):
            await asyncio.sleep(0)
        time.sleep(BUSY_S)
        found = await asked
        return found.values[0, 1], ladder.breaker(BUDGET_S).is_open

    with answering() as port:
        assert asyncio.run(go(port)) == (12.0, False)
