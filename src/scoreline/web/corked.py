"""uvicorn's HTTP protocol with corked writes.

uvicorn writes head and body of an answer separately, each of them at once, and each may wake the peer. Corked, the
answers of one turn of the event loop leave together at its end, one write per connection. Measured on one core with 32
connections: 35 us instead of 51 us for a prediction, 17 instead of 22 for a fixed answer (`make bench`).
"""

import asyncio
import os
import re
import time
from collections.abc import Callable
from typing import Any, Final

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from scoreline.web.asgi import CLOSE, EXPECT, Answer
from scoreline.web.problems import problem_json

MAX_HEAD_BYTES: Final = 64 * 1024
MAX_TURN_S: Final = 0.001
LOOK_S: Final = 0.05
MAX_KEPT_BYTES: Final = 64 * 1024
_OFFER: Final = re.compile(rb"\r\nupgrade[ \t]*:", re.IGNORECASE)
_LAST: Final = b"connection: close\r\ncontent-type: application/problem+json\r\ncontent-length: %d\r\n\r\n%s"


def _last(status: int, kind: str, title: str, detail: str) -> bytes:
    """An answer to a head that no request was made of; the connection is closed after it."""
    body = problem_json(status, kind, title, detail)
    return STATUS_LINE[status] + _LAST % (len(body), body)


_TOO_LARGE: Final = _last(431, "head-too-large", "The request head is too large", "at most 64 KiB of headers")
_NO_HTTP: Final = _last(400, "malformed", "The request is not HTTP", "its head, length or chunks contradict HTTP/1.1")
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

    def look_later(self, transport: "CorkedTransport") -> None:
        self._loop.call_later(LOOK_S, transport.look)

    def _release(self) -> None:
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

    __slots__ = ("_cork", "_fd", "_kept", "_kept_bytes", "_lost", "_transport", "_under_way", *_PASSED_ON)

    def __init__(self, transport: Any, cork: Cork) -> None:
        self._transport = transport
        self._cork = cork
        self._fd = _plain_socket(transport)
        self._kept: list[bytes] = []
        self._kept_bytes = 0
        self._under_way: list[Callable[[], None]] = []
        self._lost = False
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
            data, self._kept, self._kept_bytes = b"".join(self._kept), [], 0
            if not self._transport.is_closing():
                self._send(data)

    def expect(self, never_left: Callable[[], None]) -> None:
        """Takes what to call if the answer written next, or a part of it, never leaves this process."""
        if self._lost:
            never_left()
        else:
            self._under_way.append(never_left)

    def lost(self) -> None:
        """The connection is gone: what has not left never will."""
        self._lost = True
        under_way, self._under_way = self._under_way, []
        for never_left in under_way:
            never_left()

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
            transport.abort()
            return
        if sent == len(data):
            self._under_way.clear()
        else:
            transport.write(memoryview(data)[sent:])
            self._cork.look_later(self)

    def look(self) -> None:
        """Whether what waited has left by now; looks again later if not."""
        if self._lost or not self._under_way:
            return
        if self._kept or self._transport.get_write_buffer_size():
            self._cork.look_later(self)
        else:
            self._under_way.clear()

    def close(self) -> None:
        self.release()
        self._transport.close()


class Gate(FlowControl):
    """Reads nothing more while requests wait behind the one under way."""

    def __init__(self, transport: Any, pipeline: Any) -> None:
        super().__init__(transport)
        self._pipeline = pipeline

    def resume_reading(self) -> None:
        if not self._pipeline:
            super().resume_reading()


class CorkedProtocol(HttpToolsProtocol):
    """What `uvicorn.Config(http=...)` takes. Beside the cork: a limit on request heads, and no upgrades.

    A client may offer an upgrade (Java's offers h2c with every first request) and a server may ignore it (RFC 9110,
    7.8); uvicorn's parser would drop the body, so it never sees the offer.
    """

    _head_bytes = 0
    _next: "tuple[RequestResponseCycle, Any] | None" = None
    _starting = False
    _waiting: RequestResponseCycle | None = None

    def connection_made(self, transport: Any) -> None:
        cork = getattr(self.server_state, "cork", None)
        if cork is None:
            cork = self.server_state.cork = Cork(self.loop)  # type: ignore[attr-defined]
        super().connection_made(CorkedTransport(transport, cork))  # type: ignore[arg-type]
        self.flow = Gate(self.transport, self.pipeline)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.transport.lost()  # type: ignore[attr-defined]
        if self._next is not None:
            self._next[0].on_response = _nothing
            self._next = self._waiting = None

    def data_received(self, data: bytes) -> None:
        if self.cycle is None or not self.cycle.more_body:
            end = data.find(b"\r\n\r\n")  # a search of the body, too, would take as long as decoding it
            end = end if end >= 0 else len(data)
            if data.find(b"pgrade", 0, end) >= 0 or data.find(b"PGRADE", 0, end) >= 0:
                data = _OFFER.sub(rb"\r\nx-offered:", data[:end]) + data[end:]
        scope = self.scope
        self._starting = True  # a request is not begun before all bytes at hand are parsed: its body may be whole
        super().data_received(data)
        self._starting = False
        if not self.transport.is_closing():  # nothing is decided for a client that was refused already
            self._start()
        if self.scope is None or "path" in self.scope:  # no head is half read
            self._head_bytes = 0
            return
        if self.scope is not scope:
            self._head_bytes = 0
            return  # it began in this piece, nobody knows where: counted from the next one on
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.transport.write(_TOO_LARGE)
            self.transport.close()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002
        """What is no HTTP gets a problem as everything else does."""
        self.transport.write(_NO_HTTP)
        self.transport.close()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._next = cycle, app
        if not self._starting:
            self._start()

    def _start(self) -> None:
        """Begins the next request: at once, without a task, where the app can. Its end may bring the one behind it."""
        self._starting = True
        until_s = time.perf_counter() + MAX_TURN_S
        while self._next is not None:
            if time.perf_counter() > until_s:
                self.flow.pause_reading()
                self.loop.call_soon(self._start)  # others have their turn
                break
            cycle, app = self._next
            if cycle.more_body and self._waits(cycle, app):
                cycle.flow.resume_reading()
                break  # until more of it is received
            self._next = self._waiting = None
            cycle.scope[EXPECT] = cycle.transport.expect  # type: ignore[attr-defined, typeddict-unknown-key]
            prompt = not cycle.more_body and not cycle.flow.write_paused and hasattr(app, "at_once")
            answer = app.at_once(cycle.scope, cycle.body) if prompt else None
            if answer is None:
                super()._start_asgi_task(cycle, app)
            else:
                _send_whole(cycle, answer)
        self._starting = False

    def _waits(self, cycle: RequestResponseCycle, app: Any) -> bool:
        """Whether a request may begin when its body is whole; asked once, when its head is here."""
        if self._waiting is not cycle:
            prompt = hasattr(app, "waits") and not cycle.waiting_for_100_continue
            self._waiting = cycle if prompt and app.waits(cycle.scope) else None
        return self._waiting is cycle


def _send_whole(cycle: RequestResponseCycle, answer: Answer) -> None:
    """What the cycle's `send` does in two calls, without its look at each header: they are our own."""
    status, headers, body = answer
    content = [STATUS_LINE[status]]
    for name, value in (*cycle.default_headers, *headers):
        content += (name, b": ", value, b"\r\n")
    if CLOSE in headers:
        cycle.keep_alive = False
    elif not cycle.keep_alive:
        content.append(b"connection: close\r\n")
    content += (b"\r\n", body)
    cycle.response_started = cycle.response_complete = True
    cycle.transport.write(b"".join(content))
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    on_response, cycle.on_response = cycle.on_response, _nothing
    cycle.body = bytearray()
    on_response()


def _nothing() -> None:
    """Instead of a cycle's way back to its protocol: without it both are freed at once."""
