"""A connection that rests: whatever it sent ahead is answered after that, and costs little until then."""

import asyncio
from typing import Any

import pytest
import uvicorn

from scoreline.web.corked import PIECE_BYTES, CorkedProtocol
from scoreline.web.line import NORMAL, Place
from scoreline.web.rest import REFUSALS

EVER_NS = 1 << 62
REQUEST = b"POST /%s HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n"
FIRST, NEXT = REQUEST % b"patient", REQUEST % b"hasty"


class App:
    """Answers at once; `/hasty` is too late for any line."""

    def place(self, scope: Any) -> Place:
        return Place(NORMAL, EVER_NS if scope["path"] == "/patient" else 0)

    def at_once(self, scope: Any, body: bytes) -> Any:
        return 200, [(b"content-length", b"0")], b""

    def late(self, scope: Any) -> Any:
        return 503, [(b"content-length", b"0")], b""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("nothing here goes the way of ASGI")


class Wire:
    """A transport that keeps what is written, and knows whether it is read from."""

    def __init__(self) -> None:
        self.raw = b""
        self.is_read = True

    def write(self, data: bytes) -> None:
        self.raw += data

    def pause_reading(self) -> None:
        self.is_read = False

    def resume_reading(self) -> None:
        self.is_read = True

    def is_closing(self) -> bool:
        return False

    def get_extra_info(self, name: str) -> None: ...

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None

    @property
    def n_answers(self) -> int:
        return self.raw.count(b"HTTP/1.1 ")


class Waiting:
    """Somebody in line."""

    def begin(self) -> bool:
        return True

    def refuse(self) -> None: ...


def long_line(protocol: CorkedProtocol, n: int) -> None:
    """Others are there, and what each of them takes is a second."""
    line = protocol._line
    line._each_ns = 1e9
    for _ in range(n):
        assert line.join(Waiting(), Place(NORMAL, EVER_NS))


async def told(sent: bytes, rests: int) -> tuple[int, int, bool]:
    """How many answers there are before and after its rest, and whether it is read from in the end."""
    config = uvicorn.Config(App(), http=CorkedProtocol, lifespan="off", log_config=None, proxy_headers=False)
    config.load()
    protocol = CorkedProtocol(config, uvicorn.Server(config).server_state, {}, asyncio.get_running_loop())
    wire = Wire()
    protocol.connection_made(wire)
    await asyncio.sleep(0)
    long_line(protocol, 1)
    protocol.data_received(sent)
    long_line(protocol, 3)
    for _ in range(20):
        await asyncio.sleep(0)
    before = wire.n_answers
    for _ in range(rests):
        long_line(protocol, 3)
        protocol.read_again()
        for _ in range(20):
            await asyncio.sleep(0)
    return before, wire.n_answers, wire.is_read


def test_what_a_client_sent_ahead_of_its_rest_is_read_after_it() -> None:
    """Its first request waits in line, so the others are not all parsed; the next one is refused, and it rests."""
    n = 2 * PIECE_BYTES // len(NEXT)
    _, after, is_read = asyncio.run(told(FIRST + NEXT * n, n // REFUSALS + 2))
    assert (after, is_read) == (1 + n, True)


@pytest.mark.parametrize("rests", (0, 1, 5))
def test_a_client_that_rests_costs_few_refusals_however_much_it_sent_ahead(rests: int) -> None:
    n = 8 * PIECE_BYTES // len(NEXT)
    before, after, _ = asyncio.run(told(NEXT * n, rests))
    assert (before, after) == (REFUSALS, REFUSALS * (1 + rests))


def test_all_that_was_sent_ahead_is_answered_in_the_end() -> None:
    n = 8 * PIECE_BYTES // len(NEXT)
    _, after, is_read = asyncio.run(told(NEXT * n, n // REFUSALS + 20))
    assert (after, is_read) == (n, True)


def test_a_client_that_is_gone_waits_no_more() -> None:
    async def go() -> tuple[int, int]:
        config = uvicorn.Config(App(), http=CorkedProtocol, lifespan="off", log_config=None, proxy_headers=False)
        config.load()
        protocol = CorkedProtocol(config, uvicorn.Server(config).server_state, {}, asyncio.get_running_loop())
        protocol.connection_made(Wire())
        long_line(protocol, 1)
        protocol.data_received(FIRST)
        before = len(protocol._line)
        protocol.connection_lost(None)
        return before, len(protocol._line)

    assert asyncio.run(go()) == (2, 1)
