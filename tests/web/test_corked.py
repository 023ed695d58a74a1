"""Corked writes leave once per turn of the loop, in order, and nothing is left behind."""

import asyncio
from typing import Any

import pytest
import uvicorn

from scoreline.web.corked import Cork, CorkedProtocol, CorkedTransport


class Wire:
    """A transport that notes what is done with it."""

    def __init__(self) -> None:
        self.done: list[Any] = []

    def write(self, data: bytes) -> None:
        self.done.append(data)

    def close(self) -> None:
        self.done.append("closed")

    def is_closing(self) -> bool:
        return "closed" in self.done

    def get_extra_info(self, name: str) -> None:
        return None

    def __getattr__(self, name: str) -> Any:
        return lambda *_: name


def test_what_is_written_in_one_turn_leaves_as_one_write_per_connection() -> None:
    async def go() -> tuple[Wire, Wire]:
        cork = Cork(asyncio.get_running_loop())
        first, second = Wire(), Wire()
        one, other = CorkedTransport(first, cork), CorkedTransport(second, cork)
        one.write(b"a")
        other.write(b"x")
        one.write(b"b")
        assert (first.done, second.done) == ([], [])
        await asyncio.sleep(0)
        assert (first.done, second.done) == ([b"ab"], [b"x"])
        one.write(b"c")
        await asyncio.sleep(0)
        return first, second

    first, second = asyncio.run(go())
    assert (first.done, second.done) == ([b"ab", b"c"], [b"x"])


def test_closing_sends_what_is_kept_first_and_once() -> None:
    async def go() -> Wire:
        wire = Wire()
        transport = CorkedTransport(wire, Cork(asyncio.get_running_loop()))
        transport.write(b"a")
        transport.close()
        await asyncio.sleep(0)
        return wire

    assert asyncio.run(go()).done == [b"a", "closed"]


def test_everything_else_goes_to_the_transport_itself() -> None:
    async def go() -> None:
        wire = Wire()
        transport = CorkedTransport(wire, Cork(asyncio.get_running_loop()))
        assert transport.is_closing() is False
        assert transport.pause_reading() == "pause_reading"
        wire.close()
        assert transport.is_closing() is True

    asyncio.run(go())


def received(*pieces: bytes) -> tuple[Wire, list[bytes]]:
    """What the protocol writes for what it receives, and the bodies its app was given."""
    bodies: list[bytes] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        body = message["body"]
        while message["more_body"]:
            message = await receive()
            body += message["body"]
        bodies.append(body)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    async def go() -> Wire:
        config = uvicorn.Config(app, http=CorkedProtocol, lifespan="off", log_config=None)
        config.load()
        wire = Wire()
        protocol = CorkedProtocol(config, uvicorn.Server(config).server_state, {}, asyncio.get_running_loop())
        protocol.connection_made(wire)  # type: ignore[arg-type]
        for piece in pieces:
            protocol.data_received(piece)
        for _ in range(20):
            await asyncio.sleep(0)
        protocol.connection_lost(None)
        return wire

    return asyncio.run(go()), bodies


def post(body: bytes, head: bytes = b"") -> bytes:
    return b"POST / HTTP/1.1\r\nhost: x\r\n%scontent-length: %d\r\n\r\n%s" % (head, len(body), body)


@pytest.mark.parametrize("size", (10, 70_000, 200_000))
def test_a_large_request_that_comes_in_one_piece_is_no_large_head(size: int) -> None:
    wire, bodies = received(post(b"x" * size), post(b"y" * size))
    assert bodies == [b"x" * size, b"y" * size]
    assert b"".join(found for found in wire.done if found != "closed").count(b"HTTP/1.1 200") == 2
    assert not any(b"431" in found for found in wire.done if found != "closed")


def test_a_head_that_is_too_large_is_answered_431_and_the_connection_closed() -> None:
    piece = b"x-more: " + b"x" * 1000 + b"\r\n"
    wire, bodies = received(b"POST / HTTP/1.1\r\nhost: x\r\n", *[piece] * 80)
    assert bodies == []
    assert wire.done[0].startswith(b"HTTP/1.1 431")
    assert b"/errors/head-too-large" in wire.done[0]
    assert "closed" in wire.done


def test_an_offered_upgrade_is_ignored_and_the_body_kept() -> None:
    head = b"connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
    assert received(post(b'{"amount": 1}', head))[1] == [b'{"amount": 1}']
    kept = b"a\r\nupgrade: of the body stays"
    assert received(post(kept, head))[1] == [kept]
