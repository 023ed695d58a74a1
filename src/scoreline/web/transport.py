"""A transport whose writes of one turn of the event loop leave together, and that knows what never left."""

import asyncio
import os
from collections.abc import Callable
from typing import Any, Final

from uvicorn.protocols.http.flow_control import FlowControl

LOOK_S: Final = 0.05
MAX_KEPT_BYTES: Final = 64 * 1024
_PASSED_ON: Final = (
    "is_closing", "pause_reading", "resume_reading", "get_extra_info", "set_protocol",
)  # fmt: skip


class Cork:
    """The connections of one event loop with something to write; `commit` is called before any of it leaves."""

    def __init__(self, loop: asyncio.AbstractEventLoop, commit: Callable[[], None] = lambda: None) -> None:
        self._loop = loop
        self.commit = commit
        self._waiting: list[CorkedTransport] = []

    def add(self, transport: "CorkedTransport") -> None:
        if not self._waiting:
            self._loop.call_soon(self.release)
        self._waiting.append(transport)

    def look_later(self, transport: "CorkedTransport") -> None:
        self._loop.call_later(LOOK_S, transport.look)

    def release(self) -> None:
        """Sends what is kept; the loop calls it at the end of each turn."""
        waiting, self._waiting = self._waiting, []
        for transport in waiting:
            transport.release()


def _plain_socket(transport: Any) -> int:
    """The descriptor of a connection whose bytes are sent as they are, -1 where something lies between."""
    found = transport.get_extra_info("socket")
    return -1 if found is None or transport.get_extra_info("sslcontext") is not None else int(found.fileno())


class CorkedTransport:
    """A transport that keeps what is written until its cork releases it, or it is closed.

    What is released goes to the kernel at once where nothing waits before it, so that it is known what never left:
    `expect` takes what to call then. What the kernel has taken may still not arrive: nobody here can know.
    """

    __slots__ = ("_aborted", "_cork", "_fd", "_kept", "_kept_bytes", "_lost", "_transport", "_under_way", *_PASSED_ON)

    def __init__(self, transport: Any, cork: Cork) -> None:
        self._transport = transport
        self._cork = cork
        self._fd = _plain_socket(transport)
        self._kept: list[bytes] = []
        self._kept_bytes = 0
        self._under_way: list[Callable[[], None]] = []
        self._lost = self._aborted = False
        for name in _PASSED_ON:
            setattr(self, name, getattr(transport, name))

    def write(self, data: bytes) -> None:
        if not self._kept:
            self._cork.add(self)
        self._kept.append(data)
        self._kept_bytes += len(data)
        if self._kept_bytes > MAX_KEPT_BYTES:
            self.release()

    def release(self) -> None:
        if self._kept:
            self._cork.commit()
            data, self._kept, self._kept_bytes = b"".join(self._kept), [], 0
            if not self._transport.is_closing():
                self._send(data)

    def expect(self, never_left: Callable[[], None]) -> int:
        """Takes what to call if the answer written next, or a part of it, never leaves; its place, for `replace`."""
        if self._lost:
            never_left()
        else:
            self._under_way.append(never_left)
        return len(self._kept)

    def replace(self, position: int, data: bytes, never_left: Callable[[], None]) -> None:
        """Puts another answer in the place of one that has not left; nobody is told any more if that never leaves."""
        if position < len(self._kept):
            self._kept[position] = data
        if never_left in self._under_way:
            self._under_way.remove(never_left)

    def lost(self, error: Exception | None) -> None:
        """The connection is gone: what has not left never will. One that was closed without an error had sent all."""
        self._lost = True
        under_way, self._under_way = self._under_way, []
        if error is None and not self._aborted and not self._kept:
            return
        for never_left in under_way:
            never_left()

    def abort(self) -> None:
        self._aborted = True
        self._transport.abort()

    def _send(self, data: bytes) -> None:
        transport = self._transport
        if self._fd < 0 or transport.get_write_buffer_size():
            transport.write(data)
            self._cork.look_later(self)
            return
        try:
            sent = os.write(self._fd, data)
        except BlockingIOError:
            sent = 0
        except OSError:  # the client is gone
            self.abort()
            return
        if sent == len(data):
            self._under_way.clear()
        else:
            transport.write(memoryview(data)[sent:])
            self._cork.look_later(self)

    def look(self) -> None:
        """Whether what waited has left by now; looks again later if not.

        A connection that is closing has no buffer any more once it has failed: `lost` will say how it ended.
        """
        if self._lost or not self._under_way or self._transport.is_closing():
            return
        if self._kept or self._transport.get_write_buffer_size():
            self._cork.look_later(self)
        else:
            self._under_way.clear()

    def close(self) -> None:
        self.release()
        self._transport.close()


class Gate(FlowControl):
    """Reads nothing more while requests, or bytes of them, wait behind the one under way, or while its body is held.

    `held_ns`: since when it is, by `time.perf_counter_ns`.
    """

    def __init__(self, transport: Any, pipeline: Any) -> None:
        super().__init__(transport)
        self._pipeline = pipeline
        self.behind = b""
        self.held_ns = 0

    def resume_reading(self) -> None:
        if not self._pipeline and not self.behind and not self.held_ns:
            super().resume_reading()
