"""What the controller does with challengers, in the ledger: each step once; what bars one is waited out."""

import logging
from collections.abc import Mapping
from pathlib import Path

import pytest

from models import sealed_bundle
from scoreline.control import challenge
from scoreline.control.challenge import AGAIN_S, Challenges
from scoreline.operations import admission
from scoreline.operations.desk import Desk
from scoreline.operations.measured import Measured
from scoreline.operations.rollouts import current
from scoreline.records.ledger import Entry, history
from scoreline.rollout.gates import ShadowEvidence
from scoreline.rollout.policy import Policy
from somedesk import ADA, SAFE, arm, bundles, desk

UNSURE = ShadowEvidence(rows=5000, pairs=4000, e_safe=99.0)
WORSE = ShadowEvidence(rows=5000, pairs=4000, e_worse=1e6)


class Clock:
    now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Versions 1 to 3, and 4, which takes fewer rows than the champion."""
    found = bundles(tmp_path_factory.mktemp("challenges"), "1", "2", "3")
    sealed_bundle(found, version="4", schema={"c": {"type": "number", "range": [0.0, 60.0]}})
    return found


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(challenge, "time", found)
    monkeypatch.setattr(admission, "measure", lambda *_: Measured(3000, 0.5, 1.0))
    return found


def begun(found: Desk, seen: Mapping[str, ShadowEvidence]) -> Challenges:
    for version in seen:
        found.shadow("m", f"folder:/m/{version}", ADA)
    return Challenges(found, "controller")


def look(found: Desk, challenges: Challenges, times: int = 1) -> list[Entry]:
    """What comes of looking: the entries of the controller, the oldest first."""
    for _ in range(times):
        challenges.look(current(found.database, "m"))
    return [each for each in reversed(history(found.database, "m", 99)) if each.who == "controller"]


def test_who_is_worse_leaves_with_what_it_has_shown(database_url: str, folder: Path) -> None:
    seen = {"2": UNSURE, "3": WORSE}
    with desk(database_url, folder, seen=seen) as found:
        (entry,) = look(found, begun(found, seen), times=3)
        assert (entry.action, entry.evidence) == ("end_shadow", {"shadow": {"rows": 1}})
        assert "WORSE on 4000 outcomes" in entry.why
        assert [each.arm.version for each in found.stage("m").challengers] == ["2"]


def test_who_is_proven_safe_becomes_the_canary_once(database_url: str, folder: Path) -> None:
    seen = {"2": SAFE, "3": SAFE}
    with desk(database_url, folder, seen=seen) as found:
        (entry,) = look(found, begun(found, seen), times=3)
        assert entry.action == "canary" and entry.evidence["shadow"]["e_safe"] == SAFE.e_safe
        stage = found.stage("m")
        assert stage.canary is not None and stage.canary.version == "2"
        assert [each.arm.version for each in stage.challengers] == ["2", "3"], "outcomes of it go on counting"


def test_nobody_moves_on_without_evidence(database_url: str, folder: Path) -> None:
    seen = {"2": UNSURE, "3": ShadowEvidence()}
    with desk(database_url, folder, seen=seen) as found:
        assert look(found, begun(found, seen), times=3) == []


def test_agreement_alone_waits_for_an_approval_before_the_first_request(database_url: str, folder: Path) -> None:
    seen = {"2": ShadowEvidence(rows=500)}
    with desk(database_url, folder, policy=Policy(shadow_gate="agreement"), seen=seen) as found:
        (entry,) = look(found, begun(found, seen), times=2)
        assert entry.action == "canary" and found.stage("m").share == 0.0


def test_what_bars_it_is_said_once_and_tried_again_after_a_while(
    database_url: str, folder: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    seen = {"4": SAFE, "3": SAFE}
    with desk(database_url, folder, seen=seen) as found, caplog.at_level(logging.WARNING):
        challenges = begun(found, seen)
        assert look(found, challenges) == []
        assert "version 4 stays in shadow" in caplog.text and "field 'c' goes down to" in caplog.text
        (entry,) = look(found, challenges)
        assert entry.action == "canary" and found.stage("m").canary == arm(folder, "3")
        caplog.clear()
        look(found, challenges, times=3)
        assert caplog.text == ""
        found.roll_back("m", ADA)
        clock.now_s += AGAIN_S + 1
        look(found, challenges)
        assert "version 4 stays in shadow" in caplog.text


def test_a_canary_that_turns_out_worse_is_rolled_back(database_url: str, folder: Path) -> None:
    """It was proven safe by the outcomes of then; to end its shadow alone would let it go on to champion."""
    seen = {"2": SAFE}
    with desk(database_url, folder, seen=seen) as found:
        challenges = begun(found, seen)
        assert [each.action for each in look(found, challenges)] == ["canary"]
        seen["2"] = WORSE
        _, entry = look(found, challenges, times=3)
        assert (entry.action, entry.evidence) == ("roll_back", {"shadow": {"rows": 1}})
        stage = found.stage("m")
        assert (stage.canary, stage.challengers, stage.champion) == (None, (), arm(folder, "1"))


def test_a_canary_that_is_gone_already_takes_no_champion_with_it(database_url: str, folder: Path) -> None:
    seen = {"2": SAFE}
    with desk(database_url, folder, seen=seen) as found:
        challenges = begun(found, seen)
        look(found, challenges)
        before = current(found.database, "m")
        found.promote("m", ADA)
        seen["2"] = WORSE
        challenges.look(before)
        assert found.stage("m").champion == arm(folder, "2"), "who promoted it was faster"
        assert len(look(found, challenges)) == 1
