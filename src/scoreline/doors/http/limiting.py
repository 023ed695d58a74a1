"""Rate limits at the door: each request for predictions counts once, when its head is here, before its body is read.

What came of it stays with the request: whoever comes to it again, in the same way or another, finds it there.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import compress
from typing import Final, Protocol

from scoreline.access.limits import Limiter, Window
from scoreline.access.peers import Network, address_of
from scoreline.core.errors import RateLimited
from scoreline.web.asgi import Headers, Scope

COUNTED: Final = "scoreline.limits"  # in a scope: the headers that tell it, or the refusal
KINDS: Final = ("address", "caller", "model")


class Elsewhere(Protocol):
    """Where hosts count together: a `limits_redis.RedisLimiter`."""

    async def take(self, keys: Sequence[str], /) -> list[int] | None: ...


AddressOf = Callable[[Scope], str]


def limiting_of(
    windows: Sequence[Window], elsewhere: Elsewhere | None = None, proxies: Sequence[Network] = (), header: str = ""
) -> "Limiting | None":
    """The limits of one worker; None where there are none. `proxies` are believed whom they ask for, in `header`."""
    limits = [window for window in windows if window.limit.kind in KINDS]
    return Limiting(limits, elsewhere, partial(address_of, proxies=proxies, header=header)) if limits else None


class Limiting:
    """The limits of one worker, in the order of `KINDS`; `elsewhere` goes before `windows` as long as it answers.

    What it takes is counted in `windows`, too: they know it when it is gone.
    """

    def __init__(
        self, windows: Sequence[Window], elsewhere: Elsewhere | None = None, address: AddressOf = address_of
    ) -> None:
        self.elsewhere = elsewhere
        self._address = address
        self._here = Limiter(windows)
        self._windows = {window.limit.kind: window for window in windows}
        limits = [window.limit for window in windows]
        self._kinds = [kind in self._windows for kind in KINDS]
        self._by_address = "address" in self._windows
        policies = [b'"%s";q=%d;w=%d' % (limit.kind.encode(), limit.amount, limit.period_s) for limit in limits]
        self._policy = (b"ratelimit-policy", b", ".join(policies))
        self._left = b", ".join([b'"%s";r=%%d;t=%%d' % limit.kind.encode() for limit in limits])
        self._n_left = 2 * len(limits)

    def count(self, scope: Scope, caller: str | None, model: str) -> None:
        """Counts a request on this host, if nobody has yet; raises RateLimited. A caller is None who is not known."""
        found = scope.get(COUNTED)
        if found is None:
            try:
                left = self._here.take(self._keys(scope, caller, model), time.monotonic_ns())
            except RateLimited as error:
                scope[COUNTED] = error
                raise
            scope[COUNTED] = self._told(left)
        elif isinstance(found, RateLimited):
            raise found

    async def count_elsewhere(self, scope: Scope, caller: str | None, model: str) -> None:
        """Counts it where hosts count together, if that answers; raises RateLimited."""
        if self.elsewhere is None or COUNTED in scope:
            return
        keys = self._keys(scope, caller, model)
        try:
            left = await self.elsewhere.take(keys)
        except RateLimited as error:
            scope[COUNTED] = error
            self._windows[error.kind].refuse()
            raise
        now_ns = time.monotonic_ns()
        if left is None:
            self._here.count_alone(now_ns)
            return
        try:
            self._here.add(keys, now_ns)
        except RateLimited as error:
            scope[COUNTED] = error
            raise
        scope[COUNTED] = self._told(left)

    def told(self, scope: Scope) -> Headers:
        """What an answer says of the limits: IETF draft-ietf-httpapi-ratelimit-headers-11."""
        found = scope.get(COUNTED, [])
        if isinstance(found, RateLimited):
            left = b'"%s";r=0;t=%d' % (found.kind.encode(), found.retry_after_s)
            return [self._policy, (b"ratelimit", left)]
        headers: Headers = found
        return headers

    def _keys(self, scope: Scope, caller: str | None, model: str) -> Sequence[str]:
        """Whom each limit is for; of who is not known, the address is."""
        address = self._address(scope) if self._by_address else ""
        if caller is None:
            return (address,) if self._by_address else ()
        return tuple(compress((address, caller, model), self._kinds))

    def _told(self, left: Sequence[int]) -> Headers:
        text = self._left if len(left) == self._n_left else self._left[: self._left.find(b",")]
        return [self._policy, (b"ratelimit", text % tuple(left))] if left else []
