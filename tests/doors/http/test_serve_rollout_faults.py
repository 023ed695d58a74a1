"""A rollout while things die: stewards at every step, and the database of two hosts for longer than a lease."""

import shutil
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from test_serve_rollout import ADA, QUICK, canary, stage

from inservice import database_of
from load import failures_of, load
from scoreline.operations.governed import arm_of
from scoreline.operations.rollouts import roll_back, serve_arm
from scoreline.records.ledger import heads, history
from service import FRAUD_ROW, SealedModel, Service, serving, wait_until

CUT_S = 60  # how long the database of two hosts is gone


def test_a_steward_killed_again_and_again_takes_each_step_once(
    sealed: SealedModel, sealed_next: SealedModel, tmp_path: Path
) -> None:
    """Killed whenever an entry was written, and at other moments."""
    killed: list[int] = []
    over = threading.Event()
    with serving(sealed, folder=tmp_path, workers=2, **QUICK) as service, closing(database_of(service)) as database:
        wait_until(lambda: heads(database), "the first champion is in the ledger")

        def kill_stewards() -> None:
            seen = 1
            while not over.is_set():
                found = wait_until(lambda seen=seen: heads(database)["fraud"] > seen or over.is_set(), "a step", 60)
                seen = heads(database)["fraud"]
                steward = service.steward()
                if found and steward and len(killed) < 12:
                    steward.kill()
                    killed.append(steward.pid)
                    wait_until(lambda: service.steward() or over.is_set(), "its successor runs", 60)

        killer = threading.Thread(target=kill_stewards)
        with load(service.port, keep_alive=4, row=FRAUD_ROW) as clients:
            killer.start()
            canary(database, sealed_next)
            wait_until(lambda: stage(database).champion.version == "2", "it is promoted", 120)
            over.set()
            killer.join()
        assert failures_of(clients) == []
        entries = list(reversed(history(database, "fraud", 99)))
        assert [entry.action for entry in entries] == ["seed", "canary", "advance", "advance", "promote"]
        assert [entry.seq for entry in entries] == [1, 2, 3, 4, 5]
        assert len(killed) >= 3
        wait_until(lambda: service.get("/models/fraud").json()["version"] == "2", "it answers as champion")
        assert service.stop() == 0
        answered = sorted(answer["prediction_id"] for client in clients for answer in client.answers)
        assert sorted(service.recorded_ids()) == answered, "windows and decisions are shipped together, once"


def test_hosts_cut_off_from_the_database_keep_no_canary_beyond_their_lease(
    sealed: SealedModel, sealed_next: SealedModel, postgres: Any, tmp_path: Path
) -> None:
    shared = {"SCORELINE_RECORDS__DATABASE": postgres.new_schema(), "SCORELINE_RECORDS__ENTITY_KEY": "k" * 32}
    for model in (sealed, sealed_next):
        shutil.copytree(model.folder, tmp_path / "versions" / model.folder.name)
    shared |= {"SCORELINE_REGISTRY__FOLDER": str(tmp_path / "versions")}
    how: dict[str, Any] = {"refs": ("folder:/fraud/1",), **shared}

    def versions(service: Service) -> set[str]:
        return {service.post(FRAUD_ROW).json()["version"] for _ in range(20)}

    with (
        serving(sealed, folder=tmp_path / "a", **how) as one,
        serving(sealed, folder=tmp_path / "b", **how) as other,
        closing(database_of(one)) as database,
    ):
        hosts = one, other
        wait_until(lambda: heads(database), "the first champion is in the ledger")
        canary(database, sealed_next, ref="folder:/fraud/2", steps=(0.5, 1.0))
        for host in hosts:
            wait_until(lambda host=host: versions(host) == {"1", "2"}, "both versions answer on each host")
        postgres.stop()
        try:
            cut_s = time.monotonic()
            for host in hosts:
                wait_until(lambda host=host: versions(host) == {"1"}, "the champion alone answers", 15)
            assert time.monotonic() - cut_s < 15
        finally:
            postgres.start()
        for host in hosts:
            wait_until(lambda host=host: versions(host) == {"1", "2"}, "the canary goes on", 30)
        with load(one.port, keep_alive=2, row=FRAUD_ROW) as clients:
            postgres.stop()
            try:
                cut_s = time.monotonic()
                for host in hosts:
                    wait_until(lambda host=host: versions(host) == {"1"}, "the champion alone answers", 15)
                while time.monotonic() - cut_s < CUT_S:
                    assert [versions(host) for host in hosts] == [{"1"}, {"1"}]
                    time.sleep(0.5)
            finally:
                postgres.start()
        assert failures_of(clients) == []
        wait_until(lambda: _rolled_back(database), "it is rolled back as soon as the database is there", 30)
        time.sleep(1)
        assert [versions(host) for host in hosts] == [{"1"}, {"1"}]
        assert [entry.action for entry in history(database, "fraud", 9)] == ["roll_back", "canary", "seed"]
        with serving(sealed, folder=tmp_path / "c", **how) as third:
            assert versions(third) == {"1"}
        assert one.stop() == 0
        answered = {answer["prediction_id"] for client in clients for answer in client.answers}
        kept = one.recorded_ids()
        assert answered <= set(kept) and len(kept) == len(set(kept)), "a minute costs lag, and no decision"


def test_a_host_that_starts_without_the_database_begins_with_the_champion_it_had(
    sealed: SealedModel, sealed_next: SealedModel, postgres: Any, tmp_path: Path
) -> None:
    """The REF names version 1; the ledger's champion, which is cached, is version 2."""
    url = postgres.new_schema()
    how = {"SCORELINE_RECORDS__DATABASE": url, "SCORELINE_ACCESS__ANONYMOUS": "predict"}
    with serving(sealed, folder=tmp_path, **how) as service:
        with closing(database_of(service)) as database:
            wait_until(lambda: heads(database), "the first champion is in the ledger")
            digest = sealed_next.manifest.digest
            serve_arm(database, "fraud", arm_of(str(sealed_next.folder), "fraud", "2", digest), ADA)
        wait_until(lambda: service.post(FRAUD_ROW).json()["version"] == "2", "the next version answers")
    postgres.stop()
    try:
        with serving(sealed, folder=tmp_path, **how) as service:
            assert service.post(FRAUD_ROW).json()["version"] == "2"
            assert "version 2 of fraud answers, as was decided before" in service.log
    finally:
        postgres.start()


def _rolled_back(database: Any) -> bool:
    try:
        roll_back(database, "fraud", ADA)
    except Exception:
        return False
    return True
