"""uvicorn's HTTP protocol with corked writes.

uvicorn writes head and body of an answer separately, each of them at once, and each may wake the peer. Corked, the
answers of one turn of the event loop leave together at its end, one write per connection. Measured on one core with 32
connections: 35 us instead of 51 us for a prediction, 17 instead of 22 for a fixed answer (`make bench`).
"""

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_PASSED_ON: Final = (
    "is_closing", "pause_reading", "resume_reading", "get_extra_info", "set_protocol", "abort",
)  # fmt: skip


class Cork:
    """The connections of one event loop with something to write."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: list[CorkedTransport] = []

    def add(self, transport: "CorkedTransport") -> None:
        if not self._waiting:
            self._loop.call_soon(self._release)
        self._waiting.append(transport)

    def _release(self) -> None:
        waiting, self._waiting = self._waiting, []
        for transport in waiting:
            transport.release()


class CorkedTransport:
    """A transport that keeps what is written until its cork releases it, or it is closed."""

    __slots__ = ("_cork", "_kept", "_transport", *_PASSED_ON)

    def __init__(self, transport: Any, cork: Cork) -> None:
        self._transport = transport
        self._cork = cork
        self._kept: list[bytes] = []
        for name in _PASSED_ON:
            setattr(self, name, getattr(transport, name))

    def write(self, data: bytes) -> None:
        if not self._kept:
            self._cork.add(self)
        self._kept.append(data)

    def release(self) -> None:
        if self._kept:
            data, self._kept = b"".join(self._kept), []
            self._transport.write(data)

    def close(self) -> None:
        self.release()
        self._transport.close()


class CorkedProtocol(HttpToolsProtocol):
    """What `uvicorn.Config(http=...)` takes."""

    def connection_made(self, transport: Any) -> None:
        cork = getattr(self.server_state, "cork", None)
        if cork is None:
            cork = self.server_state.cork = Cork(self.loop)  # type: ignore[attr-defined]
        super().connection_made(CorkedTransport(transport, cork))  # type: ignore[arg-type]
