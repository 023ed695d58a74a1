"""What uvicorn's parser tells of, with limits: on heads and trailers, on bodies, and on what contradicts HTTP."""

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from scoreline.web.asgi import ARRIVED
from scoreline.web.bodies import Body
from scoreline.web.connections import Connections
from scoreline.web.heads import MAX_HEAD_BYTES, NO_HTTP, TOO_LARGE, HeadRefused, contradicts, head_bytes
from scoreline.web.transport import Gate


class ParsedProtocol(HttpToolsProtocol):
    """The messages of one connection. `scope` is None between them.

    Trailers are counted, and are in no request: a header that comes after the body cannot change who asked for what.
    """

    _apart_bytes = 0  # of whole pieces that were neither body nor the beginning of a head
    _in_pieces = False
    _refusal = NO_HTTP
    _arrived_ns = 0  # when the bytes that are parsed were there
    _all: Connections
    _body: Body
    _gate: Gate

    def on_headers_complete(self) -> None:
        if self._in_pieces and head_bytes(self.url, self.headers) > MAX_HEAD_BYTES:
            self._refusal = TOO_LARGE
            raise HeadRefused
        if contradicts(self.headers, self.parser.get_http_version()):
            raise HeadRefused
        self._body.begin(self._arrived_ns)
        super().on_headers_complete()
        self.headers = []  # takes the trailers

    def on_body(self, body: bytes) -> None:
        self._apart_bytes = 0
        is_kept = not self.cycle.response_started
        self._body.came(len(body), self._all.worth_ns(len(body)), self._arrived_ns, is_kept=is_kept)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self.scope[ARRIVED] = self._arrived_ns  # type: ignore[typeddict-unknown-key]
        super().on_message_complete()
        if self._gate.held_ns:
            self._body.whole()
        self.scope = None  # type: ignore[assignment]

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002
        """What is no HTTP gets a problem as everything else does."""
        self._refuse(self._refusal)

    def _refuse(self, answer: bytes) -> None:
        """Answers and closes; a request that has its answer already gets no second one."""
        cycle = self.cycle
        if cycle is None or cycle.scope is not self.scope or not cycle.response_started:
            self.transport.write(answer)
        self.transport.close()
