"""Limits that several hosts count together in Redis: exactly, in one step for all limits of a request.

The counter is the one of `windows`, by the clock of Redis. A key is a hash of the window it was last counted in, and
the counts of that one and of the one before.
"""

import logging
from asyncio import Semaphore
from collections.abc import Sequence
from typing import Any, Final

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from scoreline.access.breaker import Breaker
from scoreline.access.limits import Limit, refusal, wait_ns
from scoreline.core.patience import patience

# Answers {0, left, us into the window, left, ...} where all limits take a request, and counts it; else which one does
# not: {its place, this window's count, the one before's, us into the window}.
TAKE: Final = """
local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
local told, counts = {0}, {}
for i, key in ipairs(KEYS) do
    local amount, period_us = tonumber(ARGV[2 * i - 1]), ARGV[2 * i] * 1000000
    local window, into_us = math.floor(now_us / period_us), now_us % period_us
    local kept = redis.call('HMGET', key, 'window', 'count', 'before')
    local at, count, before = tonumber(kept[1]) or window, tonumber(kept[2]) or 0, tonumber(kept[3]) or 0
    if at == window - 1 then
        before, count = count, 0
    elseif at < window then
        before, count = 0, 0
    end
    local left = amount - count - 1 - math.floor(before * (period_us - into_us) / period_us)
    if left < 0 then
        return {i, count, before, into_us}
    end
    told[2 * i], told[2 * i + 1] = left, into_us
    counts[i] = {math.max(at, window), count + 1, before}
end
for i, key in ipairs(KEYS) do
    redis.call('HSET', key, 'window', counts[i][1], 'count', counts[i][2], 'before', counts[i][3])
    redis.call('EXPIRE', key, 2 * ARGV[2 * i])
end
return told
"""
MAX_CONNECTIONS: Final = 16  # what one loop can ask in a millisecond or so: more would wait for it, not for Redis
_US: Final = 1_000_000
log = logging.getLogger("scoreline.limits")


class RedisLimiter:
    """Counts a request under all limits, or under none of them where one refuses it.

    What Redis has said by the end of `budget_ms` is read first. Who waits for a connection does not take of that time.
    """

    def __init__(self, limits: Sequence[Limit], url: str, budget_ms: int) -> None:
        self._limits = limits
        self._budget_s = budget_ms / 1e3
        self._breaker = Breaker()
        self._places = Semaphore(MAX_CONNECTIONS)
        patient: dict[str, Any] = {"socket_timeout": None, "retry": Retry(NoBackoff(), 0)}
        pool: Any = BlockingConnectionPool.from_url(url, max_connections=MAX_CONNECTIONS, timeout=None, **patient)
        client: Any = Redis.from_pool(pool)
        self._take = client.register_script(TAKE)
        self._prefixes = [f"scoreline:limit:{limit.kind}:{limit.period_s}:" for limit in limits]

    async def take(self, keys: Sequence[str]) -> list[int] | None:
        """For each limit how many requests are left, and in how many seconds its window ends; raises RateLimited.

        None where Redis does not answer within its time: nobody is refused or let through for that.
        """
        is_probe = self._breaker.is_open
        if not self._breaker.allows():
            return None
        async with self._places:
            if self._breaker.is_open and not is_probe:
                return None
            told = await self._told(keys)
        if told is None:
            return None
        refused, found = told[0], told[1:]
        if refused:
            limit, (count, before, into_us) = self._limits[refused - 1], found
            raise refusal(limit, wait_ns(limit, count, before, into_us * 1000))
        for place, limit in enumerate(self._limits[: len(keys)]):
            found[2 * place + 1] = -(-(limit.period_s * _US - found[2 * place + 1]) // _US)
        return found

    async def _told(self, keys: Sequence[str]) -> list[int] | None:
        """What `TAKE` answers, None where it does not within its time."""
        names = [prefix + key for prefix, key in zip(self._prefixes, keys, strict=False)]
        wanted = [number for limit in self._limits[: len(names)] for number in (limit.amount, limit.period_s)]
        try:
            async with patience(self._budget_s):
                told: list[int] = await self._take(names, wanted)
        except (RedisError, OSError, TimeoutError) as error:
            if self._breaker.failed():
                log.error("Redis does not answer, this host counts alone until it does: %s", type(error).__name__)
            return None
        if self._breaker.is_open:
            log.warning("Redis answers again, limits are counted there")
        self._breaker.worked()
        return told
