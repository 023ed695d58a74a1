"""What hosts count together in Redis has the verdicts of what a host counts for itself, and never costs a request."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redis_server import RedisServer, redis_server
from scoreline.access import limits_redis
from scoreline.access.limits import Limit, Limiter
from scoreline.access.limits_redis import RedisLimiter
from scoreline.access.windows import Windows
from scoreline.core.errors import RateLimited

LIMITS = [Limit("address", 9, 60), Limit("caller", 4, 60), Limit("model", 30, 3600)]
START_S = 1_000_000 * 3600
TIMES = st.lists(
    st.tuples(st.integers(0, 16 * 240), st.sampled_from("ab"), st.sampled_from("cde")), min_size=1, max_size=60
).map(sorted)
Verdict = list[int] | tuple[str, int]


def run(do: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    return asyncio.run(do())


@pytest.fixture(scope="module")
def server() -> Any:
    with redis_server() as found:
        yield found


@given(TIMES)
def test_verdicts_in_redis_are_those_of_one_host(server: RedisServer, asked: Sequence[tuple[int, str, str]]) -> None:
    """Of its clock the test makes another: a key that says what time it is."""
    from redis import Redis

    client: Any = Redis.from_url(server.url)
    client.flushall()
    here = Limiter([Windows(limit, 1, n_places=64).of_worker(0) for limit in LIMITS])

    async def verdicts() -> None:
        with pytest.MonkeyPatch.context() as patch:
            clock = "{redis.call('HGET', 'now', 's'), redis.call('HGET', 'now', 'us')}"
            patch.setattr(limits_redis, "TAKE", limits_redis.TAKE.replace("redis.call('TIME')", clock))
            there = RedisLimiter(LIMITS, server.url, 1000)
        for sixteenths, address, caller in asked:
            seconds, rest = divmod(sixteenths, 16)
            client.hset("now", mapping={"s": START_S + seconds, "us": rest * 62_500})
            keys = [address, caller, "fraud"]
            ours: Verdict
            theirs: Verdict
            try:
                ours = here.take(keys, (START_S + seconds) * 1_000_000_000 + rest * 62_500_000)
            except RateLimited as refused:
                ours = refused.kind, refused.retry_after_s
            try:
                found = await there.take(keys)
                assert found is not None
                theirs = found
            except RateLimited as refused:
                theirs = refused.kind, refused.retry_after_s
            assert theirs == ours

    run(verdicts)


def test_who_has_no_key_counts_for_the_first_limit_only(redis: RedisServer) -> None:
    async def go() -> None:
        limiter = RedisLimiter(LIMITS, redis.url, 1000)
        found = await limiter.take(["10.0.0.1"])
        assert found is not None and found[::2] == [8]
        found = await limiter.take(["10.0.0.1", "someone", "fraud"])
        assert found is not None and found[::2] == [7, 3, 29]

    run(go)


def test_counts_in_redis_end_by_themselves(redis: RedisServer) -> None:
    from redis import Redis

    async def go() -> None:
        await RedisLimiter(LIMITS, redis.url, 1000).take(["10.0.0.1", "someone", "fraud"])

    run(go)
    client: Any = Redis.from_url(redis.url)
    assert sorted(client.ttl(name) for name in client.scan_iter()) == sorted([120, 120, 7200])


def test_a_redis_that_hangs_costs_its_time_once(redis: RedisServer) -> None:
    """One who asks waits for it; all others, until it is tried again, are told at once to count for themselves."""
    now = [0.0]
    asked = 0

    async def go() -> None:
        nonlocal asked
        limiter = RedisLimiter(LIMITS, redis.url, 300)
        limiter._breaker._clock = lambda: now[0]
        take = limiter._take

        async def counted(*arguments: Any) -> Any:
            nonlocal asked
            asked += 1
            return await take(*arguments)

        limiter._take = counted
        assert await limiter.take(["a"]) is not None
        redis.suspend()
        assert [await limiter.take(["a"]) for _ in range(50)] == [None] * 50
        assert asked == 2
        now[0] += 1
        assert [await limiter.take(["a"]) for _ in range(50)] == [None] * 50
        assert asked == 3
        redis.resume()
        now[0] += 1
        assert await limiter.take(["a"]) is not None

    run(go)
