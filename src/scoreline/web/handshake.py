"""TLS before HTTP: a connection has its place, and its time, from when it is accepted.

The loop itself would tell of a connection once its handshake is over: of those that never end one, nobody would know.
"""

import time
from typing import Any

from uvloop.loop import SSLProtocol  # type: ignore[attr-defined]

from scoreline.web import connections
from scoreline.web.corked import CorkedProtocol
from scoreline.web.shared import shared_by
from scoreline.web.tls import Certificate
from scoreline.web.whole import nothing


class Handshake(SSLProtocol):  # type: ignore[misc]
    """What `uvicorn.Config(http=...)` takes with a certificate: TLS as uvloop speaks it, below HTTP.

    A `connections.Connection` which is sending its head, until the handshake is over and HTTP takes its place.
    """

    def __init__(self, certificate: Certificate, **options: Any) -> None:
        self._http = _Http(self, **options)
        super().__init__(self._http.loop, self._http, certificate.context, None, server_side=True)
        self._since_ns = time.perf_counter_ns()
        self._is_over = True
        self.is_closing = False
        self.peer = ""

    def connection_made(self, transport: Any) -> None:
        http, self._raw = self._http, transport
        self.peer = str((transport.get_extra_info("peername") or [""])[0])
        self._all = shared_by(http.server_state, http.loop, getattr(http.app, "commit", nothing)).connections
        self._is_over = False
        self._all.enter(self)
        if not self.is_closing:
            super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.over()
        super().connection_lost(exc)

    def over(self) -> None:
        """Its place is free, for HTTP if it comes so far."""
        if not self._is_over:
            self._is_over = True
            self._all.leave(self)

    def state(self) -> tuple[str, int]:
        return connections.HEAD, self._since_ns

    def end(self, *, late: bool) -> None:  # noqa: ARG002
        self.drop()

    def drop(self) -> None:
        self.is_closing = True
        self._raw.abort()

    def read_again(self) -> None:
        """It never rests."""


class _Http(CorkedProtocol):
    def __init__(self, handshake: Handshake, **options: Any) -> None:
        super().__init__(**options)
        self._handshake = handshake

    def connection_made(self, transport: Any) -> None:
        self._handshake.over()
        super().connection_made(transport)
