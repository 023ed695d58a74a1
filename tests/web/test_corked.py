"""Corked writes leave once per turn of the loop, in order, and nothing is left behind."""

import asyncio
from typing import Any

from scoreline.web.corked import Cork, CorkedTransport


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
        assert transport.get_extra_info("peername") == "get_extra_info"
        wire.close()
        assert transport.is_closing() is True

    asyncio.run(go())
