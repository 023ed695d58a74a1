"""Limits that several hosts count together in Redis, through the `limits` library: exact, whoever is asked."""

import asyncio
import logging
import math
import time
from collections.abc import Sequence
from typing import Final

from limits import RateLimitItemPerSecond
from limits.aio.storage import RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.errors import StorageError

from scoreline.access.breaker import Breaker
from scoreline.access.limits import Left, Limit, refusal

PREFIX: Final = "scoreline:limits"
log = logging.getLogger("scoreline.limits")


class RedisLimiter:
    """Counts a request under one limit after the other: one that is refused stays counted under those before it."""

    def __init__(self, limits: Sequence[Limit], url: str, budget_ms: int) -> None:
        self._limits = [(limit, RateLimitItemPerSecond(limit.amount, limit.period_s)) for limit in limits]
        self._budget_s = budget_ms / 1e3
        self._breaker = Breaker()
        options: dict[str, float | str | bool] = {"socket_timeout": self._budget_s}
        uri = f"async+redis+{url}" if url.startswith("unix:") else f"async+{url}"
        storage = RedisStorage(uri, wrap_exceptions=True, implementation="redispy", key_prefix=PREFIX, **options)
        self._limiter = SlidingWindowCounterRateLimiter(storage)

    async def take(self, keys: Sequence[str]) -> list[Left] | None:
        """How many are left under each limit, and in how many seconds its window ends; raises RateLimited.

        None where Redis does not answer within its time: nobody is refused or let through for that.
        """
        if not self._breaker.allows():
            return None
        try:
            async with asyncio.timeout(self._budget_s):
                found = [
                    await self._take(limit, item, key) for (limit, item), key in zip(self._limits, keys, strict=False)
                ]
        except (StorageError, OSError, TimeoutError) as error:
            if self._breaker.failed():
                log.error("Redis does not answer, this host counts alone until it does: %s", type(error).__name__)
            return None
        if self._breaker.is_open:
            log.warning("Redis answers again, limits are counted there")
        self._breaker.worked()
        return found

    async def _take(self, limit: Limit, item: RateLimitItemPerSecond, key: str) -> Left:
        taken = await self._limiter.hit(item, limit.kind, key)
        reset, left = await self._limiter.get_window_stats(item, limit.kind, key)
        wait_s = max(1, math.ceil(reset - time.time()))
        if not taken:
            raise refusal(limit, wait_s * 1_000_000_000)
        return left, wait_s
