"""Answers sent in one piece, without the two calls and the look at each header that ASGI's `send` takes."""

from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from scoreline.web.asgi import CLOSE, Answer


def expect(cycle: RequestResponseCycle, never_left: Callable[[], None]) -> Callable[[Answer], None]:
    """Takes what to call if the answer written next never leaves; returns what replaces it until it has left."""
    transport: Any = cycle.transport
    position = transport.expect(never_left)
    return lambda answer: transport.replace(position, _whole(cycle, answer), never_left)


def send_whole(cycle: RequestResponseCycle, answer: Answer) -> None:
    """What the cycle's `send` does in two calls, without its look at each header: they are our own."""
    if CLOSE in answer[1]:
        cycle.keep_alive = False
    cycle.response_started = cycle.response_complete = True
    cycle.transport.write(_whole(cycle, answer))
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    on_response, cycle.on_response = cycle.on_response, nothing
    cycle.body = bytearray()
    on_response()


def _whole(cycle: RequestResponseCycle, answer: Answer) -> bytes:
    status, headers, body = answer
    content = [STATUS_LINE[status]]
    for name, value in (*cycle.default_headers, *headers):
        content += (name, b": ", value, b"\r\n")
    if not cycle.keep_alive and CLOSE not in headers:
        content.append(b"connection: close\r\n")
    content += (b"\r\n", body)
    return b"".join(content)


def nothing() -> None:
    """Instead of a cycle's way back to its protocol: without it both are freed at once."""
