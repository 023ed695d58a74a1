"""ASGI in types, reading a body, and the answers every plane gives."""

import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from scoreline.core.errors import ScorelineError, TooLarge
from scoreline.web.problems import OTHER, PROBLEM_TYPE, problem_json, problem_of

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
ASGI = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]
Answer = tuple[int, Headers, bytes]

log = logging.getLogger("scoreline.http")


async def read_body(headers: Mapping[bytes, bytes], receive: Receive, limit: int) -> bytes | None:
    """The whole body, None where the client left; raises TooLarge before more than `limit` bytes are kept."""
    declared = headers.get(b"content-length", b"0")
    if declared.isdigit() and int(declared[:20]) > limit:
        raise TooLarge(f"a body has at most {limit} bytes")
    message = await receive()
    if message["type"] == "http.disconnect":
        return None
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False):
        return body
    parts = [body]
    size = len(body)
    while message.get("more_body", False):
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limit:
            raise TooLarge(f"a body has at most {limit} bytes")
    return b"".join(parts)


def refusal(error: ScorelineError, *, close: bool = False) -> Answer:
    status, headers, body = problem_of(error)
    if status >= 500:
        log.error("%s: %s", type(error).__name__, error)
    if close:
        headers.append((b"connection", b"close"))
    return status, [(b"content-type", PROBLEM_TYPE), (b"content-length", b"%d" % len(body)), *headers], body


def problem(status: int, title: str, detail: str) -> Answer:
    body = problem_json(status, OTHER.get(status, "other"), title, detail)
    return status, [(b"content-type", PROBLEM_TYPE), (b"content-length", b"%d" % len(body))], body


def health(ready: bool) -> Answer:
    """200 while this process answers, 503 while it starts or drains."""
    if ready:
        body = b'{"status":"ready"}'
        return 200, [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))], body
    return problem(503, "Not ready", "this process is starting or draining")
