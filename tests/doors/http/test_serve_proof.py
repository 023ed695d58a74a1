"""What a rollout is for, on a live service whose controller decides by itself: harm is rolled back, silence is held."""

import http.client
import json
import random
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from canary import PROGRAM, Rollout, misbehaving
from test_serve_rollout import QUICK, canary, stage

import canaries
from inservice import database_of
from scoreline.records.database import Database
from scoreline.records.ledger import Entry, heads, history
from service import FRAUD_ROW, SealedModel, Service, serving, wait_until

N_CLIENTS = 4


@contextmanager
def asking(port: int, bad: float, rate: float) -> Iterator[list[tuple[int, str]]]:
    """Clients that ask without pause, a part of them with rows that the canary does not stand; status and version."""
    over, answers = threading.Event(), list[tuple[int, str]]()

    def ask(number: int) -> None:
        rng, connection = random.Random(number), http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        while not over.is_set():
            amount = bad if rng.random() < rate else rng.uniform(1, 900)
            try:
                connection.request("POST", "/predict", json.dumps({**FRAUD_ROW, "amount": amount}))
                response = connection.getresponse()
                body = response.read()
            except (OSError, http.client.HTTPException):  # a worker died with it
                answers.append((0, ""))
                connection.close()
                continue
            answers.append((response.status, json.loads(body).get("version", "")))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(N_CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        over.set()
        for thread in threads:
            thread.join()


@contextmanager
def begun(sealed: SealedModel, folder: Path, **environment: str) -> Iterator[tuple[Service, Database]]:
    quick = {**QUICK, **environment}
    with (
        serving(sealed, folder=folder, workers=2, program=PROGRAM, **quick) as service,
        closing(database_of(service)) as database,
    ):
        wait_until(lambda: heads(database), "the first champion is in the ledger")
        yield service, database


def misbehaves(service: Service, database: Database, sealed: SealedModel, **policy: Any) -> None:
    """A canary with an engine that only this program knows: a trial, which is a process of its own, would refuse it."""
    bad = misbehaving(sealed)
    Rollout(service).install(bad)
    canary(database, bad, **policy)


def ended(database: Database) -> Entry:
    """The last entry, once there is no canary any more."""
    wait_until(lambda: stage(database).canary is None, "the rollout is over", 90)
    return history(database, "fraud", 1)[0]


def test_a_version_that_errs_on_two_requests_in_a_hundred_is_rolled_back_at_one_percent(
    sealed: SealedModel, sealed_next: SealedModel, tmp_path: Path
) -> None:
    with begun(sealed, tmp_path, SCORELINE_ROLLOUT__MIN_STEP_S="600") as (service, database):
        with asking(service.port, canaries.RAISES, 0.02) as answers:
            misbehaves(service, database, sealed_next, steps=(0.01, 1.0))
            entry = ended(database)
        assert (entry.action, entry.who, entry.evidence["leading"]) == ("roll_back", "controller", "errors")
        assert entry.evidence["e_rollback"] >= 100
        assert entry.evidence["units"] < 1000, "the canary had answered few by then"
        assert {status for status, _ in answers} == {200}, "no request fails because of a canary"


def test_a_version_that_is_too_slow_is_rolled_back_on_latency(
    sealed: SealedModel, sealed_next: SealedModel, tmp_path: Path
) -> None:
    with begun(sealed, tmp_path, SCORELINE_ROLLOUT__MIN_STEP_S="600") as (service, database):
        with asking(service.port, canaries.SLOW, 0.1) as answers:
            misbehaves(service, database, sealed_next, steps=(0.2, 1.0))
            entry = ended(database)
        assert (entry.action, entry.evidence["leading"]) == ("roll_back", "overruns")
        assert {status for status, _ in answers} == {200}


def test_a_version_that_ends_its_workers_is_rolled_back_at_once(
    sealed: SealedModel, sealed_next: SealedModel, tmp_path: Path
) -> None:
    with begun(sealed, tmp_path, SCORELINE_ROLLOUT__MIN_STEP_S="600") as (service, database):
        with asking(service.port, canaries.CRASHES, 0.05) as answers:
            misbehaves(service, database, sealed_next, steps=(0.2, 1.0))
            entry = ended(database)
            wait_until(lambda: {version for _, version in answers[-200:]} == {"1"}, "the champion answers alone", 30)
        assert (entry.action, entry.who) == ("roll_back", "controller")
        assert "workers died in the canary and none in the champion" in entry.why
        assert entry.evidence["leading"] == "deaths"
        actions = [each.action for each in history(database, "fraud", 9)]
        assert [action for action in actions if action != "hold"] == ["roll_back", "canary", "seed"]
        assert 5 <= entry.evidence["deaths_canary"] <= 15, "at a share of 20 % four may be chance"
        assert {status for status, _ in answers} <= {200, 0}


def test_silence_holds_and_does_not_pass(sealed: SealedModel, sealed_next: SealedModel, tmp_path: Path) -> None:
    with begun(sealed, tmp_path, SCORELINE_ROLLOUT__SILENCE_S="3") as (service, database):
        canary(database, sealed_next)
        wait_until(lambda: stage(database).held_for == "silence", "it is held", 30)
        assert (stage(database).share, history(database, "fraud", 1)[0].action) == (0.1, "hold")
        with asking(service.port, 1.0, 0.0):
            wait_until(lambda: stage(database).champion.version == "2", "it goes on with the traffic, by itself", 60)
        actions = [entry.action for entry in reversed(history(database, "fraud", 99))]
        assert actions[:3] == ["seed", "canary", "hold"]
        assert actions[3] in ("resume", "advance")
