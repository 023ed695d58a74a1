"""Limits that services count together in a real Redis: exact over both, and never open when it is away."""

import threading
from collections import Counter
from pathlib import Path

import httpx

from redis_server import RedisServer
from service import FRAUD_ROW, SealedModel, Service, serving, wait_until

KEY = "a-key-of-at-least-24-characters"


def environment(url: str, limit: str) -> dict[str, str]:
    return {
        "SCORELINE_ACCESS__ADMIN_KEY": KEY,
        "SCORELINE_ACCESS__ANONYMOUS": "predict",
        "SCORELINE_LIMITS__REDIS": url,
        "SCORELINE_LIMITS__REDIS_MS": "1000",  # of a slow machine that has much else to do
        "SCORELINE_LIMITS__PER_CALLER": limit,
    }


def statuses(service: Service, n_requests: int) -> Counter[int]:
    with httpx.Client(base_url=service.url, timeout=20) as client:
        return Counter(client.post("/predict", json=FRAUD_ROW).status_code for _ in range(n_requests))


def test_two_services_share_one_limit_exactly(sealed: SealedModel, redis: RedisServer, tmp_path: Path) -> None:
    """Four clients at once at each of two services, which have two workers each."""
    shared = environment(redis.url, "50/day")
    found: list[Counter[int]] = []
    with (
        serving(sealed, folder=tmp_path / "a", workers=2, **shared) as one,
        serving(sealed, folder=tmp_path / "b", workers=2, **shared) as other,
    ):
        first = one.post(FRAUD_ROW)
        assert first.headers["ratelimit-policy"] == '"caller";q=50;w=86400'
        assert first.headers["ratelimit"].startswith('"caller";r=49;t=')
        clients = [
            threading.Thread(target=lambda to=service: found.append(statuses(to, 10)))  # type: ignore[misc]
            for service in (one, other)
            for _ in range(4)
        ]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        assert sum(found, Counter()) == {200: 49, 429: 31}
        refused = other.post(FRAUD_ROW)
        assert (refused.status_code, refused.json()["type"]) == (429, "/errors/rate-limited")
        assert refused.headers["ratelimit"] == f'"caller";r=0;t={refused.headers["retry-after"]}'
        counted = [service.admin("/status", x_api_key=KEY).json()["rate_limited"]["caller"] for service in (one, other)]
        assert sum(counted) == 32


def test_while_redis_is_away_or_hangs_each_host_counts_alone_and_nobody_sees_an_error(
    sealed: SealedModel, redis: RedisServer, tmp_path: Path
) -> None:
    """Never open and never an error: each way of being away has the host's own limit and no other status."""
    with serving(sealed, folder=tmp_path / "a", **environment(redis.url, "200/day")) as service:
        assert statuses(service, 10) == {200: 10}
        asking = threading.Event()
        found: Counter[int] = Counter()

        def ask() -> None:
            while not asking.is_set():
                found.update(statuses(service, 5))

        client = threading.Thread(target=ask)
        client.start()
        redis.suspend()
        wait_until(lambda: "this host counts alone" in service.log, "the service notices that Redis hangs")
        redis.resume()
        wait_until(lambda: "Redis answers again" in service.log, "the service notices that it is back")
        redis.kill()
        wait_until(lambda: service.log.count("this host counts alone") == 2, "the service notices that Redis is gone")
        wait_until(lambda: found[429] > 20, "the host's own limit is reached", 60)
        asking.set()
        client.join()
        assert found.keys() == {200, 429}
        assert 10 + found[200] == 200, "what Redis had, and what the host counted alone"
        redis.start()
        wait_until(lambda: statuses(service, 1)[429] and service.log.count("Redis answers again") == 2, "it is back")
        assert statuses(service, 5) == {429: 5}, "the host knows what it let through"
        assert "Traceback" not in service.log


def test_a_redis_that_refuses_everyone_costs_no_request(
    sealed: SealedModel, redis: RedisServer, tmp_path: Path
) -> None:
    url = redis.url.replace("redis://", "redis://:not-the-password-of-it@")
    with serving(sealed, folder=tmp_path, **environment(url, "5/day")) as service:
        assert statuses(service, 7) == {200: 5, 429: 2}
        assert "not-the-password-of-it" not in service.log + service.said
