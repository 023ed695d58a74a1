"""A canary on the real service: who gets it, what it is recorded as, and that nothing it does fails a request."""

import json
import os
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from canary import Rollout, another, misbehaving, rolling

import canaries
from load import failures_of, load
from scoreline.core import ids
from scoreline.doors.http.worker import WATCH_S
from scoreline.operations.leased import FILE as LEASE
from service import FRAUD_ROW, SealedModel, wait_until

CUSTOMERS = [f"c-{number}" for number in range(200)]


def row(customer: str = "", **more: Any) -> dict[str, Any]:
    return {**FRAUD_ROW, **({"customer": customer} if customer else {}), **more}


@pytest.fixture
def bad(sealed_next: SealedModel) -> SealedModel:
    return misbehaving(sealed_next)


def test_its_share_is_right_sticky_and_nested_and_every_decision_has_its_role_and_epoch(
    sealed: SealedModel, sealed_next: SealedModel, tmp_path: Path
) -> None:
    scores = {model.manifest.version: model.decide(FRAUD_ROW)[0].scores[0] for model in (sealed, sealed_next)}
    told: dict[str, tuple[str, int, str]] = {}
    with rolling(sealed, folder=tmp_path) as rollout, load(rollout.service.port, keep_alive=1, reconnecting=1) as busy:

        def asked(customer: str) -> dict[str, Any]:
            response = client.post("/predict", json=row(customer))
            assert response.status_code == 200
            found: dict[str, Any] = response.json()
            return found

        with httpx.Client(base_url=rollout.service.url) as client:
            for epoch, share in ((4, 0.2), (7, 0.6), (9, 1.0)):
                rollout.begin(sealed_next, share, epoch)
                for customer in CUSTOMERS * 2:
                    answer = asked(customer)
                    wanted = "2" if rollout.is_canarys(customer, share) else "1"
                    assert (answer["version"], answer["fraud_probability"]) == (wanted, scores[wanted])
                    told[answer["prediction_id"]] = (wanted, epoch, "canary" if wanted == "2" else "champion")
            rollout.end(11)
            told[asked("c-1")["prediction_id"]] = ("1", 11, "champion")
    assert failures_of(busy) == []
    recorded = {decision.id: decision.author for found in rollout.service.recorded() for decision in found}
    for prediction_id, (version, epoch, role) in told.items():
        author = recorded[prediction_id]
        assert (author.version, author.epoch, author.role) == (version, epoch, role)
    shares = Counter((epoch, version) for version, epoch, _ in told.values())
    assert 40 < shares[4, "2"] < 120 and 190 < shares[7, "2"] < 290 and shares[9, "2"] == 400
    versions = Counter(recorded[answer["prediction_id"]].version for client in busy for answer in client.answers)
    assert min(versions["1"], versions["2"]) > 20, "without entities the share is one of requests"
    assert rollout.failures() == []


def test_rows_about_several_entities_are_answered_by_one_version(
    sealed: SealedModel, sealed_next: SealedModel, tmp_path: Path
) -> None:
    with rolling(sealed, folder=tmp_path, workers=1) as rollout:
        rollout.begin(sealed_next, 0.5, 3, 1)
        ours, theirs = (rollout.customer(0.5, canarys=canarys) for canarys in (True, False))
        roles = {}
        more = next(name for name in CUSTOMERS if rollout.is_canarys(name, 0.5) and name != ours)
        for customers in ((ours, ours), (theirs, theirs), (ours, theirs), (ours, more)):
            answer = rollout.service.post([row(customer) for customer in customers]).json()
            roles[customers] = answer["version"], answer["predictions"][0]["prediction_id"]
        recorded = {decision.id: decision.author.role for found in rollout.service.recorded() for decision in found}
        found = [(version, recorded[prediction_id]) for version, prediction_id in roles.values()]
        assert found == [("2", "canary"), ("1", "champion"), ("1", "mixed"), ("2", "mixed")]


FAILING = {
    canaries.RAISES: "raised",
    canaries.ANOTHER_ERROR: "raised",
    canaries.NO_NUMBER: "not_finite",
    canaries.SLOW: "overran",
}


def test_a_canary_that_fails_fails_no_request(sealed: SealedModel, bad: SealedModel, tmp_path: Path) -> None:
    with rolling(sealed, folder=tmp_path, workers=1) as rollout:
        rollout.begin(bad, 0.5, 3, 1)
        ours, theirs = (rollout.customer(0.5, canarys=canarys) for canarys in (True, False))
        answered: dict[str, str] = {}
        for amount in FAILING:
            for customer in (ours, theirs):
                response = rollout.service.post(row(customer, amount=amount))
                assert response.status_code == 200
                assert response.json()["version"] == "1"
                assert response.json()["fraud_probability"] == sealed.decide(row(amount=amount))[0].scores[0]
                answered[response.json()["prediction_id"]] = "canary_failed" if customer == ours else "champion"
        assert rollout.service.post(row(ours)).json()["version"] == "2", "for other rows it goes on"
        recorded = {decision.id: decision for found in rollout.service.recorded() for decision in found}
        assert {found: recorded[found].author.role for found in answered} == answered
        failures = rollout.failures()
        assert [failure.kind for failure in failures] == list(FAILING.values())
        assert {(failure.version, failure.role, failure.epoch) for failure in failures} == {("2", "canary", 3)}
        assert {failure.entities for failure in failures} == {(rollout.hash(ours),)}
        assert len({failure.base for failure in failures}) == 4
        assert not {ids.text(failure.base) for failure in failures} & recorded.keys()
        log = rollout.service.log
        assert "canary 2 of fraud raised, and the champion answers: the library says no" in log
        assert "a row's own words" not in log
        assert log.count("and the champion answers") == 3, "each kind once"


def ask(rollout: Rollout, **given: Any) -> str:
    """What became of a request: its status, or that its connection was lost."""
    try:
        return str(rollout.service.post(row(**given)).status_code)
    except httpx.TransportError:
        return "lost"


@pytest.mark.parametrize("amount", (canaries.CRASHES, canaries.KILLS))
def test_a_worker_that_dies_in_it_is_replaced_at_once_and_leaves_one_record(
    sealed: SealedModel, bad: SealedModel, tmp_path: Path, amount: float
) -> None:
    with rolling(sealed, folder=tmp_path) as rollout:
        service = rollout.service
        rollout.begin(bad, 0.5, 3)
        ours, theirs = (rollout.customer(0.5, canarys=canarys) for canarys in (True, False))
        with load(service.port, keep_alive=6, row=row(theirs)) as clients:
            for n_deaths in (1, 2, 3):
                before = {worker.pid for worker in service.workers()}
                assert ask(rollout, customer=ours, amount=amount) == "lost"
                wait_until(lambda n=n_deaths: len(rollout.failures()) == n, "the next worker has told of it")
                wait_until(lambda before=before: len({w.pid for w in service.workers()} - before) == 1, "it is there")
        failures = rollout.failures()
        assert {(found.version, found.role, found.epoch, found.kind) for found in failures} == {
            ("2", "canary", 3, "died")
        }
        assert {found.entities for found in failures} == {(rollout.hash(ours),)}
        assert len({found.base for found in failures}) == 3
        assert service.log.count("a new one in 0.0 s") == 3
        assert len(failures_of(clients)) <= 3 * 6, "only on connections of the worker that died"
        assert not [what for _, what in failures_of(clients) if what[0].isdigit()], "lost connections, no refusals"
        assert ask(rollout, customer=theirs, amount=amount) == "200"
        assert {decision.author.role for found in service.recorded() for decision in found} <= {"champion", "canary"}


def test_a_worker_that_hangs_in_it_is_ended_and_leaves_one_record(
    sealed: SealedModel, bad: SealedModel, tmp_path: Path
) -> None:
    with rolling(sealed, folder=tmp_path, SCORELINE_ROLLOUT__HANG_MS="400") as rollout:
        rollout.begin(bad, 0.5, 3)
        ours, theirs = (rollout.customer(0.5, canarys=canarys) for canarys in (True, False))
        with load(rollout.service.port, keep_alive=0, reconnecting=3, row=row(theirs)) as clients:
            began_s = time.monotonic()
            assert ask(rollout, customer=ours, amount=canaries.HANGS) == "lost"
            assert 0.4 <= time.monotonic() - began_s < 10
            wait_until(rollout.failures, "the next worker has told of it")
        (failure,) = rollout.failures()
        assert (failure.version, failure.role, failure.kind) == ("2", "canary", "died")
        assert failure.entities == (rollout.hash(ours),)
        assert "a canary has not scored in 0.4 s; it is killed" in rollout.service.log
        assert len(failures_of(clients)) <= 3
        assert ask(rollout, customer=theirs, amount=canaries.HANGS) == "200"


def test_a_worker_killed_while_it_is_marked_leaves_a_record_and_any_other_does_not(
    sealed: SealedModel, bad: SealedModel, tmp_path: Path
) -> None:
    with rolling(sealed, folder=tmp_path, workers=1, SCORELINE_ROLLOUT__HANG_MS="600000") as rollout:
        rollout.begin(bad, 1.0, 3, 1)
        (idle,) = rollout.service.workers()
        idle.kill()
        assert ask(rollout, customer="c-1") == "200"
        assert rollout.failures() == [], "it was scoring nothing"
        asking = threading.Thread(target=ask, args=(rollout,), kwargs={"customer": "c-1", "amount": canaries.HANGS})
        asking.start()
        (worker,) = rollout.service.workers()
        wait_until(lambda: worker.status() == "sleeping" and _is_asleep(worker.pid), "it hangs")
        worker.kill()
        asking.join()
        wait_until(rollout.failures, "the next worker has told of it")
        assert [(found.kind, found.role) for found in rollout.failures()] == [("died", "canary")]


def _is_asleep(pid: int) -> bool:
    """In `time.sleep`, rather than waiting for connections."""
    with suppress(OSError):
        return "nanosleep" in Path(f"/proc/{pid}/wchan").read_text()
    return False


def test_without_a_lease_every_answer_is_the_champions(
    sealed: SealedModel, sealed_next: SealedModel, tmp_path: Path
) -> None:
    with rolling(sealed, folder=tmp_path) as rollout:
        service, lease = rollout.service, rollout.service.state_dir / LEASE
        rollout.begin(sealed_next, 1.0, 3)

        def version() -> str:
            found: str = service.post(row("c-1")).json()["version"]
            return found

        wait_until(lambda: version() == "2", "the canary answers")
        steward = service.steward()
        assert steward
        steward.suspend()  # as one that is cut off from the ledger
        try:
            lease.unlink()
            time.sleep(2 * WATCH_S)
            assert {version() for _ in range(40)} == {"1"}, "both workers"
            lease.touch()
            wait_until(lambda: version() == "2", "the canary answers")
            renewed_ns = time.time_ns() - 8_000_000_000
            os.utime(lease, ns=(renewed_ns, renewed_ns))
            time.sleep(2 * WATCH_S)
            answers: list[tuple[int, str]] = []
            while time.time_ns() < renewed_ns + 11_000_000_000:
                answers.append((time.time_ns() - renewed_ns, version()))
        finally:
            steward.resume()
        ages = {number: [age_ns for age_ns, found in answers if found == number] for number in ("1", "2")}
        assert max(ages["2"]) < 10_000_000_000 < min(ages["1"]) + 500_000_000


def test_every_protocol_names_the_version_that_answered_and_its_outcomes(
    sealed: SealedModel, sealed_next: SealedModel, tmp_path: Path
) -> None:
    def renamed(manifest: Any) -> None:
        manifest["policy"] = {"outcomes": ["pay", "look"], "thresholds": [0.0], "likeliest": False}

    canary = another(sealed_next, "fraud-2-renamed", renamed)
    with rolling(sealed, folder=tmp_path, workers=1) as rollout:
        service = rollout.service
        rollout.begin(canary, 0.5, 3, 1)
        for canarys, version, outcome in ((True, "2", "look"), (False, "1", sealed.decide(FRAUD_ROW)[0].outcome)):
            given = row(rollout.customer(0.5, canarys=canarys))
            tensors = [
                {"name": name, "shape": [1], "datatype": _datatype(value), "data": [value]}
                for name, value in given.items()
            ]
            own = service.post(given).json()
            many = service.post([given, given], "/models/fraud/predict").json()
            kserve = service.post({"instances": [given]}, "/v1/models/fraud:predict").json()
            mlflow = service.post({"dataframe_records": [given]}, "/invocations").json()
            infer = service.post({"inputs": tensors}, "/v2/models/fraud/infer").json()
            assert (own["version"], own["outcome"]) == (version, outcome)
            assert (many["version"], {found["outcome"] for found in many["predictions"]}) == (version, {outcome})
            for answer in (kserve, mlflow):
                assert (answer["version"], answer["outcomes"]) == (version, [outcome])
            assert infer["model_version"] == version
            assert {found["name"]: found["data"] for found in infer["outputs"]}["outcome"] == [outcome]
            for asked in ("1", "2"):  # whoever asks for a version gets it
                found = service.post({"inputs": tensors}, f"/v2/models/fraud/versions/{asked}/infer").json()
                assert found["model_version"] == asked
        assert service.post({"inputs": []}, "/v2/models/fraud/versions/3/infer").status_code == 404
        roles = Counter(found.author.role for found in service.recorded())
        assert roles["pinned"] == 4
        enums = json.dumps(service.get("/openapi.json").json()["paths"]["/predict"])
        assert '"look"' in enums and '"decline"' in enums


def _datatype(value: Any) -> str:
    return {bool: "BOOL", int: "INT64", str: "BYTES"}.get(type(value), "FP64")


def test_models_tell_their_versions_and_roles(sealed: SealedModel, sealed_next: SealedModel, tmp_path: Path) -> None:
    with rolling(sealed, folder=tmp_path, workers=1) as rollout:
        service = rollout.service
        champion = {"version": "1", "role": "champion", "share": 1.0, "digest": sealed.manifest.digest}
        canary = {"version": "2", "role": "canary", "share": 0.25, "digest": sealed_next.manifest.digest}
        (alone,) = service.get("/models").json()["models"]
        assert (alone["version"], alone["role"], alone["versions"]) == ("1", "champion", [champion])
        rollout.begin(sealed_next, 0.25, 3, 1)
        both = [{**champion, "share": 0.75}, canary]
        (found,) = service.get("/models").json()["models"]
        assert (found["version"], found["role"], found["versions"]) == ("1", "champion", both)
        assert service.get("/models/fraud").json()["versions"] == both
        assert service.get("/v2/models/fraud").json()["versions"] == ["1", "2"]
        assert service.get("/v2/models/fraud/versions/2").json()["versions"] == ["1", "2"]
        assert service.get("/v2/models/fraud/versions/2/ready").status_code == 200
        assigned = service.admin("/status").json()["models"]["fraud"]
        assert (assigned["version"], assigned["epoch"], assigned["canary"]["share"]) == ("1", 3, 0.25)


def test_a_canary_that_cannot_be_loaded_leaves_the_champion_answering(
    sealed: SealedModel, sealed_next: SealedModel, tmp_path: Path
) -> None:
    spoilt = another(sealed_next, "fraud-2-spoilt", lambda manifest: manifest.update(version="2.1"))
    with rolling(sealed, folder=tmp_path, workers=1) as rollout:
        digest = rollout.install(spoilt)
        (rollout.service.state_dir / "bundles" / digest / "model.ubj").write_bytes(b"x")
        rollout.begin(spoilt, 1.0, 3, 1)
        answer = rollout.service.post(row("c-1"))
        assert (answer.status_code, answer.json()["version"]) == (200, "1")
        assert "version 2.1 of fraud goes without: " in rollout.service.log
        assert rollout.service.get("/models/fraud").json()["versions"][0]["share"] == 1.0
