"""A limit that hosts share holds whatever Redis does: of one host no more is let through than it says."""

import asyncio
import random
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from redis_server import RedisServer
from scoreline.access.limits import Limit
from scoreline.access.limits_redis import RedisLimiter
from scoreline.access.windows import Windows
from scoreline.core.errors import RateLimited
from scoreline.doors.http.limiting import Limiting

AMOUNT = 1000


class Host:
    """Workers of a host whose limit is 1,000 a day; each has connections of its own."""

    def __init__(self, redis: RedisServer, n_workers: int, redis_ms: int, amount: int = AMOUNT) -> None:
        limits = [Limit("caller", amount, 86_400)]
        windows = [Windows(limit, n_workers) for limit in limits]
        self.workers = [
            Limiting([window.of_worker(number) for window in windows], RedisLimiter(limits, redis.url, redis_ms))
            for number in range(n_workers)
        ]

    async def ask(self, number: int) -> bool:
        """Whether a request is let through, as the door asks of it."""
        limiting, scope = self.workers[number % len(self.workers)], dict[str, Any]()
        try:
            await limiting.count_elsewhere(scope, "someone", "fraud")
            limiting.count(scope, "someone", "fraud")
        except RateLimited:
            return False
        return True

    async def ask_all(self, n: int) -> int:
        return sum(await asyncio.gather(*(self.ask(number) for number in range(n))))


def run(do: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    return asyncio.run(do())


@pytest.mark.parametrize("n_workers", (1, 2))
def test_no_more_is_let_through_than_the_limit_while_redis_comes_and_goes(redis: RedisServer, n_workers: int) -> None:
    chance = random.Random(n_workers)

    async def go() -> int:
        host, let_through = Host(redis, n_workers, 20), 0
        for turn in range(40):
            if turn % 4 == 3:
                redis.suspend()
                asyncio.get_running_loop().call_later(chance.uniform(0.02, 0.2), redis.resume)
            let_through += await host.ask_all(100)
            await asyncio.sleep(chance.choice((0, 0.3)))  # breakers are closed again now and then
        return let_through

    assert AMOUNT // 2 < run(go) <= AMOUNT


def test_what_redis_let_through_is_known_when_it_is_gone_and_the_other_way_round(redis: RedisServer) -> None:
    async def go() -> list[int]:
        host = Host(redis, 2, 1000)
        told = [await host.ask_all(400)]
        redis.kill()
        told.append(await host.ask_all(400))
        redis.start()
        await asyncio.sleep(1.2)
        return [*told, *[await host.ask_all(400) for _ in range(3)]]

    assert run(go) == [400, 400, 200, 0, 0]


def test_more_requests_at_once_than_there_are_connections_are_counted_in_redis_all_the_same(redis: RedisServer) -> None:
    async def go() -> None:
        limiter = RedisLimiter([Limit("caller", AMOUNT, 86_400)], redis.url, 1000)
        found = await asyncio.gather(*(limiter.take(["someone"]) for _ in range(500)))
        assert sorted(told[0] for told in found if told is not None) == list(range(AMOUNT - 500, AMOUNT))

    run(go)


def test_a_busy_process_does_not_take_its_own_delay_for_that_of_redis(redis: RedisServer) -> None:
    async def go() -> None:
        limiter = RedisLimiter([Limit("caller", AMOUNT, 86_400)], redis.url, 50)
        while await limiter.take(["someone"]) is None:  # a first connection
            await asyncio.sleep(0.1)
        redis.suspend()
        asked = asyncio.create_task(limiter.take(["someone"]))
        for _ in range(10):
            await asyncio.sleep(0)
        goes_on = threading.Timer(0.01, redis.resume)
        goes_on.start()
        time.sleep(0.3)
        assert await asked is not None
        goes_on.join()

    run(go)
