"""Fetches an issuer's published keys: from one URL, within bounds of time and size, and nowhere else it may lead to."""

import time
import urllib.error
import urllib.request
from http.client import HTTPException, HTTPResponse
from typing import Any, Final

from scoreline.core.errors import IssuerDown
from scoreline.core.strictjson import strict_json

PATIENCE_S: Final = 5.0
MAX_BYTES: Final = 256 * 1024
CHUNK: Final = 16 * 1024


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """An answer that leads elsewhere is none: only one place is believed."""

    def redirect_request(self, *_: Any) -> None:
        return None


def fetch_jwks(url: str) -> tuple[Any, ...]:
    """The keys of a JWK set (RFC 7517) as they stand there; raises IssuerDown, which names no URL."""
    opener = urllib.request.build_opener(_NoRedirect)
    request = urllib.request.Request(url, headers={"Accept": "application/jwk-set+json, application/json"})
    try:
        with opener.open(request, timeout=PATIENCE_S) as answer:
            found = strict_json(_within(answer))
    except urllib.error.HTTPError as error:
        error.close()
        raise IssuerDown(f"the issuer's keys are not fetched: it answered {error.code}") from None
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise IssuerDown(f"the issuer's keys are not fetched: {type(reason).__name__}") from None
    except ValueError:
        raise IssuerDown("the issuer's keys are not fetched: what it answered is not JSON") from None
    keys = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(keys, list):
        raise IssuerDown("the issuer's keys are not fetched: what it answered is no JWK set")
    return tuple(keys)


def _within(answer: HTTPResponse) -> bytes:
    """The body, if it is small and whole before the patience ends, whatever its server does meanwhile."""
    body, until_s = b"", time.monotonic() + PATIENCE_S
    while part := answer.read1(CHUNK):
        body += part
        if len(body) > MAX_BYTES:
            raise IssuerDown(f"the issuer's keys are not fetched: they have more than {MAX_BYTES} bytes")
        if time.monotonic() > until_s:
            raise IssuerDown(f"the issuer's keys are not fetched: they take more than {PATIENCE_S:g} s")
    return body
