"""uvicorn's HTTP protocol with corked writes, a line of requests, and limits on clients.

uvicorn writes head and body of an answer separately, each of them at once, and each may wake the peer. Corked, the
answers of one turn of the event loop leave together at its end, one write per connection. Measured on one core with 32
connections: 35 us instead of 51 us for a prediction, 17 instead of 22 for a fixed answer (`make bench`).
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from scoreline.web import connections
from scoreline.web.asgi import EXPECT, STAND
from scoreline.web.bodies import Body
from scoreline.web.heads import (
    MAX_HEAD_BYTES,
    NO_ROOM,
    TOO_LARGE,
    TOO_SLOW,
    without_offer,
)
from scoreline.web.line import Place
from scoreline.web.parsed import ParsedProtocol
from scoreline.web.rest import Rest
from scoreline.web.shared import shared_by
from scoreline.web.transport import CorkedTransport, Gate
from scoreline.web.whole import expect, nothing, send_whole

PIECE_BYTES: Final = 16 * 1024  # parsed at once: how many requests of one connection can be waiting is bounded by it
BODY_PIECE_BYTES: Final = 64 * 1024


class CorkedProtocol(ParsedProtocol):
    """What `uvicorn.Config(http=...)` takes. A `line.Waiting` and a `connections.Connection`.

    Beside the cork: a line, rests and limits on clients, and no upgrades.
    """

    _next: "tuple[RequestResponseCycle, Any] | None" = None
    _starting = False
    _waiting: RequestResponseCycle | None = None
    _in_line = _is_guest = False
    _since_ns = 0
    _message_ns = 0  # since when a message comes
    _unread_ns = 0

    def connection_made(self, transport: Any) -> None:
        shared = shared_by(self.server_state, self.loop, getattr(self.app, "commit", nothing))
        self._line, self._all = shared.line, shared.connections
        self._rest = Rest(shared.line)
        self.logger = shared.log  # type: ignore[assignment]
        super().connection_made(CorkedTransport(transport, shared.cork))  # type: ignore[arg-type]
        self.flow = self._gate = Gate(self.transport, self.pipeline)
        self._body = Body(shared.bodies, self._gate)
        self._line.came()
        self._since_ns = time.perf_counter_ns()
        self._is_guest = not self._all.enter(self)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._all.leave(self)
        self._body.end()
        self.transport.lost(exc)  # type: ignore[attr-defined]
        if self._in_line:
            self._in_line = False
            self._line.leave(self)
        if self._next is not None:
            self._next[0].on_response = nothing
            self._next = self._waiting = None
        self._gate.behind = b""

    def data_received(self, data: bytes) -> None:
        self._line.turn()
        self._since_ns = self._line.arrived_ns
        if self._rest.is_on:
            self._rest.hold()
            self._gate.behind += data
            self.flow.pause_reading()
            return
        self._arrived_ns = self._rest.arrived_ns() if self._rest.held_ns else self._since_ns
        if len(data) <= PIECE_BYTES and not self._gate.behind:
            self._feed(data)
        else:
            self._feed_all(self._gate.behind + data)

    def _feed_all(self, data: bytes) -> None:
        """Parses piece by piece, until requests wait behind the one under way, or it rests: the others are later."""
        at = 0
        while at < len(data) and not self.pipeline and not self._rest.is_on and not self.transport.is_closing():
            in_body = self.scope is not None and "path" in self.scope
            piece = data[at : at + (BODY_PIECE_BYTES if in_body else PIECE_BYTES)]
            at += len(piece)
            self._feed(piece)
        self._gate.behind = data[at:]
        if self._gate.behind:
            self.flow.pause_reading()
        else:
            self.flow.resume_reading()

    def _read_on(self) -> None:
        """Parses what was left, once no request waits behind the one under way."""
        if self._gate.behind and not self._rest.is_on and not self.pipeline and not self._starting:
            self._feed_all(self._gate.behind)

    def _feed(self, data: bytes) -> None:
        if self.cycle is None or not self.cycle.more_body:
            data = without_offer(data)
        scope = self.scope
        self._in_pieces = scope is not None or len(data) > MAX_HEAD_BYTES
        self._apart_bytes += len(data)
        self._starting = True  # a request is not begun before all bytes at hand are parsed: its body may be whole
        super().data_received(data)
        self._starting = False
        if not self.transport.is_closing():  # nothing is decided for a client that was refused already
            self._start()
        if self.scope is None or self.scope is not scope:  # a head that began in this piece: nobody knows where
            self._apart_bytes = 0
            self._message_ns = self._arrived_ns
        elif self._apart_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._refuse(TOO_LARGE)

    def on_response_complete(self) -> None:
        """As uvicorn's, but for its timer: `Connections` looks whether a connection is idle."""
        self.server_state.total_requests += 1
        if self._body.is_counted:
            self._body.end()
        if self.transport.is_closing():
            return
        self._since_ns = time.perf_counter_ns()
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        self._read_on()

    def pause_writing(self) -> None:
        self._unread_ns = time.perf_counter_ns()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._unread_ns = 0
        super().resume_writing()

    def begin(self) -> bool:
        return self._go_on(self._answer)

    def refuse(self) -> None:
        self._go_on(self._be_late)

    @property
    def peer(self) -> str:
        return self.client[0] if self.client else ""

    @property
    def is_closing(self) -> bool:
        return self.transport.is_closing()

    def state(self) -> tuple[str, int]:
        if self._unread_ns:
            return connections.UNREAD, self._unread_ns
        if self._gate.held_ns and self.scope is not None:
            return connections.HELD, self._gate.held_ns
        if self.flow.read_paused:
            return connections.BUSY, 0
        if self.scope is not None:
            in_body = "path" in self.scope
            return (connections.BODY, self._body.due_ns) if in_body else (connections.HEAD, self._message_ns)
        if self.cycle is not None and not self.cycle.response_complete:
            return connections.BUSY, 0
        return connections.IDLE, self._since_ns

    def end(self, *, late: bool) -> None:
        if late:
            self._refuse(NO_ROOM if self._gate.held_ns else TOO_SLOW)
        else:
            self.transport.close()

    def drop(self) -> None:
        self.transport.abort()

    def read_again(self) -> None:
        if self._rest.end():
            self._arrived_ns, self._since_ns = self._rest.held_ns, self._line.arrived_ns
        if not self.transport.is_closing():
            self._start()
            self._read_on()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._next = cycle, app
        if not self._starting:
            self._start()

    def _start(self) -> None:
        """Begins the next request: at once, without a task, where the app can. Its end may bring the one behind it."""
        self._starting = True
        self._line.turn()
        while self._next is not None and not self._in_line and not self._rest.is_full:
            cycle, app = self._next
            if cycle.more_body and self._waits(cycle, app):
                cycle.flow.resume_reading()
                break  # until more of it is received
            if self._is_guest or not self._line.is_free():
                self._ask_for_a_place(cycle, app)
            else:
                self._answer(cycle, app)
        self._starting = False

    def _ask_for_a_place(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Only predictions stand in line; all else begins."""
        place = app.place(cycle.scope) if hasattr(app, "place") and (self._is_guest or not cycle.more_body) else None
        if self._is_guest:
            cycle.keep_alive = False
        if place is None:
            self._answer(cycle, app)
        elif self._is_guest:
            self._next = None
            send_whole(cycle, app.crowded(cycle.scope))
        elif self._line.join(self, place):
            self._in_line = True
        else:
            self._be_late(cycle, app)

    def _go_on(self, answer: Callable[[RequestResponseCycle, Any], None]) -> bool:
        """The next request has its turn, and those behind it ask for theirs; False where the client is gone."""
        self._in_line = False
        if self._next is None:
            return False
        self._starting = True
        answer(*self._next)
        self._start()
        self._read_on()
        return True

    def _answer(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._next = self._waiting = None
        cycle.scope[EXPECT] = partial(expect, cycle)  # type: ignore[typeddict-unknown-key]
        prompt = not cycle.more_body and not cycle.flow.write_paused and hasattr(app, "at_once")
        answer = app.at_once(cycle.scope, cycle.body) if prompt else None
        if answer is None:
            if cycle.more_body:
                cycle.scope[STAND] = self._stand  # type: ignore[typeddict-unknown-key]
            super()._start_asgi_task(cycle, app)
        else:
            send_whole(cycle, answer)

    def _be_late(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._next = self._waiting = None
        self._rest_if_long()
        send_whole(cycle, app.late(cycle.scope))

    async def _stand(self, place: Place) -> bool:
        """`Line.stand` of a request that began before it was wholly here."""
        may = await self._line.stand(place)
        if not may:
            self._rest_if_long()
        return may

    def _rest_if_long(self) -> None:
        if self._rest.refused():
            self._all.rest(self)

    def _waits(self, cycle: RequestResponseCycle, app: Any) -> bool:
        """Whether a request may begin when its body is whole; asked once, when its head is here."""
        if self._waiting is not cycle:
            prompt = hasattr(app, "waits") and not cycle.waiting_for_100_continue
            self._waiting = cycle if prompt and app.waits(cycle.scope) else None
        return self._waiting is cycle
