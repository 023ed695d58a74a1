"""Limits on how often: what a setting says, and who has how much left.

A limit is a sliding window counter: what the window before counted fades out while this one goes on, so that
`before * (1 - elapsed) + now` requests count as used. It is the algorithm of the `limits` library, with its verdicts.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from scoreline.core.errors import RateLimited, SettingError

PERIODS_S: Final = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}
MOST: Final = 1_000_000_000
_GUESSES: Final = "too many requests without a valid key came from this address: ask later, with one"
_RATE: Final = re.compile(rf"(\d{{1,10}})/({'|'.join(PERIODS_S)})")


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `amount` requests in `period_s` seconds, of each `kind`: address, caller or model, or guess."""

    kind: str
    amount: int
    period_s: int


def limit_of(kind: str, text: str) -> Limit | None:
    """The limit a setting gives as `100/second`, None where it is empty; raises SettingError."""
    if not text:
        return None
    match = _RATE.fullmatch(text)
    if match is None or not 1 <= int(match[1]) <= MOST:
        raise SettingError(f"limits.per_{kind}: as 100/second; or minute, hour, day; at least 1 and at most {MOST}")
    return Limit(kind, int(match[1]), PERIODS_S[match[2]])


def wait_ns(limit: Limit, current: int, previous: int, into_ns: int) -> int:
    """How long until one more would be taken, by what this window and the one before have counted, if nobody asks.

    `into_ns` is how long this window has lasted.
    """
    period_ns = limit.period_s * 1_000_000_000
    if current < limit.amount:
        at_ns = _faded_ns(previous, limit.amount - 1 - current, period_ns)
        if at_ns < period_ns:
            return max(0, at_ns - into_ns)
    return period_ns - into_ns + _faded_ns(current, limit.amount - 1, period_ns)


def _faded_ns(count: int, room: int, period_ns: int) -> int:
    """How far into the next window a window's count is down to `room`."""
    return 0 if count <= room else period_ns - -(-(room + 1) * period_ns // count) + 1


def refusal(limit: Limit, wait_ns: int) -> RateLimited:
    """The error of a request beyond a limit; one would be taken after `wait_ns`."""
    wait_s = max(1, -(-wait_ns // 1_000_000_000))
    period = next(name for name, period_s in PERIODS_S.items() if period_s == limit.period_s)
    what = _GUESSES if limit.kind == "guess" else f"at most {limit.amount} requests per {period} for one {limit.kind}"
    return RateLimited(what, wait_s, limit.kind)


class Window(Protocol):
    """Where one limit is counted: a `windows.Window`."""

    limit: Limit

    def hit(self, key: str, now_ns: int, /) -> int:
        """Counts a request and returns how many are left; -1: it is one too many, and counted as refused only."""
        ...

    def add(self, key: str, now_ns: int, /) -> None:
        """Counts a request that was taken elsewhere, whatever the limit says."""
        ...

    def refuse(self) -> None:
        """Counts a request that was refused elsewhere."""
        ...

    def count_alone(self, now_ns: int, /) -> None:
        """From now on, and for two windows, there are requests that nobody knows of elsewhere."""
        ...

    def counted_alone(self, now_ns: int, /) -> bool:
        """Whether there may be any such."""
        ...

    def undo(self) -> None:
        """Takes back the last hit that was counted."""
        ...

    def wait_ns(self, key: str, now_ns: int, /) -> int:
        """How long until one would be taken, if nobody else asked."""
        ...


class Limiter:
    """Counts a request under all limits, or under none of them where one refuses it."""

    def __init__(self, windows: Sequence[Window]) -> None:
        self._windows = windows

    def take(self, keys: Sequence[str], now_ns: int) -> list[int]:
        """For each limit how many requests are left, and in how many seconds its window ends; raises RateLimited.

        `keys` are whom each limit is for, in the order of the limits; those without a key are passed over. `now_ns` is
        of the monotonic clock, which all processes of a host share.
        """
        found: list[int] = []
        now_s = now_ns // 1_000_000_000
        for window, key in zip(self._windows, keys, strict=False):
            left = window.hit(key, now_ns)
            if left < 0:
                for counted in self._windows[: len(found) // 2]:
                    counted.undo()
                raise refusal(window.limit, window.wait_ns(key, now_ns))
            period_s = window.limit.period_s
            found += left, period_s - now_s % period_s
        return found

    def add(self, keys: Sequence[str], now_ns: int) -> None:
        """Counts a request that was taken elsewhere, so that it is known here; raises RateLimited.

        Only where this host has let requests through of which nobody knows elsewhere, it has a say in others, too.
        """
        if any(window.counted_alone(now_ns) for window in self._windows):
            self.take(keys, now_ns)
            return
        for window, key in zip(self._windows, keys, strict=False):
            window.add(key, now_ns)

    def count_alone(self, now_ns: int) -> None:
        """Nobody is told elsewhere of the request that is counted next."""
        for window in self._windows:
            window.count_alone(now_ns)
