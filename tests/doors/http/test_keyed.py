"""Requests with an idempotency key and their deadline: however long the place that keeps answers takes."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from inprocess import PATIENT, ask

from redis_server import RedisServer
from scoreline.access.answers import Answers, Kept
from scoreline.access.answers_redis import RedisAnswers
from scoreline.access.answers_sqlite import SqliteAnswers
from scoreline.access.keyring import Keyring
from scoreline.core.decision import Decisions
from scoreline.core.scorer import Scorer
from scoreline.doors.http.app import App
from scoreline.doors.http.door import Door
from scoreline.doors.http.keyed import Keyed
from scoreline.doors.http.served import serve_model
from scoreline.engines.load import load_engine
from scoreline.records.spool import recorded
from scoreline.records.turn import Turn
from service import SealedModel, wait_until

BODY = b'{"amount": 5000.0}'
LONG_S = 10.0  # more than any test waits for what it holds up


class Written:
    """A writer in memory."""

    def __init__(self) -> None:
        self.decisions: list[Decisions] = []

    def write_all(self, requests: list[Decisions]) -> None:
        self.decisions += requests


class Held:
    """Answers that stand still at a step until `go_on` is set."""

    def __init__(self, answers: Answers, step: str = "") -> None:
        self._answers = answers
        self.step = step
        self.stands = threading.Event()
        self.go_on = threading.Event()

    def claim(self, key: bytes, request: bytes) -> Kept | None:
        return self._at("claim", lambda: self._answers.claim(key, request))

    def prepare(self, key: bytes, request: bytes, kept: Kept) -> None:
        self._at("prepare", lambda: self._answers.prepare(key, request, kept))

    def done(self, key: bytes) -> None:
        self._at("done", lambda: self._answers.done(key))

    def drop(self, key: bytes) -> None:
        self._at("drop", lambda: self._answers.drop(key))

    def leave(self, key: bytes) -> None:
        self._at("leave", lambda: self._answers.leave(key))

    def _at(self, step: str, do: Callable[[], Any]) -> Any:
        if step == self.step:
            self.stands.set()
            self.go_on.wait(LONG_S)
            self.stands.clear()
        return do()


def app_of(sealed: SealedModel, answers: Answers, written: Written) -> App:
    """A data plane that keeps answers there."""
    turn = Turn(written)  # type: ignore[arg-type]
    bundle = sealed.bundle
    score = recorded(Scorer(bundle.manifest, load_engine(bundle)), turn)
    door = Door(10_000, turn, keyed=Keyed(answers, b"s" * 32, turn))
    door.open({"fraud": serve_model(bundle.manifest, score, 50, budget=PATIENT)}, "fraud", Keyring())
    return App(door, _no_pages)


async def _no_pages(*_: Any) -> None:
    raise AssertionError("nobody asks for pages")


def asked(app: App, **headers: str) -> httpx.Response:
    return ask(app, "POST", "/predict", BODY, idempotency_key="order-1", **headers)


def settled(app: App) -> httpx.Response:
    """The answer once nobody else is at the key."""
    found: list[httpx.Response] = []

    def is_there() -> bool:
        found.append(asked(app))
        return found[-1].status_code != 409

    wait_until(is_there, "the key is free")
    return found[-1]


@contextmanager
def held(answers: Answers, step: str) -> Iterator[Held]:
    found = Held(answers, step)
    try:
        yield found
    finally:
        found.go_on.set()


@pytest.mark.parametrize("step", ("claim", "prepare"))
def test_who_keeps_answers_may_hang_and_the_caller_is_told_at_its_deadline_all_the_same(
    sealed: SealedModel, tmp_path: Path, step: str
) -> None:
    written = Written()
    with held(SqliteAnswers(tmp_path, 1 << 24), step) as place:
        app = app_of(sealed, place, written)
        late = asked(app, x_deadline_ms="300")
        assert place.stands.is_set()
        assert (late.status_code, late.json()["type"]) == (503, "/errors/deadline")
        assert late.headers["retry-after"] == "1"
        place.step = ""
        place.go_on.set()
        again = settled(app)
        assert (again.status_code, "idempotency-replayed" in again.headers) == (200, False), "its key was free again"
        assert settled(app).content == again.content
        assert [len(found) for found in written.decisions] == [1], "what was late is not decided"


def test_an_answer_waits_for_nothing_once_it_is_kept_and_recorded(sealed: SealedModel, redis: RedisServer) -> None:
    """And until that is known where answers are kept, another worker says that somebody is at it, and then the same."""
    written = Written()
    with held(RedisAnswers(redis.url, 1000), "done") as place:
        app, other = app_of(sealed, place, written), app_of(sealed, RedisAnswers(redis.url, 1000), Written())
        first = asked(app)
        assert place.stands.wait(LONG_S)
        assert (first.status_code, len(written.decisions)) == (200, 1)
        assert asked(other).status_code == 409
        place.go_on.set()
        for again in (settled(other), settled(app)):
            assert (again.content, again.headers["idempotency-replayed"]) == (first.content, "true")


def test_what_it_took_to_keep_an_answer_is_in_the_total_that_is_told_and_recorded(
    sealed: SealedModel, tmp_path: Path
) -> None:
    written = Written()
    with held(SqliteAnswers(tmp_path, 1 << 24), "prepare") as place:

        def go_on() -> None:
            place.stands.wait(LONG_S)
            time.sleep(0.3)
            place.go_on.set()

        waits = threading.Thread(target=go_on)
        waits.start()
        answer = asked(app_of(sealed, place, written))
        waits.join()
    told_ms = float(answer.headers["server-timing"].split("total;dur=")[1])
    assert answer.headers.get_list("server-timing") == [answer.headers["server-timing"]]
    (decisions,) = written.decisions
    assert decisions.total_ns / 1e6 == pytest.approx(told_ms, abs=0.001)
    assert told_ms >= 300, "which is how long it stood"


def test_of_more_requests_than_their_place_has_time_for_those_that_are_furthest_are_answered(
    sealed: SealedModel, tmp_path: Path
) -> None:
    """Sixty at once, each of which asks twice before its answer, and 30 ms each time: 3.6 s, of which they have 2."""

    class Slow(Held):
        def _at(self, step: str, do: Callable[[], Any]) -> Any:
            threading.Event().wait(0.03)
            return do()

    app = app_of(sealed, Slow(SqliteAnswers(tmp_path, 1 << 24)), Written())

    async def all_at_once() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app=app)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            one = [
                client.post(
                    "/predict",
                    content=BODY,
                    headers={"idempotency-key": str(number), "x-deadline-ms": "2000"},
                )
                for number in range(60)
            ]
            return await asyncio.gather(*one)

    for _ in range(2):
        told = Counter(answer.status_code for answer in asyncio.run(all_at_once()))
        assert told.keys() == {200, 503}
        assert told[200] >= 3
