"""A rollout on a live service: real processes, real clients, and every answer counted."""

from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from inservice import database_of
from load import failures_of, load
from scoreline.operations import rollouts
from scoreline.operations.governed import arm_of
from scoreline.operations.rollouts import By, Frozen
from scoreline.records.database import Database
from scoreline.records.ledger import history
from scoreline.rollout.policy import Policy
from scoreline.rollout.stages import Stage
from service import FRAUD_ROW, SealedModel, serving, wait_until

POLICY: dict[str, Any] = {"min_step_s": 1, "min_requests": 30, "p_tol": 0.2, "steps": (0.1, 0.5, 1.0)}
QUICK = {
    "SCORELINE_ROLLOUT__MIN_STEP_S": "1",
    "SCORELINE_ROLLOUT__MIN_REQUESTS": "30",
    "SCORELINE_ROLLOUT__P_TOL": "0.2",
    "SCORELINE_ROLLOUT__STEPS": "0.1,0.5,1",
}
ADA = By("ada", "to see")


def canary(database: Database, sealed: SealedModel, ref: str = "", **policy: Any) -> None:
    manifest = sealed.manifest
    arm = arm_of(ref or str(sealed.folder), manifest.name, manifest.version, manifest.digest)
    rollouts.canary(database, manifest.name, arm, Policy(**{**POLICY, **policy}), Frozen(), ADA)


def stage(database: Database) -> Stage:
    return rollouts.stage_of(rollouts.current(database, "fraud"))


def test_a_version_that_does_no_harm_becomes_the_champion_by_itself(
    sealed: SealedModel, sealed_next: SealedModel, tmp_path: Path
) -> None:
    with serving(sealed, folder=tmp_path, workers=2, **QUICK) as service, closing(database_of(service)) as database:
        wait_until(lambda: history(database, "fraud", 1), "the first champion is in the ledger")
        with load(service.port, keep_alive=6, reconnecting=2, row=FRAUD_ROW) as clients:
            wait_until(lambda: all(client.answers for client in clients), "every client is answered")
            canary(database, sealed_next)
            wait_until(lambda: stage(database).champion.version == "2", "it is promoted", 60)
            wait_until(lambda: service.get("/models/fraud").json()["version"] == "2", "it answers as champion")
            before = len(clients[0].answers)
            wait_until(lambda: len(clients[0].answers) > before + 50, "it goes on answering")
        assert failures_of(clients) == []
        entries = list(reversed(history(database, "fraud", 99)))
        assert [entry.action for entry in entries] == ["seed", "canary", "advance", "advance", "promote"]
        assert [entry.who for entry in entries] == ["serve", "ada", "controller", "controller", "controller"]
        for entry in entries[2:]:
            assert entry.evidence["e_safe"]["errors"] >= entry.evidence["e_safe_limit"] == 20
            assert entry.evidence["units_step"] >= 30
        versions = Counter(answer["version"] for client in clients for answer in client.answers)
        assert versions["1"] > 100 < versions["2"]
        assert service.stop() == 0
        roles = Counter((found.author.role, found.author.version) for found in service.recorded())
        assert roles["canary", "2"] > 60 and roles["champion", "1"] > 60 and roles["champion", "2"]
        answered = sorted(answer["prediction_id"] for client in clients for answer in client.answers)
        assert sorted(service.recorded_ids()) == answered


def test_a_rollback_reaches_every_worker_and_no_request_fails(
    sealed: SealedModel, sealed_next: SealedModel, tmp_path: Path
) -> None:
    with serving(sealed, folder=tmp_path, workers=2) as service, closing(database_of(service)) as database:
        wait_until(lambda: history(database, "fraud", 1), "the first champion is in the ledger")
        with load(service.port, keep_alive=6, reconnecting=2, row=FRAUD_ROW) as clients:
            canary(database, sealed_next, steps=(0.5, 1.0))
            wait_until(
                lambda: {answer["version"] for client in clients for answer in client.answers[-9:]} == {"1", "2"},
                "both versions answer",
            )
            rollouts.roll_back(database, "fraud", ADA)
            wait_until(
                lambda: {answer["version"] for client in clients for answer in client.answers[-9:]} == {"1"},
                "only the champion answers",
            )
        assert failures_of(clients) == []


@pytest.mark.parametrize("gone", ("stopped", "killed"))
def test_without_a_steward_the_canary_answers_no_longer_than_its_lease(
    sealed: SealedModel, sealed_next: SealedModel, tmp_path: Path, gone: str
) -> None:
    """A steward that hangs, or whose host is cut off from the database: here it is suspended, or its database away."""
    with serving(sealed, folder=tmp_path) as service, closing(database_of(service)) as database:
        wait_until(lambda: history(database, "fraud", 1), "the first champion is in the ledger")
        canary(database, sealed_next, steps=(0.5, 1.0))
        versions = lambda: {service.post(FRAUD_ROW).json()["version"] for _ in range(20)}  # noqa: E731
        wait_until(lambda: versions() == {"1", "2"}, "both versions answer")
        steward = service.steward()
        assert steward is not None
        if gone == "stopped":
            steward.suspend()
            wait_until(lambda: versions() == {"1"}, "the lease has run out", 30)
            steward.resume()
        else:
            steward.kill()
        wait_until(lambda: versions() == {"1", "2"}, "the lease is renewed, by the steward or by its successor", 30)
