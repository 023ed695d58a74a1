"""What the control plane tells is what the workers of this host have answered."""

import asyncio
import math
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest

from scoreline.access.keyring import Keyring
from scoreline.control.steward import Steward, make_control_app
from scoreline.core.decision import Decisions
from scoreline.operations.state import Assignment, State, write_state
from scoreline.records.segments import segment_name, segments
from scoreline.records.writer import SpoolWriter
from scoreline.settings import Settings
from service import CHURN_ROW, FRAUD_ROW, SealedModel, serving, wait_until


def get(steward: Steward, path: str) -> httpx.Response:
    """As where nobody ever made a key."""
    steward.access.ring = Keyring()

    async def go() -> httpx.Response:
        transport = httpx.ASGITransport(app=make_control_app(steward), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.get(path)

    return asyncio.run(go())


def decided(model: SealedModel, n_rows: int) -> Decisions:
    return model.decide(*[{**FRAUD_ROW, "amount": 100.0 * row} for row in range(n_rows)])


def test_status_shows_what_is_assigned_recorded_and_decided(sealed: SealedModel, tmp_path: Path) -> None:
    write_state(tmp_path, State({"fraud": Assignment("1", sealed.manifest.digest, 7)}))
    steward, writer = Steward(Settings(state_dir=str(tmp_path))), SpoolWriter(tmp_path / "spool", 1 << 20)
    writer.write(decided(sealed, 3))
    assert get(steward, "/status").json()["decisions"] == []
    assert steward.tail() == 3
    status = get(steward, "/status").json()
    who = {"version": "1", "digest": sealed.manifest.digest, "epoch": 7}
    assert status["models"] == {"fraud": who | {"canary": None, "pins": [], "challengers": []}}
    assert status["spool"] == {"segments": 1, "lag_bytes": 0}
    (tally,) = status["decisions"]
    assert (tally["model"], tally["version"], tally["role"]) == ("fraud", "1", "champion")
    assert (tally["requests"], tally["decisions"]) == (1, 3)


def test_without_a_state_the_status_is_a_problem_and_health_is_not(tmp_path: Path) -> None:
    steward = Steward(Settings(state_dir=str(tmp_path)))
    answer = get(steward, "/status")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert get(steward, "/healthz/live").status_code == 200


def test_an_error_nobody_foresaw_is_a_problem_without_its_inside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_state(tmp_path, State({}))
    steward = Steward(Settings(state_dir=str(tmp_path)))

    def broken() -> None:
        raise ZeroDivisionError("/opt/secret 4711")

    monkeypatch.setattr(steward, "status", broken)
    answer = get(steward, "/status")
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert answer.json()["type"] == "/errors/internal"
    assert "4711" not in answer.text


def test_a_drained_steward_is_alive_and_not_ready(tmp_path: Path) -> None:
    steward = Steward(Settings(state_dir=str(tmp_path)))
    assert get(steward, "/healthz/ready").status_code == 200
    steward.drain()
    assert get(steward, "/healthz/ready").status_code == 503
    assert get(steward, "/healthz/live").status_code == 200


@pytest.mark.parametrize("damage", ("zeros", "torn", "noise", "unreadable name", "empty file"))
def test_it_goes_on_tailing_whatever_lies_in_the_spool(sealed: SealedModel, tmp_path: Path, damage: str) -> None:
    spool = tmp_path / "spool"
    writer = SpoolWriter(spool, 1 << 20)
    writer.write(decided(sealed, 2))
    writer.close()
    (first,) = segments(spool)
    raw = first.path.read_bytes()
    if damage == "unreadable name":
        (spool / segment_name("f" * 24, 0)).mkdir()
    elif damage == "empty file":
        (spool / segment_name("0" * 24, 0)).write_bytes(b"")
    else:
        first.path.write_bytes(
            {"zeros": raw + b"\0" * 64, "torn": raw + raw[8:60], "noise": raw + b"\xff" * 64}[damage]
        )
    steward = Steward(Settings(state_dir=str(tmp_path)))
    write_state(tmp_path, State({}))

    def counted() -> int:
        return sum(tally["decisions"] for tally in steward.status()["decisions"])

    async def go() -> None:
        tailing = asyncio.create_task(steward.run())
        later = SpoolWriter(spool, 1 << 20)
        later.write(decided(sealed, 5))
        for _ in range(100):
            if counted() == 7:
                break
            await asyncio.sleep(0.05)
        assert not tailing.done()
        tailing.cancel()

    asyncio.run(go())
    assert counted() == 7


def test_the_tallies_of_a_service_add_up_to_its_answers(
    sealed: SealedModel, churn: SealedModel, tmp_path: Path
) -> None:
    answers: dict[str, list[dict[str, Any]]] = {"fraud": [], "churn": []}
    requests = Counter[str]()
    with serving(sealed, churn, folder=tmp_path, workers=2) as service:
        for place in range(30):
            rows: dict[str, list[dict[str, Any]]] = {
                "fraud": [{"amount": 321.0 * place + row} for row in range(place % 4 + 1)],
                "churn": [{**CHURN_ROW, "premium": 10.0 * place}],
            }
            for model, sent in rows.items():
                answer = service.post(sent, f"/models/{model}/predict")
                answers[model] += answer.json()["predictions"]
                requests[model] += 1
        assert service.post({}, "/models/fraud/predict").status_code == 422

        def counted() -> int:
            return sum(tally["decisions"] for tally in service.admin("/status").json()["decisions"])

        wait_until(lambda: counted() == sum(map(len, answers.values())), "the steward has counted all answers")
        tallies = {tally["model"]: tally for tally in service.admin("/status").json()["decisions"]}
    for model, given in answers.items():
        tally = tallies[model]
        scores = [answer[f"{model}_probability"] for answer in given]
        assert tally["mean_score"] == [pytest.approx(math.fsum(scores) / len(scores), rel=1e-12)]
        assert (tally["requests"], tally["decisions"]) == (requests[model], len(given))
        assert tally["defaulted"] == sum(1 for answer in given if answer["defaulted"])
        assert tally["outcomes"] == dict(Counter(answer["outcome"] for answer in given if "outcome" in answer))
