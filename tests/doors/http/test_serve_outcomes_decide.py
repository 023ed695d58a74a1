"""From shadow to champion on a live service, by actual outcomes; and who is worse on them never leaves shadow."""

import random
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
from canary import another
from test_serve_rollout import QUICK, stage

from inservice import database_of
from scoreline.operations import rollouts
from scoreline.operations.governed import arm_of
from scoreline.operations.rollouts import By
from scoreline.records.database import Database
from scoreline.records.ledger import heads, history
from service import FRAUD_ROW, SealedModel, Service, seal_fraud, serving, wait_until

# Quick: wide limits, so that little traffic says something.
DELTA = {"SCORELINE_ROLLOUT__DELTA": "0.1", "SCORELINE_ROLLOUT__SCORE_RATIO": "50", "SCORELINE_ROLLOUT__R1": "50"}


def begin(database: Database, model: SealedModel) -> None:
    arm = arm_of(str(model.folder), "fraud", model.manifest.version, model.manifest.digest)
    rollouts.shadow(database, "fraud", arm, By("ada", "a new version"))


class World:
    """Customers whose claims are answered and, at once, found out about: fraud as the champion's scores say."""

    def __init__(self, service: Service) -> None:
        self._service, self._rng = service, random.Random(5)
        self._client = httpx.Client(timeout=20)

    def turn(self, n: int = 40) -> list[dict[str, Any]]:
        answers = []
        for _ in range(n):
            row = {**FRAUD_ROW, "amount": self._rng.uniform(1, 9000), "country": self._rng.choice(["at", "fr:sud"])}
            answers.append(self._client.post(self._service.url + "/predict", json=row).raise_for_status().json())
        told = [
            {"prediction_id": one["prediction_id"], "value": self._rng.random() < one["fraud_probability"]}
            for one in answers
            if one["version"] == "1"
        ]
        if told:
            self._client.post(self._service.admin_url + "/outcomes", json=told).raise_for_status()
        return answers


def test_a_version_as_good_on_outcomes_goes_from_shadow_to_champion_by_itself(
    sealed: SealedModel, tmp_path: Path
) -> None:
    as_good = another(sealed, "fraud-as-good", lambda manifest: manifest.update(version="2"))
    with serving(sealed, folder=tmp_path, **QUICK, **DELTA) as service, closing(database_of(service)) as database:
        wait_until(lambda: heads(database), "the first champion is in the ledger")
        begin(database, as_good)
        world, versions = World(service), set[str]()
        wait_until(
            lambda: versions.update(one["version"] for one in world.turn()) or stage(database).champion.version == "2",
            "it is the champion",
            120,
        )
        entries = list(reversed(history(database, "fraud", 99)))
        assert [entry.action for entry in entries] == ["seed", "shadow", "canary", "advance", "advance", "promote"]
        assert [entry.who for entry in entries[2:]] == ["controller"] * 4
        shown = entries[2].evidence["shadow"]
        assert max(shown["e_safe"], shown["e_better"]) >= 100 and shown["pairs"] >= 40
        assert versions == {"1", "2"}


def test_a_version_worse_on_outcomes_never_leaves_shadow(sealed: SealedModel, tmp_path: Path) -> None:
    worse = seal_fraud(sealed.folder.parent, "3", inverted=True)
    with serving(sealed, folder=tmp_path, **QUICK, **DELTA) as service, closing(database_of(service)) as database:
        wait_until(lambda: heads(database), "the first champion is in the ledger")
        begin(database, worse)
        world, versions = World(service), set[str]()
        wait_until(
            lambda: versions.update(one["version"] for one in world.turn()) or not stage(database).challengers,
            "its shadow has ended",
            120,
        )
        entry = history(database, "fraud", 1)[0]
        assert (entry.action, entry.who) == ("end_shadow", "controller")
        assert entry.evidence["shadow"]["claims"] == ["WORSE"]
        assert versions == {"1"}
