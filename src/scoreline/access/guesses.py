"""Requests without a valid key: on every route that takes one, an address may send as many as it may predictions."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from scoreline.access.limits import Limit, Window, refusal
from scoreline.access.peers import Network, address_of

GUESS: Final = "guess"
_CREDENTIALS: Final = frozenset((b"x-api-key", b"authorization"))
AddressOf = Callable[[Mapping[str, Any]], str]


def guessing(per_address: Limit) -> Limit:
    """The limit of guesses where predictions have this one."""
    return Limit(GUESS, per_address.amount, per_address.period_s)


class Guesses:
    """The guesses that come to one process, in any thread; `window` counts those of the host. Scopes are ASGI's."""

    def __init__(self, window: Window, address: AddressOf = address_of) -> None:
        self._window = window
        self._address = address
        self._lock = threading.Lock()

    def check(self, scope: Mapping[str, Any]) -> None:
        """Raises RateLimited for a key from an address that has guessed too often: else it would learn which is one."""
        if any(name in _CREDENTIALS for name, _ in scope["headers"]):
            address, now_ns = self._address(scope), time.monotonic_ns()
            with self._lock:
                wait_ns = self._window.wait_ns(address, now_ns)
                if wait_ns:
                    self._window.refuse()
                    raise refusal(self._window.limit, wait_ns)

    def count(self, scope: Mapping[str, Any]) -> None:
        """Counts a request that was not let in; raises RateLimited."""
        address, now_ns = self._address(scope), time.monotonic_ns()
        with self._lock:
            if self._window.hit(address, now_ns) < 0:
                raise refusal(self._window.limit, self._window.wait_ns(address, now_ns))


def guesses_of(windows: Sequence[Window], proxies: Sequence[Network], header: str) -> Guesses | None:
    """Who counts them, where there is a limit; `proxies` are believed whom they ask for, in `header`."""
    window = next((window for window in windows if window.limit.kind == GUESS), None)
    return Guesses(window, lambda scope: address_of(scope, proxies, header)) if window else None
