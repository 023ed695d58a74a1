"""ASGI in types, reading a body, and the answers every plane gives."""

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextlib import suppress
from functools import cache
from typing import Any, Final

from scoreline.core import ids
from scoreline.core.errors import ScorelineError, TooLarge
from scoreline.core.seldom import Seldom
from scoreline.web.problems import OTHER, PROBLEM_TYPE, problem_json, problem_of

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
ASGI = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]
Answer = tuple[int, Headers, bytes]

CLOSE: Final = (b"connection", b"close")
EXPECT: Final = "scoreline.expect"  # in a scope: takes what to call where the answer, about to be sent, never leaves
STAND: Final = "scoreline.stand"  # in a scope of a request that began before it was wholly here: `Line.stand`
ARRIVED: Final = "scoreline.arrived_ns"  # in a scope: when the request was wholly here, by time.perf_counter_ns
_REQUEST_ID: Final = re.compile(rb"[!-~]{1,128}")
LINGER_S: Final = 30.0
LINGER_IDLE_S: Final = 1.0
log = Seldom(logging.getLogger("scoreline.http"))


async def read_body(
    headers: Mapping[bytes, bytes], receive: Receive, limit: int, admit: Callable[[Mapping[bytes, bytes]], object]
) -> bytes | None:
    """The whole body, None where the client left.

    Raises TooLarge before more than `limit` bytes are kept, and what `admit` raises before a body is waited for.
    """
    declared = headers.get(b"content-length", b"0")
    if declared.isdigit() and int(declared[:20]) > limit:
        raise TooLarge(f"a body has at most {limit} bytes")
    message = await receive()
    if message["type"] == "http.disconnect":
        return None
    body: bytes = message.get("body", b"")
    if len(body) > limit:
        raise TooLarge(f"a body has at most {limit} bytes")
    if not message.get("more_body", False):
        return body
    admit(headers)
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


async def linger(receive: Receive) -> None:
    """Takes and forgets what a client still sends after its answer, for a while.

    Closing a connection with bytes unread resets it, and the client loses the answer (RFC 9112, 9.6).
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(LINGER_S):
            while (await asyncio.wait_for(receive(), LINGER_IDLE_S)).get("more_body", False):
                pass


def refusal(error: ScorelineError) -> Answer:
    status, headers, body = problem_of(error)
    return status, [(b"content-type", PROBLEM_TYPE), (b"content-length", b"%d" % len(body)), *headers], body


def problem(status: int, title: str, detail: str) -> Answer:
    body = problem_json(status, OTHER.get(status, "other"), title, detail)
    return status, [(b"content-type", PROBLEM_TYPE), (b"content-length", b"%d" % len(body))], body


def given_id(headers: Mapping[bytes, bytes]) -> str:
    """The caller's own X-Request-Id, empty where there is none, or none that can stand in a log."""
    given = headers.get(b"x-request-id")
    return given.decode() if given is not None and _REQUEST_ID.fullmatch(given) else ""


@cache
def _ids() -> ids.IdSource:
    return ids.IdSource()


def id_of(headers: Mapping[bytes, bytes]) -> str:
    """The id of a request that decides nothing: the caller's X-Request-Id, or one made for it."""
    return given_id(headers) or ids.text(_ids().new_base(time.time_ns()))


def named(answer: Answer, headers: Mapping[bytes, bytes]) -> Answer:
    """An answer that decides nothing, under the id of its request."""
    answer[1].append((b"x-request-id", id_of(headers).encode()))
    return answer


def health(*, live_only: bool, ready: bool) -> Answer:
    """Liveness: 200 always. Readiness: 200 while this process answers, 503 while it starts or drains."""
    if live_only or ready:
        body = b'{"status":"live"}' if live_only else b'{"status":"ready"}'
        return 200, [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))], body
    return problem(503, "Not ready", "this process is starting or draining")
