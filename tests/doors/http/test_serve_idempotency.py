"""`Idempotency-Key` at the real service: one decision for each key, whoever asks how often and is killed when."""

import json
import sys
import threading
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from redis_server import RedisServer
from service import FRAUD_ROW, SealedModel, Service, serving, wait_until

KEY = "a-key-of-at-least-24-characters"
OPEN = {"SCORELINE_ACCESS__ADMIN_KEY": KEY, "SCORELINE_ACCESS__ANONYMOUS": "predict"}
TENSORS = {"inputs": [{"name": "amount", "shape": [1], "datatype": "FP64", "data": [5000.0]}]}
DIALECTS: dict[str, Any] = {
    "/predict": FRAUD_ROW,
    "/models/fraud/predict": [FRAUD_ROW] * 3,
    "/v1/models/fraud:predict": {"instances": [FRAUD_ROW]},
    "/v2/models/fraud/infer": TENSORS,
    "/v2/models/fraud/versions/1/infer": TENSORS,
    "/invocations": {"instances": [FRAUD_ROW]},
}
PLACES = ("host", "redis")
# Where the worker that answers first is killed, and how many of its decisions are in the record then.
DEATHS = {"claim after": 0, "prepare": 0, "prepare after": 0, "done": 1, "done after": 1}


def place(request: pytest.FixtureRequest, kind: str) -> dict[str, str]:
    if kind == "host":
        return dict(OPEN)
    redis: RedisServer = request.getfixturevalue("redis")
    return {**OPEN, "SCORELINE_LIMITS__REDIS": redis.url, "SCORELINE_LIMITS__REDIS_MS": "1000"}


def asked(service: Service, key: str, body: Any = FRAUD_ROW, path: str = "/predict", **headers: str) -> httpx.Response:
    return service.post(body, path, idempotency_key=key, **headers)


def settled(service: Service, key: str, body: Any, path: str, **headers: str) -> httpx.Response:
    """The answer once it is known where answers are kept that the first one is recorded."""
    found: list[httpx.Response] = []

    def is_there() -> bool:
        found.append(asked(service, key, body, path, **headers))
        return found[-1].status_code != 409

    wait_until(is_there, "nobody is at the key")
    return found[-1]


@pytest.mark.parametrize("kind", PLACES)
def test_the_same_request_again_is_answered_byte_for_byte_and_decided_once(
    kind: str, sealed: SealedModel, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    environment = place(request, kind)
    with serving(sealed, folder=tmp_path, workers=2, **environment) as service:
        first = {path: asked(service, "order-1", body, path) for path, body in DIALECTS.items()}
        for path, body in DIALECTS.items():
            assert first[path].status_code == 200, first[path].text
            assert "idempotency-replayed" not in first[path].headers
            for turn in range(4):  # of both workers, sooner or later
                again = settled(service, "order-1", body, path, x_request_id=f"turn-{turn}")
                assert again.content == first[path].content
                assert again.headers["idempotency-replayed"] == "true"
                assert again.headers["content-type"] == first[path].headers["content-type"]
                assert again.headers.get_list("x-request-id") == [f"turn-{turn}"]
            other = asked(service, "order-1", TENSORS if body is not TENSORS else FRAUD_ROW, path)
            assert other.status_code == 422
            assert "this Idempotency-Key was used for another request" in other.text
        assert len(service.recorded_ids()) == 5 + 3
        assert asked(service, "order-1", FRAUD_ROW, x_api_key=KEY).content != first["/predict"].content
        assert asked(service, "order-2", FRAUD_ROW).content != first["/predict"].content
        assert len(service.recorded_ids()) == 8 + 2, "another caller's key, and another key, are another request's"
    with serving(sealed, folder=tmp_path, **environment) as service:
        again = asked(service, "order-1")
        assert (again.content, again.headers["idempotency-replayed"]) == (first["/predict"].content, "true")
        assert len(service.recorded_ids()) == 10


def test_what_is_refused_is_not_kept_and_a_key_that_is_none_is_refused(sealed: SealedModel, tmp_path: Path) -> None:
    with serving(sealed, folder=tmp_path) as service:
        assert asked(service, "a", {"amount": "no number"}).status_code == 422
        assert asked(service, "a", b"{").status_code == 400
        good = asked(service, "a")
        assert (good.status_code, "idempotency-replayed" in good.headers) == (200, False)
        for key in ("", "x" * 256, "x" * 60_000, "tab\tin it"):
            refused = asked(service, key)
            assert (refused.status_code, refused.json()["type"]) == (400, "/errors/malformed")
        twice = httpx.post(
            service.url + "/predict",
            content=json.dumps(FRAUD_ROW),
            headers=[("content-type", "application/json"), ("idempotency-key", "a"), ("idempotency-key", "b")],
        )
        assert twice.status_code == 400
        assert len(service.recorded_ids()) == 1


@pytest.mark.parametrize("kind", PLACES)
def test_of_many_at_once_with_one_key_one_is_decided_and_the_others_get_its_answer_or_are_told_to_wait(
    kind: str, sealed: SealedModel, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    with serving(sealed, folder=tmp_path, workers=2, **place(request, kind)) as service:
        found: list[httpx.Response] = []
        rows = [FRAUD_ROW] * 2000
        clients = [threading.Thread(target=lambda: found.append(asked(service, "one", rows))) for _ in range(12)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        statuses = Counter(answer.status_code for answer in found)
        assert statuses.keys() <= {200, 409} and statuses[200]
        assert len({answer.content for answer in found if answer.status_code == 200}) == 1
        for answer in found:
            if answer.status_code == 409:
                assert answer.json()["type"] == "/errors/idempotency-busy"
                assert answer.headers["retry-after"] == "1"
        assert len(service.recorded_ids()) == 2000


@pytest.mark.parametrize("step", DEATHS)
@pytest.mark.parametrize("kind", PLACES)
def test_whenever_the_worker_dies_the_retry_is_the_one_decision(
    kind: str, step: str, sealed: SealedModel, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    died = tmp_path / "died"
    environment = {**place(request, kind), "DIE_AT": step, "DIED": str(died)}
    program = (sys.executable, str(Path(__file__).with_name("dying.py")))
    with serving(sealed, folder=tmp_path, program=program, **environment) as service:
        first = None
        with suppress(httpx.TransportError):
            first = asked(service, "order-1")
        assert first is None or "done" in step, "until it is recorded nothing is answered"
        wait_until(died.exists, "the worker dies")
        assert len(service.recorded_ids()) == DEATHS[step]
        answered: list[httpx.Response] = []

        def retried() -> bool:
            try:
                answered.append(asked(service, "order-1"))
            except httpx.TransportError:
                return False
            return answered[-1].status_code == 200

        wait_until(retried, "the retry is answered", 60)
        again = settled(service, "order-1", FRAUD_ROW, "/predict")
        assert again.content == answered[-1].content == (first or again).content
        assert again.headers["idempotency-replayed"] == "true"
        told = again.json()["prediction_id"]
        wait_until(
            lambda: service.admin("/status", x_api_key=KEY).json()["database"]["lag_bytes"] == 0, "it is shipped"
        )
        assert service.stop() == 0
        assert service.recorded_ids() == [told]


def test_while_redis_is_away_requests_with_a_key_are_told_to_come_again_and_all_others_answered(
    sealed: SealedModel, redis: RedisServer, tmp_path: Path
) -> None:
    environment = {**OPEN, "SCORELINE_LIMITS__REDIS": redis.url, "SCORELINE_LIMITS__REDIS_MS": "1000"}
    with serving(sealed, folder=tmp_path, **environment) as service:
        first = asked(service, "a")
        redis.suspend()
        refused = asked(service, "a")
        assert (refused.status_code, refused.json()["type"]) == (503, "/errors/idempotency-down")
        assert refused.headers["retry-after"] == "1"
        assert service.post(FRAUD_ROW).status_code == 200
        assert {asked(service, "a").status_code for _ in range(200)} <= {503, 409}
        assert service.log.count("IdempotencyDown") < 100, "which is no line for each of them"
        redis.resume()
        wait_until(lambda: asked(service, "a").status_code == 200, "keys are kept again")
        assert asked(service, "a").content == first.content
        assert len(set(service.recorded_ids())) == 2
