"""Deadlines at the door: by when a request has to be answered, and what cannot be is refused at once.

All moments are of `time.perf_counter_ns`.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from scoreline.core.budget import Budget
from scoreline.core.errors import Malformed, TooLate
from scoreline.doors.http.expected import Expected

LEFT: Final = b"x-deadline-ms"
STARTED: Final = b"x-request-start"
PROBES: Final = 100  # one in so many is let in whatever is expected, so that what is expected can change
LATE: Final = "the answer would come after the deadline: try again, allow more time, or send fewer rows"
_MS: Final = 1_000_000
_OLDEST_S: Final = 3600.0
_UNITS: Final = ((1e11, 1.0), (1e14, 1e3), (1e17, 1e6), (1e20, 1e9))  # seconds since 1970 are below 1e11 in this age

Trusted = Callable[[str], bool]


def nobody(_: str) -> bool:
    """Which proxies are trusted, where none is."""
    return False


class Deadlines:
    """Those of one model. `measured` is its manifest's; how old a request is already, trusted proxies may say."""

    def __init__(self, model: str, budget: Budget, measured: Mapping[str, Any], is_trusted: Trusted = nobody) -> None:
        self.model = model
        self.expected = Expected(measured)
        self._here_ns = budget.here_ms * _MS
        self._is_trusted = is_trusted
        self._refused = 0

    def until_ns(self, headers: Mapping[bytes, bytes], arrived_ns: int, client: Any) -> int:
        """By when the answer must leave; `client` is a scope's. Raises Malformed."""
        until_ns = arrived_ns + self._here_ns
        started = headers.get(STARTED)
        if started is not None and client and self._is_trusted(client[0]):
            until_ns -= age_ns(started, time.time())
        left = headers.get(LEFT)
        if left is not None:
            until_ns = min(until_ns, arrived_ns + _left_ns(left))
        return until_ns

    def latest_ns(self, until_ns: int, now_ns: int) -> int:
        """When a request of one row must begin at the latest."""
        return until_ns - int(self.expected.of(1, now_ns))

    def check(self, n_rows: int, until_ns: int) -> None:
        """Raises TooLate where so many rows cannot be answered in time from now on, but for a few that try."""
        now_ns = time.perf_counter_ns()
        if now_ns + self.expected.of(n_rows, now_ns) <= until_ns:
            return
        if now_ns <= until_ns:
            self._refused += 1
            if self._refused % PROBES == 1:
                return
        raise TooLate(LATE)


def age_ns(given: bytes, now_s: float) -> int:
    """How old a request is by its X-Request-Start: `t=` and seconds, or milli-, micro- or nanoseconds since 1970.

    0 where it says nothing of the kind, or a time in the future or more than an hour ago.
    """
    try:
        number = float(given.removeprefix(b"t="))
    except ValueError:
        return 0
    per_s = next((per_s for below, per_s in _UNITS if number < below), 1e9)
    age_s = now_s - number / per_s
    return int(age_s * 1e9) if 0.0 < age_s < _OLDEST_S else 0


def _left_ns(given: bytes) -> int:
    if not given.isdigit() or len(given) > 9:
        raise Malformed("X-Deadline-Ms: whole milliseconds that are left for the request")
    return int(given) * _MS
