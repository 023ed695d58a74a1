"""What people ask for: the gates, each with its reasons, and what the ledger says then, on both databases."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models import edit, plain_manifest, sealed_bundle
from scoreline.cli.told import told_status
from scoreline.core.errors import NotFound, RolloutRefused
from scoreline.core.policy import ThresholdPolicy
from scoreline.operations import admission, outlook
from scoreline.operations.admission import HIGH, frozen
from scoreline.operations.desk import Desk
from scoreline.operations.measured import Measured
from scoreline.operations.rollouts import By, Frozen, promote
from scoreline.records.ledger import history
from scoreline.records.recent import Recent
from scoreline.rollout.gates import ShadowEvidence
from scoreline.rollout.policy import Policy
from scoreline.rollout.stages import Stage
from somedesk import ADA, BOB, MODEL_NS, SAFE, arm, bundles, decisions, desk, ship

WORSE = ShadowEvidence(rows=5000, pairs=4000, e_worse=1e6)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Versions 1 to 5; version 4 lacks a field, version 5 says who sealed it."""
    found = bundles(tmp_path_factory.mktemp("desk"), "1", "2", "3", "5")
    sealed_bundle(found, version="4", schema={"c": {"type": "number", "range": [0.0, 60.0]}})
    sealed_bundle(found, name="other")
    edit(found / "m-5", "manifest.json", lambda manifest: manifest["lineage"].update(sealed_by="ada"))
    return found


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every version takes 1 ms: measuring has tests of its own."""
    monkeypatch.setattr(admission, "measure", lambda *_: Measured(3000, 0.5, 1.0))


def stage(found: Desk) -> Stage:
    return found.stage("m")


def test_a_version_goes_through_shadow_and_canary_to_champion_and_back(database_url: str, folder: Path) -> None:
    with desk(database_url, folder, seen={"2": SAFE}) as found:
        assert found.shadow("m", "folder:/m/2", ADA).evidence == {"barred": ""}
        entry = found.canary("m", "2", BOB)
        assert (entry.who, entry.action, entry.seq) == ("bob", "canary", 3)
        assert entry.evidence["p99_ms"] == 1.0 and entry.evidence["shadow"]["e_safe"] == SAFE.e_safe
        assert (stage(found).canary, stage(found).share) == (arm(folder, "2"), 0.01)
        assert found.advance("m", ADA).evidence["e_rollback_limit"] == 100
        found.pause("m", By("ada", "lunch"))
        assert (stage(found).state, stage(found).why) == ("paused", "lunch")
        found.resume("m", ADA)
        found.promote("m", ADA)
        assert stage(found).champion == arm(folder, "2")
        with pytest.raises(RolloutRefused, match="there is no canary to roll back"):
            found.roll_back("m", ADA)
        found.take_back("m", "2", ADA)
        assert stage(found).champion == arm(folder, "1")
        actions = [each.action for each in reversed(history(found.database, "m", 99))]
        assert actions == [
            "seed", "shadow", "canary", "advance", "pause", "resume", "promote", "roll_back",
        ]  # fmt: skip


def test_each_refusal_names_all_its_reasons_and_writes_nothing(
    database_url: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "measure", lambda *_: Measured(3000, 100.0, 155.5))
    with desk(database_url, folder, seen={"4": WORSE}) as found:
        barred = found.shadow("m", "folder:/m/4", ADA).evidence["barred"]
        assert "field 'c' goes down to" in barred
        with pytest.raises(RolloutRefused) as refused:
            found.canary("m", "4", ADA)
        said = str(refused.value)
        for reason in (
            barred,
            "p99 of 155.5 ms is over the model's 140 ms (200 ms less 50 for the network and 10 for features)",
            "is WORSE on outcomes: e-value 1e+06 reaches 100",
        ):
            assert reason in said
        with pytest.raises(RolloutRefused) as refused:
            found.canary("m", "4", ADA, "I want to")
        said = str(refused.value)
        assert barred in said and "155.5" in said and "WORSE" not in said
        assert [each.action for each in history(found.database, "m", 1)] == ["shadow"]


def test_the_gate_of_shadow_is_passed_by_evidence_or_for_a_reason(database_url: str, folder: Path) -> None:
    with desk(database_url, folder) as found:
        for wanted in ("folder:/m/2", str(folder / "m-2")):
            with pytest.raises(RolloutRefused, match=r"not proven SAFE within 0\.005: e-value 1 of 100 after 0 outc"):
                found.canary("m", wanted, ADA)
        entry = found.canary("m", "folder:/m/2", By("ada", "it is Friday"), "a fix for the night")
        assert entry.why == "it is Friday; forced: a fix for the night; slow and scores are not watched"
        assert entry.evidence["forced"] is True and entry.evidence["shadow"] is None


def test_agreement_asks_for_rows_and_then_an_approval(database_url: str, folder: Path) -> None:
    policy = Policy(shadow_gate="agreement")
    few, many = ShadowEvidence(rows=499), ShadowEvidence(rows=500)
    with desk(database_url, folder, policy=policy, seen={"2": few, "3": many}) as found:
        found.shadow("m", "folder:/m/2", ADA)
        found.shadow("m", "folder:/m/3", ADA)
        with pytest.raises(RolloutRefused, match="on 499 of 500 rows"):
            found.canary("m", "2", ADA)
        found.canary("m", "3", ADA)
        assert (stage(found).share, stage(found).held_for) == (0.0, "approval")
        with pytest.raises(RolloutRefused, match="waits for approval before its first step; `scoreline rollout appr"):
            found.advance("m", ADA)
        with pytest.raises(RolloutRefused, match="ada began this rollout, and nothing here says who sealed version 3"):
            found.approve("m", ADA)
        found.approve("m", BOB)
        found.advance("m", ADA)
        assert (stage(found).share, stage(found).approvals) == (0.01, ("bob",))


def test_who_sealed_a_version_does_not_approve_it(database_url: str, folder: Path) -> None:
    with desk(database_url, folder, policy=Policy(shadow_gate="none")) as found:
        found.canary("m", "folder:/m/5", BOB)
        with pytest.raises(RolloutRefused, match="ada sealed version 5"):
            found.approve("m", ADA)
        found.approve("m", BOB)
        assert stage(found).approvals == ("bob",)


def test_a_challenger_is_promoted_only_through_the_gates_of_a_canary(database_url: str, folder: Path) -> None:
    with desk(database_url, folder, seen={"3": SAFE, "4": SAFE}) as found:
        for version in ("2", "3", "4"):
            found.shadow("m", f"folder:/m/{version}", ADA)
        with pytest.raises(RolloutRefused, match="not proven SAFE"):
            found.promote("m", ADA, "2")
        with pytest.raises(RolloutRefused, match="field 'c' goes down to"):
            found.promote("m", ADA, "4", "whatever")
        with pytest.raises(RolloutRefused, match="version 7 is not in shadow; in shadow are 2, 3, 4"):
            found.promote("m", ADA, "7")
        with pytest.raises(RolloutRefused, match="there is no canary"):
            found.promote("m", ADA)
        assert found.promote("m", ADA, "3").evidence["shadow"]["e_safe"] == SAFE.e_safe
        assert stage(found).champion.version == "3"


def test_the_end_of_a_shadow_keeps_what_was_shown(database_url: str, folder: Path) -> None:
    with desk(database_url, folder) as found:
        found.shadow("m", "folder:/m/2", ADA)
        assert found.end_shadow("m", "2", By("ada", "enough")).evidence == {"shadow": {"rows": 1}}
        assert stage(found).challengers == ()
        with pytest.raises(RolloutRefused, match="version 2 is not in shadow; none is in shadow"):
            found.end_shadow("m", "2", ADA)


def test_thresholds_are_frozen_when_a_canary_begins(database_url: str, folder: Path, tmp_path: Path) -> None:
    with desk(database_url, folder, policy=Policy(shadow_gate="none")) as found:
        ship(found.database, tmp_path, decisions(folder, 199))
        entry = found.canary("m", "folder:/m/2", ADA)
        assert (stage(found).slow_ns, stage(found).high_score) == (0, None)
        said = "slow and scores are not watched: the database has 199 of the 200 decisions of version 1 as champion"
        assert entry.evidence["unwatched"].startswith(said)
        assert entry.why == "to see; slow and scores are not watched"
        status = outlook.status(found, "m")
        assert any(line.strip().startswith(said) for line in told_status(status))
        found.roll_back("m", ADA)
        ship(found.database, tmp_path, decisions(folder, 101))
        seen = found.recent("m", stage(found).champion)
        assert len(seen) == 300
        entry = found.canary("m", "folder:/m/2", ADA)
        slow_ns = int(np.quantile(seen.model_ns, 0.99, method="higher"))
        assert (stage(found).slow_ns, entry.evidence["slow_ns"]) == (slow_ns, slow_ns) and slow_ns > MODEL_NS
        assert (entry.evidence["unwatched"], entry.why) == ("", "to see")
        high = stage(found).high_score
        assert high is not None and (seen.scores > high).mean() == pytest.approx(1 - HIGH, abs=0.1)


@pytest.mark.parametrize(
    ("thresholds", "scores", "expected"),
    [
        ((0.5, 0.9), np.linspace(0, 1, 1000), 0.9),
        ((0.5, 0.9), np.linspace(0, 0.905, 1000), 0.8145),
        ((), np.linspace(0, 1, 1001), 0.9),
        ((), np.full(1000, 0.3), None),
        ((), np.r_[np.full(995, 0.3), np.full(5, 0.4)], None),
    ],
)
def test_high_scores_are_those_of_the_highest_outcome_or_of_the_highest_tenth(
    thresholds: tuple[float, ...], scores: Any, expected: float | None
) -> None:
    outcomes = tuple(f"o{place}" for place in range(len(thresholds) + 1)) if thresholds else ()
    manifest = plain_manifest(policy=ThresholdPolicy(outcomes, thresholds))
    found = frozen(Recent(scores, np.ones(len(scores)), scores, 1, 0), manifest)
    assert found.slow_ns == 1
    assert found.high_score == (None if expected is None else pytest.approx(expected, abs=2e-3))


def test_a_model_of_several_classes_has_no_high_score() -> None:

    scores = np.linspace(0, 1, 1000)
    manifest = plain_manifest(link="softmax", outputs=2, classes=("a", "b"))
    assert frozen(Recent(scores, scores + 5, scores, 1, 0), manifest) == Frozen(5, None)


def test_what_cannot_be_is_refused_before_anything_is_measured(
    database_url: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "measure", None)
    with desk(database_url, folder) as found:
        with pytest.raises(RolloutRefused, match="version 1 is the champion"):
            found.canary("m", "folder:/m/1", ADA)
        with pytest.raises(NotFound, match="no version '9'"):
            found.canary("m", "folder:/m/9", ADA)
        with pytest.raises(NotFound, match="serves 'n' yet"):
            found.canary("n", "folder:/m/2", ADA)
        with pytest.raises(RolloutRefused, match="is a version of 'other', not of 'm'"):
            found.shadow("m", str(folder / "other-1"), ADA)
        assert [each.action for each in history(found.database, "m", 9)] == ["seed"]


def test_gates_hold_against_the_champion_they_were_asked_for(
    database_url: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with desk(database_url, folder, seen={"2": SAFE, "3": SAFE}) as found:
        for version in ("2", "3"):
            found.shadow("m", f"folder:/m/{version}", ADA)

        def meanwhile(*_: object) -> Measured:
            promote(found.database, "m", BOB, arm(folder, "3").digest)
            return Measured(3000, 0.5, 1.0)

        monkeypatch.setattr(admission, "measure", meanwhile)
        with pytest.raises(RolloutRefused, match="version 3 has become the champion meanwhile; ask again"):
            found.canary("m", "2", ADA)
        monkeypatch.setattr(admission, "measure", lambda *_: Measured(3000, 0.5, 1.0))
        assert found.canary("m", "2", ADA).action == "canary"


@pytest.mark.parametrize("needs", ("first", "last"))
def test_nobody_promotes_past_an_approval(database_url: str, folder: Path, needs: str) -> None:
    policy = Policy(shadow_gate="none", needs_approval=needs)
    with desk(database_url, folder, policy=policy) as found:
        found.shadow("m", "folder:/m/2", ADA)
        with pytest.raises(RolloutRefused, match="somebody has to approve it, as a canary"):
            found.promote("m", ADA, "2")
        found.canary("m", "2", ADA)
        with pytest.raises(RolloutRefused, match=f"waits for approval before its {needs} step; `scoreline rollout ap"):
            found.promote("m", ADA)
        found.approve("m", BOB)
        found.promote("m", ADA)
        assert stage(found).champion.version == "2"


def test_who_and_why_are_texts_that_every_database_keeps(database_url: str, folder: Path) -> None:
    with desk(database_url, folder) as found:
        entry = found.shadow("m", "folder:/m/2", By("a\udcffa", "no\0thing"))
        assert (entry.who, entry.why) == ("a?a", "no\ufffdthing")
        assert [(each.who, each.why) for each in history(found.database, "m", 1)] == [(entry.who, entry.why)]
        with pytest.raises(RolloutRefused, match="has to be UTF-8"):
            found.shadow("m", "bundles/\udcff", ADA)
