"""The error table of the HTTP doors: which error is which status, as RFC 9457 problem+json."""

import json
import logging
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from scoreline.core.errors import (
    BundleError,
    DatabaseDown,
    Denied,
    EngineFailed,
    FeaturesMissing,
    FeaturesRefused,
    IdempotencyBusy,
    IdempotencyDown,
    IdempotencyMismatch,
    InputError,
    LedgerMoved,
    Malformed,
    NotFound,
    Overloaded,
    Pressed,
    QuoteLapsed,
    QuoteRefused,
    RateLimited,
    RecordRefused,
    RegistryDown,
    ReplayRefused,
    RolloutRefused,
    RowsRefused,
    ScorelineError,
    SelfTestFailed,
    SignatureRefused,
    StoreDown,
    TooLarge,
    TooLate,
    Unauthenticated,
    WrongType,
)
from scoreline.core.seldom import Seldom

log = Seldom(logging.getLogger("scoreline.http"))
PROBLEM_TYPE: Final = b"application/problem+json"

# Status, type and title by error; of a subclass that is not here the nearest class counts.
PROBLEMS: Final[Mapping[type[ScorelineError], tuple[int, str, str]]] = {
    TooLate: (503, "deadline", "The request cannot be answered in time"),
    Overloaded: (503, "overloaded", "There is no place left"),
    Pressed: (503, "overloaded", "There is no place left"),
    RowsRefused: (422, "rows-refused", "A row is refused"),
    QuoteRefused: (422, "quote-refused", "The quote token is refused"),
    IdempotencyMismatch: (422, "idempotency-mismatch", "The idempotency key was used for another request"),
    QuoteLapsed: (409, "quote-lapsed", "The version of the quote cannot answer now"),
    Malformed: (400, "malformed", "The body is not what this route takes"),
    TooLarge: (413, "too-large", "The request is too large"),
    WrongType: (415, "wrong-type", "The content type is not one this route takes"),
    InputError: (400, "bad-input", "The input cannot be scored"),
    Unauthenticated: (401, "unauthenticated", "A key is needed"),
    Denied: (403, "denied", "The key does not open this route"),
    NotFound: (404, "not-found", "There is no such model or route"),
    BundleError: (422, "bundle-refused", "The bundle is not taken"),
    ReplayRefused: (409, "not-replayable", "The decision cannot be computed again here"),
    RolloutRefused: (409, "rollout-refused", "The rollout cannot do this now"),
    LedgerMoved: (409, "ledger-moved", "Someone else was faster"),
    RateLimited: (429, "rate-limited", "Too many requests"),
    IdempotencyBusy: (409, "idempotency-busy", "A request with this idempotency key is being answered"),
    IdempotencyDown: (503, "idempotency-down", "Idempotency keys cannot be kept now"),
    RecordRefused: (503, "not-recorded", "The decision cannot be recorded now"),
    StoreDown: (503, "store-down", "The feature store cannot be asked now"),
    FeaturesRefused: (422, "features-refused", "The features are not taken"),
    DatabaseDown: (503, "database-down", "The database cannot be asked now"),
    RegistryDown: (503, "registry-down", "The registry cannot be asked now"),
    EngineFailed: (500, "engine-failed", "The model failed"),
    ScorelineError: (500, "internal", "Scoreline failed"),
}
# A problem as OpenAPI declares it.
SCHEMA: Final[Mapping[str, Any]] = {
    "title": "Problem",
    "type": "object",
    "properties": {
        **{name: {"type": "string"} for name in ("type", "title", "detail")},
        "status": {"type": "integer"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"row": {"type": "integer"}, "field": {"type": "string"}, "problem": {"type": "string"}},
                "required": ["row", "field", "problem"],
            },
        },
    },
    "required": ["type", "title", "status", "detail"],
}
NOT_READY: Final = "not-ready"  # the answer to a probe: no request is refused by it
OTHER: Final = {404: "not-found", 405: "method-not-allowed", 422: "bad-parameter", 500: "internal", 503: NOT_READY}
# Refusals that are no caller's fault.
OURS: Final = frozenset(kind for status, kind, _ in PROBLEMS.values() if status >= 500)
# Why a bundle is not taken, in a word for metrics; the first class that matches counts.
BUNDLES: Final[tuple[tuple[type[BundleError], str], ...]] = (
    (SignatureRefused, "signature"),
    (SelfTestFailed, "self-test"),
    (BundleError, "form"),
)


def kind_of(error: ScorelineError) -> str:
    """The word for an error in answers and metrics; docs/errors.md lists them."""
    return _problem(error)[1]


def kind_of_bundle(error: BundleError) -> str:
    """Why a bundle is not taken, in a word for metrics."""
    return next(kind for known, kind in BUNDLES if isinstance(error, known))


def kind_of_status(status: int) -> str:
    """The word for a refusal of which only the status is known: the first kind with it."""
    return OTHER.get(status) or next((kind for known, kind, _ in PROBLEMS.values() if known == status), "other")


def described(error: ScorelineError) -> tuple[int, list[tuple[bytes, bytes]], tuple[str, str], str]:
    """Status, headers, (kind, title) and detail of an error's answer. It carries no row values, paths or traces."""
    status, kind, title = _problem(error)
    headers: list[tuple[bytes, bytes]] = []
    if isinstance(error, RecordRefused | RateLimited | IdempotencyBusy | IdempotencyDown | FeaturesMissing | Pressed):
        headers.append((b"retry-after", b"%d" % error.retry_after_s))
    if isinstance(error, Unauthenticated):
        headers.append((b"www-authenticate", b"Bearer"))
    if status >= 500 and not isinstance(error, Pressed):  # of those there are thousands a second; workers count them
        log.error("%s: %s", type(error).__name__, error)
    return status, headers, (kind, title), title if status == 500 else str(error)


def problem_of(error: ScorelineError) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Status, headers and body of an error's answer as problem+json."""
    status, headers, (kind, title), detail = described(error)
    if isinstance(error, RowsRefused):
        return status, headers, problem_json(status, kind, title, detail, errors=error.to_json())
    return status, headers, _plain(status, kind, title, detail)


def _problem(error: ScorelineError) -> tuple[int, str, str]:
    """Status, kind and title."""
    return next(PROBLEMS[known] for known in type(error).__mro__ if known in PROBLEMS)


@lru_cache(maxsize=64)
def _plain(status: int, kind: str, title: str, detail: str) -> bytes:
    """Encoded once: what is refused under pressure is refused thousands of times a second."""
    return problem_json(status, kind, title, detail)


def problem_json(status: int, kind: str, title: str, detail: str, **extra: Any) -> bytes:
    """The body of a problem; docs/errors.md lists the kinds."""
    body = {"type": f"/errors/{kind}", "title": title, "status": status, "detail": detail, **extra}
    return json.dumps(body).encode()


def declared(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """These refusals as the `responses` of a route."""
    content = {PROBLEM_TYPE.decode(): {"schema": SCHEMA}}
    return {status: {"description": "Refused: problem+json (RFC 9457)", "content": content} for status in statuses}
