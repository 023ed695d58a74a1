"""Request heads: how large they may be, what in them contradicts HTTP/1.1, and what is answered to those."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from scoreline.web.problems import problem_json

MAX_HEAD_BYTES: Final = 64 * 1024
ONCE: Final = frozenset(
    (
        b"host",
        b"authorization",
        b"x-api-key",
        b"content-type",
        b"content-encoding",
        b"inference-header-content-length",
        b"idempotency-key",
        b"origin",
        b"x-deadline-ms",
        b"x-quote",
    )
)
_OFFER: Final = re.compile(rb"\r\nupgrade[ \t]*:", re.IGNORECASE)
_LAST: Final = b"connection: close\r\ncontent-type: application/problem+json\r\ncontent-length: %d\r\n\r\n%s"
_BESIDE: Final = 4  # the colon, the blank and the end of a header's line


def _last(status: int, kind: str, title: str, detail: str, beside: bytes = b"") -> bytes:
    """An answer to a head that no request was made of; the connection is closed after it."""
    body = problem_json(status, kind, title, detail)
    return STATUS_LINE[status] + beside + _LAST % (len(body), body)


TOO_LARGE: Final = _last(431, "head-too-large", "The request head is too large", "at most 64 KiB of headers")
TOO_SLOW: Final = _last(408, "too-slow", "The request did not come in time", "send its head and body without pauses")
NO_ROOM: Final = _last(
    503, "overloaded", "There is no place left", "too many bodies are coming: try again", b"retry-after: 1\r\n"
)
NO_HTTP: Final = _last(400, "malformed", "The request is not HTTP", "its head, length or chunks contradict HTTP/1.1")


class HeadRefused(Exception):
    """Raised out of the parser's callbacks, so that it stops."""


def without_offer(data: bytes) -> bytes:
    """The piece in which a head begins, without an offer to upgrade.

    A client may offer one (Java's offers h2c with every first request) and a server may ignore it (RFC 9110, 7.8);
    uvicorn's parser would drop the body, so it never sees the offer.
    """
    end = data.find(b"\r\n\r\n")  # a search of the body, too, would take as long as decoding it
    end = end if end >= 0 else len(data)
    if data.find(b"pgrade", 0, end) >= 0 or data.find(b"PGRADE", 0, end) >= 0:
        return _OFFER.sub(rb"\r\nx-offered:", data[:end]) + data[end:]
    return data


def head_bytes(url: bytes, headers: Sequence[tuple[bytes, bytes]]) -> int:
    """The size of what is kept of a head."""
    return len(url) + sum([len(name) + len(value) + _BESIDE for name, value in headers])


def contradicts(headers: Sequence[tuple[bytes, bytes]], version: str) -> bool:
    """Whether a head names two hosts or none, or encodes its body by other means than chunks (RFC 9112, 3.2 and 6.1).

    HTTP/1.0 knew no hosts. What else may stand once only (`ONCE`) and stands twice is as ambiguous: whoever looked at
    the request before us may have believed the other one.
    """
    by_name: Mapping[bytes, bytes] = dict(headers)
    if b"host" not in by_name and version != "1.0":
        return True
    encoding = by_name.get(b"transfer-encoding")
    if encoding is None and len(by_name) == len(headers):
        return False
    names = [name for name, _ in headers]
    encoded = encoding is not None and (names.count(b"transfer-encoding") > 1 or encoding.lower() != b"chunked")
    return encoded or any(name in ONCE and names.count(name) > 1 for name in by_name)
