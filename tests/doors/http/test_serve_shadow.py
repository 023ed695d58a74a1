"""A challenger in shadow on a live service: it scores everything once, answers nothing, and disturbs nobody."""

import time
import uuid
from contextlib import closing
from pathlib import Path

import numpy as np
import psutil
import pytest
from canary import PROGRAM, Rollout, misbehaving
from sqlalchemy import select

import canaries
from inservice import database_of
from load import failures_of, load
from scoreline.operations import rollouts
from scoreline.operations.governed import arm_of
from scoreline.operations.rollouts import By
from scoreline.operations.state import read_state
from scoreline.records.database import Database
from scoreline.records.ledger import heads, history
from scoreline.records.rollout_tables import SHADOW_SCORES
from scoreline.records.shadowed import Progress, numbers_of, progress
from service import FRAUD_ROW, SealedModel, Service, serving, wait_until

ADA = By("ada", "to see")


def begin(database: Database, model: SealedModel) -> None:
    manifest = model.manifest
    rollouts.shadow(database, "fraud", arm_of(str(model.folder), "fraud", manifest.version, manifest.digest), ADA)


def shadowed(database: Database, model: SealedModel) -> Progress:
    """How far the shadow of a version is that began with the ledger's second entry."""
    return progress(database, numbers_of(database, "fraud", model.manifest.digest, 2))


def shadow_process(service: Service) -> psutil.Process | None:
    found = [child for child in service.children() if child.nice() == 19]
    return found[0] if found else None


def in_shadow(service: Service) -> list[str]:
    return [each.version for each in read_state(service.state_dir).models["fraud"].challengers]


def test_every_decision_is_scored_once_however_often_the_shadow_dies(
    sealed: SealedModel, sealed_next: SealedModel, tmp_path: Path
) -> None:
    with (
        serving(sealed, folder=tmp_path, workers=2, SCORELINE_RECORDS__SEGMENT_BYTES="65536") as service,
        closing(database_of(service)) as database,
    ):
        wait_until(lambda: heads(database), "the first champion is in the ledger")
        begin(database, sealed_next)
        wait_until(lambda: in_shadow(service) == ["2"], "it is in shadow")
        with load(service.port, keep_alive=3, row={**FRAUD_ROW, "amount": 77.0}) as clients:
            for _ in range(4):
                time.sleep(1)
                if found := shadow_process(service):
                    found.kill()
        assert failures_of(clients) == []
        answered = {answer["prediction_id"] for client in clients for answer in client.answers}
        wait_until(lambda: shadowed(database, sealed_next).scored >= len(answered), "all are scored", 60)
        with database.reading() as connection:
            rows = connection.execute(select(SHADOW_SCORES)).all()
        assert {str(uuid.UUID(bytes=bytes(row.id))) for row in rows} == answered
        (own,) = sealed_next.decide({**FRAUD_ROW, "amount": 77.0})
        assert {np.frombuffer(row.scores, "<f8")[0] for row in rows} == {own.scores[0]}
        assert {answer["version"] for client in clients for answer in client.answers} == {"1"}
        spool = service.state_dir / "spool"
        wait_until(lambda: len(list(spool.iterdir())) <= 4, "segments that all have read are deleted", 60)


@pytest.mark.parametrize(
    ("wish", "kind"),
    [
        (canaries.CRASHES, "crashed"),
        (canaries.HANGS, "hung"),
        (canaries.RAISES, "raised"),
    ],
)
def test_a_challenger_that_fails_is_given_up_and_disturbs_nobody(
    wish: float, kind: str, sealed: SealedModel, sealed_next: SealedModel, tmp_path: Path
) -> None:
    bad = misbehaving(sealed_next)
    limit_s = "1" if kind == "hung" else "60"
    settings = {"SCORELINE_RECORDS__SEGMENT_BYTES": "65536", "CANARIES_LIMIT_S": limit_s}
    with (
        serving(sealed, folder=tmp_path, workers=2, program=PROGRAM, **settings) as service,
        closing(database_of(service)) as database,
    ):
        wait_until(lambda: heads(database), "the first champion is in the ledger")
        Rollout(service).install(bad)
        workers = {worker.pid for worker in service.workers()}
        begin(database, bad)
        wait_until(lambda: in_shadow(service) == ["2"], "it is in shadow")
        with load(service.port, keep_alive=2, row=FRAUD_ROW) as clients:
            wait_until(lambda: shadowed(database, bad).scored > 100, "it is scored")
            assert service.post({**FRAUD_ROW, "amount": wish}).json()["version"] == "1"
            wait_until(lambda: shadowed(database, bad).given_up, "it is given up", 60)
            before = len(clients[0].answers)
            wait_until(lambda: len(clients[0].answers) > before + 100, "answers go on")
        assert failures_of(clients) == []
        assert shadowed(database, bad).faults == {kind: 2}
        assert {worker.pid for worker in service.workers()} == workers
        wait_until(lambda: in_shadow(service) == [], "the controller has ended its shadow", 60)
        entry = history(database, "fraud", 1)[0]
        assert (entry.action, entry.why) == ("end_shadow", "its engine failed again and again in shadow")
        assert entry.evidence["shadow"]["given_up"]
        scored = shadowed(database, bad).scored
        wait_until(lambda: shadow_process(service), "its process goes on, without it")
        spool = service.state_dir / "spool"
        wait_until(lambda: len(list(spool.iterdir())) <= 4, "nothing waits for it any more", 60)
        assert service.stop() == 0
        assert shadowed(database, bad).scored == scored


def test_a_service_that_ends_while_a_challenger_scores_blames_it_for_nothing(
    sealed: SealedModel, sealed_next: SealedModel, tmp_path: Path
) -> None:
    bad = misbehaving(sealed_next)
    for number in range(3):
        with (
            serving(sealed, folder=tmp_path, program=PROGRAM) as service,
            closing(database_of(service)) as database,
        ):
            if not number:
                wait_until(lambda: heads(database), "the first champion is in the ledger")
                Rollout(service).install(bad)
                begin(database, bad)
                wait_until(lambda: in_shadow(service) == ["2"], "it is in shadow")
                service.post({**FRAUD_ROW, "amount": canaries.HANGS})
            wait_until((service.state_dir / "shadow" / "mark.json").exists, "it scores")
            assert service.stop() == 0
            assert shadowed(database, bad) == Progress(0, 0, {}, False)
