"""Whatever becomes of Redis, a service answers: with what it has, flagged, and by itself with fresh features again."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from proxy import Proxy, proxy_to
from scoreline.features.redis import RedisStore
from service import SealedModel, Service, wait_until
from stored import DEFAULTS, rows_of, seal_stored

from .serving import ROW, N, expected, features_of, sound, with_redis

PEOPLE = 10  # who is asked about, all of them looked up before the fault


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> SealedModel:
    return seal_stored(tmp_path_factory.mktemp("risk"))


def fill(redis: Any) -> None:
    for view, rows in rows_of(N).items():
        RedisStore(redis.url).put(view, rows)


class Asking:
    """Asks about the same few people over and over, from threads of its own, and keeps what came of it."""

    def __init__(self, service: Service, wanted: list[float]) -> None:
        self._service = service
        self._wanted = wanted
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(2)]
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.ids: list[str] = []

    def _ask(self) -> None:
        with httpx.Client(base_url=self._service.url, timeout=20) as client:
            at = 0
            while not self._stop.is_set():
                at = (at + 1) % PEOPLE
                answer = client.post("/predict", json={**ROW, "customer": f"c{at}"})
                if answer.status_code != 200:
                    self.wrong.append(f"{answer.status_code} {answer.text}")
                    continue
                found = answer.json()
                self.ids.append(found["prediction_id"])
                self.counts["degraded" if "degraded" in found else "sound"] += 1
                if found["risk"] != self._wanted[at] or found["defaulted"]:
                    self.wrong.append(f"c{at}: {found}")

    def more(self, what: str, n: int = 20) -> None:
        """Waits for so many more answers of a kind."""
        before = self.counts[what]
        wait_until(lambda: self.counts[what] >= before + n or self.wrong, f"{n} more {what} answers", 60)

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(20)


@contextmanager
def asked_through(stored: SealedModel, folder: Path, url: str) -> Iterator[Asking]:
    """Answers before, during and after a fault: each is right, none is an error, and every one is recorded once.

    Everyone asked about was looked up before, so even a degraded answer is what it should be.
    """
    wanted = expected(stored, *({**ROW, **features_of(at)} for at in range(PEOPLE)))
    with with_redis(stored, folder, url) as service:
        wait_until(sound(service), "the first lookup is answered")
        for at in range(PEOPLE):
            wait_until(
                lambda at=at: "degraded" not in service.post({**ROW, "customer": f"c{at}"}).json(), "it is known"
            )
        known = set(service.recorded_ids())
        asking = Asking(service, wanted)
        asking.start()
        try:
            asking.more("sound")
            yield asking
            asking.more("sound")
        finally:
            asking.stop()
        assert asking.wrong == []
        assert sorted(set(service.recorded_ids()) - known) == sorted(asking.ids)


def test_it_answers_while_redis_is_killed_and_after_it_is_started_anew(
    stored: SealedModel, redis: Any, tmp_path: Path
) -> None:
    fill(redis)
    with asked_through(stored, tmp_path, redis.url) as asking:
        redis.kill()
        asking.more("degraded")
        redis.start()


def test_it_answers_while_redis_is_stopped_in_its_tracks(stored: SealedModel, redis: Any, tmp_path: Path) -> None:
    fill(redis)
    with asked_through(stored, tmp_path, redis.url) as asking:
        redis.suspend()
        asking.more("degraded")
        redis.resume()


def test_it_answers_while_redis_lets_its_clients_wait(stored: SealedModel, redis: Any, tmp_path: Path) -> None:
    fill(redis)
    with asked_through(stored, tmp_path, redis.url) as asking:
        redis.client.execute_command("CLIENT", "PAUSE", 1500, "ALL")
        asking.more("degraded")


def delayed(proxy: Proxy) -> None:
    proxy.delay_s = 0.5


@pytest.mark.parametrize("fault", [delayed, Proxy.cut])
def test_it_answers_while_the_way_to_redis_is_slow_or_cut(
    stored: SealedModel, redis: Any, tmp_path: Path, fault: Callable[[Proxy], None]
) -> None:
    fill(redis)
    with proxy_to(redis.port) as proxy, asked_through(stored, tmp_path, proxy.url) as asking:
        fault(proxy)
        asking.more("degraded")
        proxy.delay_s, proxy.cutting = 0.0, False


def test_who_was_never_looked_up_gets_defaults_while_redis_is_away(
    stored: SealedModel, redis: Any, tmp_path: Path
) -> None:
    redis.kill()
    with with_redis(stored, tmp_path, redis.url) as service:
        answer = service.post({**ROW, "customer": "c7"}).json()
        assert answer["degraded"] == answer["defaulted"] == ["visits", "ratio"]
        assert answer["risk"] == expected(stored, {**ROW, **DEFAULTS})[0]
        redis.start()
        fill(redis)
        assert wait_until(sound(service), "it heals")["risk"] == expected(stored, {**ROW, **features_of(7)})[0]


def test_an_indispensable_feature_is_a_deliberate_503_while_redis_is_away(redis: Any, tmp_path: Path) -> None:
    model = seal_stored(tmp_path, need={"source": "store", "indispensable": True})
    redis.kill()
    with with_redis(model, tmp_path / "serve", redis.url) as service:
        answer = service.post({**ROW, "customer": "c7"})
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.json()["type"] == "/errors/store-down"
        assert service.recorded_ids() == []
        redis.start()
        wait_until(lambda: service.post({**ROW, "customer": "c7"}).status_code == 422, "it is asked, and knows nobody")


def test_a_drain_waits_for_a_lookup_under_way(stored: SealedModel, redis: Any, tmp_path: Path) -> None:
    """Redis is stopped, so the lookup lasts its whole budget; SIGTERM comes in the middle of it."""
    fill(redis)
    with with_redis(stored, tmp_path, redis.url, features_ms=3000) as service:
        wait_until(sound(service), "the first lookup is answered")
        redis.suspend()
        answers: list[httpx.Response] = []
        thread = threading.Thread(target=lambda: answers.append(service.post({**ROW, "customer": "c7"})))
        thread.start()
        wait_until(lambda: redis.unread(), "the lookup is under way")
        assert service.stop() == 0
        thread.join(20)
        redis.resume()
    (answer,) = answers
    assert answer.status_code == 200
    assert answer.json()["degraded"] == ["visits", "ratio"]
    assert answer.json()["prediction_id"] in service.recorded_ids()
