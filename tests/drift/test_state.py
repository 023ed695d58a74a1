"""The evidence about a version: what alarms, what it is explained by, and what is never evidence."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from somereference import FIELDS, manifest_of, profile_of, reference_of, some_fold, some_rows

from scoreline.core.errors import BundleError
from scoreline.core.link import LINKS
from scoreline.core.manifest import Manifest
from scoreline.drift.beside import beside, expected_loss, moved_scores
from scoreline.drift.fold import Fold
from scoreline.drift.reference import MISSING, Reference
from scoreline.drift.rules import Rules
from scoreline.drift.spread import Spread
from scoreline.drift.state import State
from scoreline.drift.words import changed, leading
from scoreline.evidence.tolerance import Tolerance

FOLD = some_fold()
RULES = Rules(Tolerance())


def ticks(fold: Fold, seed: int, n_ticks: int, per_tick: int, shift: float = 0.0, **change: Any) -> State:
    """The state after so many ticks; `change` sets a field, by its name, in every row."""
    rng, state = np.random.default_rng(seed), State.new(fold.reference)
    names = [field.name for field in FIELDS]
    for _ in range(n_ticks):
        values, scores = some_rows(rng, per_tick, shift)
        for name, value in change.items():
            values[:, names.index(name)] = value
        state = state.tick(fold.reference, fold(values, scores))
    return state


def test_traffic_like_the_reference_is_no_evidence() -> None:
    state = ticks(FOLD, 5, 300, 20)
    assert state.ticks == 300
    assert state.log_evidence(FOLD.reference) < math.log(100)


@pytest.mark.parametrize(
    ("change", "subject", "what", "direction"),
    (
        ({"amount": np.nan}, "amount", MISSING, "up"),
        ({"age": 89.0}, "age", None, "up"),
        ({"age": 18.0}, "age", None, "down"),
        ({"repeat": 1.0}, "repeat", 0.0, "up"),
        ({"country": 3.0}, "country", "uk", "up"),
    ),
)
def test_a_field_that_changes_is_named_with_its_direction(
    change: dict[str, float], subject: str, what: Any, direction: str
) -> None:
    state = ticks(FOLD, 6, 10, 20, **change)
    assert state.log_evidence(FOLD.reference) > RULES.log_alarm_at
    found = state.explained(FOLD.reference, RULES.log_alarm_at)
    lead = found["leading"]
    assert (lead["subject"], lead["kind"], lead["direction"]) == (subject, "field", direction)
    assert what is None or lead["what"] == what
    assert found["evidence"] >= found["alarm_at"] == pytest.approx(RULES.alarm_at)
    assert [one["subject"] for one in found["subjects"]] == [subject]
    assert leading(found).startswith(f"{subject} is ")


def test_scores_that_move_are_named_first_and_fields_by_their_effect_on_them() -> None:
    state = ticks(FOLD, 7, 20, 20, shift=1.5, repeat=1.0)
    found = state.explained(FOLD.reference, RULES.log_alarm_at)
    named = [one["subject"] for one in found["subjects"]]
    assert named[0] == "risk" and set(named) == {"risk", "amount", "repeat"}
    effects = {one["subject"]: one["effect"] for one in found["subjects"]}
    assert effects["risk"] > effects["amount"] > 0.02 > abs(effects["repeat"])
    assert named == sorted(named, key=lambda name: -abs(effects[name]))


def test_the_effect_is_what_the_fields_bins_alone_do_to_the_score() -> None:
    rng = np.random.default_rng(8)
    reference = FOLD.reference
    values, scores = some_rows(rng, 4000, 1.0)
    counts = FOLD(values, scores)
    by_name = dict(zip(("risk", *(field.name for field in FIELDS)), moved_scores(reference, counts), strict=True))
    assert by_name["risk"] == pytest.approx(scores.mean() - reference.scores[0].mean)
    assert 0.4 * by_name["risk"] < by_name["amount"] < by_name["risk"]  # its bins are coarse above the last decile
    assert abs(by_name["age"]) < 0.005 > abs(by_name["country"])


def test_degraded_or_not_nothing_that_is_not_counted_is_evidence_and_silence_holds() -> None:
    state = ticks(FOLD, 9, 30, 10, shift=0.8)
    after = state.tick(FOLD.reference, np.zeros(FOLD.reference.layout.size))
    assert after is state


@given(st.integers(0, 10**6), st.floats(-1.0, 1.0))
def test_a_share_within_its_limits_is_never_evidence(seed: int, shift: float) -> None:
    reference = FOLD.reference
    counts = FOLD(*some_rows(np.random.default_rng(seed), 100, shift))
    by_share = reference.log_e(counts)[: len(reference.shares) * 10].reshape(-1, 10)
    low, high = reference.share_limits
    for share, log_e, least, most in zip(reference.shares, by_share, low, high, strict=True):
        part = counts[share.hits_at] / counts[share.rows_at]
        assert part > most or (log_e[:5] <= 1e-9).all()
        assert part < least or (log_e[5:] <= 1e-9).all()


def test_after_an_alarm_evidence_begins_anew_and_the_rows_it_is_explained_by_stay() -> None:
    state = ticks(FOLD, 10, 10, 20, shift=2.0)
    anew = state.begun_anew(FOLD.reference)
    assert anew.ticks == 0 and anew.log_evidence(FOLD.reference) == -math.inf
    assert (anew.recent == state.recent).all()


def test_it_comes_back_as_it_was_kept() -> None:
    for state in (ticks(FOLD, 11, 10, 20), State.new(FOLD.reference)):
        found = State.from_bytes(state.to_bytes(), FOLD.reference, state.ticks)
        assert (found.logs == state.logs).all() and (found.recent == state.recent).all()
        assert found.ticks == state.ticks
        assert len(state.to_bytes()) < 8 * (len(state.logs) + len(state.recent)) + 100


def test_beside_the_reference_the_same_rows_are_no_distance_and_others_are() -> None:
    reference = FOLD.reference
    same = beside(reference, FOLD(*some_rows(np.random.default_rng(1), 5000)))
    assert all(one["psi"] == pytest.approx(0, abs=1e-9) for one in same)
    assert all(one["ks_at_least"] in (None, pytest.approx(0, abs=1e-9)) for one in same)
    values, scores = some_rows(np.random.default_rng(2), 5000, 1.0)
    found = dict(zip(("risk", *(field.name for field in FIELDS)), beside(reference, FOLD(values, scores)), strict=True))
    assert found["amount"]["psi"] > 0.5 > 0.1 > found["age"]["psi"]
    exact = max(
        abs(float((values[:, 0] <= x).sum() / np.isfinite(values[:, 0]).sum()) - at)
        for x, at in zip(reference.fields[0].labels, np.arange(1, 10) / 10, strict=True)
    )
    assert found["amount"]["ks_at_least"] == pytest.approx(exact, abs=0.01)
    assert found["amount"]["mean"] == pytest.approx(np.nanmean(values[:, 0]))
    assert found["amount"]["missing"] == pytest.approx(np.isnan(values[:, 0]).mean())
    assert found["risk"]["mean"] == pytest.approx(scores.mean())
    assert found["country"]["mean"] is None


def test_of_a_few_rows_nothing_is_told_and_of_a_sensitive_field_no_mean() -> None:
    few = beside(FOLD.reference, FOLD(*some_rows(np.random.default_rng(3), 19)))
    assert all(one["mean"] is one["psi"] is one["missing"] is None for one in few)
    fields = (replace(FIELDS[0], sensitive=True), *FIELDS[1:])
    reference = reference_of(*some_rows(np.random.default_rng(1), 500), manifest=manifest_of(fields))
    found = beside(reference, Fold(reference)(*some_rows(np.random.default_rng(2), 500)))[1]
    assert found["mean"] is found["reference_mean"] is None and found["psi"] is not None


def test_expected_losses_are_those_of_calibrated_scores() -> None:
    rng = np.random.default_rng(12)
    values, scores = some_rows(rng, 200_000, 1.0)
    outcomes = rng.random(len(scores)) < scores[:, 0]  # calibrated by making
    found = expected_loss(FOLD.reference, FOLD(values, scores))
    assert found is not None and "calibrated" in found["assumption"]
    assert found["brier"] == pytest.approx(((scores[:, 0] - outcomes) ** 2).mean(), abs=0.003)
    (rate,) = found["error_rates"]
    assert (rate["outcome"], rate["threshold"]) == ("decline", 0.5)
    assert rate["error_rate"] == pytest.approx(((scores[:, 0] >= 0.5) != outcomes).mean(), abs=0.003)
    number = reference_of(values[:500], scores[:500], manifest=manifest_of(link="identity"))
    assert expected_loss(number, Fold(number)(values, scores)) is None
    assert expected_loss(FOLD.reference, np.zeros(FOLD.reference.layout.size)) is None


def test_scores_that_are_no_probabilities_are_scaled_by_the_reference() -> None:
    rng = np.random.default_rng(13)
    values, scores = some_rows(rng, 3000)
    reference = reference_of(values, 1000 * scores - 500, manifest=manifest_of(link="identity"))
    scale = reference.outputs[0]
    assert (scale.least, scale.least + scale.width) == (1000 * scores.min() - 500, 1000 * scores.max() - 500)
    assert scale.scaled(np.array([-1e9, 1e9])).tolist() == [0.0, 1.0]
    fold = Fold(reference)
    quiet, moved = (
        State.new(reference).tick(reference, fold(*_scaled(some_rows(rng, 500, shift)))) for shift in (0, 1.5)
    )
    assert quiet.log_evidence(reference) < 5 < RULES.log_alarm_at < moved.log_evidence(reference)


def _scaled(rows: Any) -> Any:
    values, scores = rows
    return values, 1000 * scores - 500


def test_a_model_whose_score_never_changes_is_watched_all_the_same() -> None:
    values, _ = some_rows(np.random.default_rng(1), 500)
    reference = reference_of(values, np.full((500, 1), 7.0), manifest=manifest_of(link="identity"))
    fold = Fold(reference)
    assert fold(values, np.full((500, 1), 7.0))[reference.layout.at["log_e"]].tolist() == [0.0] * 24
    higher = State.new(reference).tick(reference, fold(values, np.full((500, 1), 8.0)))
    assert higher.log_evidence(reference) > RULES.log_alarm_at
    assert reference.rows_needed(RULES.log_alarm_at) > 0


def test_classes_are_watched_each() -> None:
    rng = np.random.default_rng(14)
    values, _ = some_rows(rng, 2000)
    scores = rng.dirichlet([2, 3, 4], 2000)
    manifest = manifest_of(link="softmax", classes=("low", "mid", "high"))
    reference = reference_of(values, scores, manifest=manifest)
    assert [each.name for each in reference.scores] == ["low", "mid", "high"]
    state = State.new(reference).tick(reference, Fold(reference)(values[:200], rng.dirichlet([4, 3, 2], 200)))
    found = state.explained(reference, RULES.log_alarm_at)
    assert {one["subject"] for one in found["subjects"]} >= {"low", "high"}


def of_before(found: Any) -> Any:
    """A profile as bundles had it before drift."""
    fields = {name: {key: each[key] for key in each if key not in NEW} for name, each in found["fields"].items()}
    scores = {name: {key: each[key] for key in each if key not in NEW} for name, each in found["scores"].items()}
    return found | {"fields": fields, "scores": scores}


NEW = {"above", "mean_scores", "uncertainty", "daily"}


def test_a_bundle_of_before_sees_less_and_gives_no_false_alarm() -> None:
    rng = np.random.default_rng(15)
    values, scores = some_rows(np.random.default_rng(1), 5000)
    values[:, 1] = rng.choice([18.0, 25.0, 25.0, 25.0, 60.0], 5000)  # repeats: .9, .8 ... would be wrong
    manifest = manifest_of()
    reference = Reference.of(manifest, of_before(profile_of(manifest, values, scores)), Tolerance())
    fold, state = Fold(reference), State.new(reference)
    for _ in range(200):
        own, theirs = some_rows(rng, 50)
        own[:, 1] = rng.choice([18.0, 25.0, 25.0, 25.0, 60.0], 50)
        state = state.tick(reference, fold(own, theirs))
    assert state.log_evidence(reference) < math.log(200)
    assert expected_loss(reference, fold(own, theirs)) is None
    effects = moved_scores(reference, fold(own, theirs))
    assert effects[0] is not None and set(effects[1:]) == {None}
    state = State.new(reference).tick(reference, fold(*some_rows(rng, 300, 2.0)))
    assert state.log_evidence(reference) > RULES.log_alarm_at
    assert state.explained(reference, RULES.log_alarm_at)["subjects"]


def test_of_a_field_that_had_only_its_default_a_bundle_of_before_says_nothing() -> None:
    values, scores = some_rows(np.random.default_rng(1), 500)
    values[:, 1] = 40.0
    found = of_before(profile_of(manifest_of(), values, scores))
    reference = Reference.of(manifest_of(), found, Tolerance())
    assert [each.is_known for each in reference.fields] == [True, False, True, True]
    assert Spread.of_field(FIELDS[1], 500, profile_of(manifest_of(), values, scores)["fields"]["age"]).is_known


FORMATS = Path(__file__).parents[1] / "formats"


@pytest.mark.parametrize("file", sorted(FORMATS.rglob("profile.json")), ids=lambda path: path.parent.name)
def test_every_bundle_that_was_ever_sealed_has_a_reference(file: Path) -> None:
    manifest = Manifest.from_bytes((file.parent / "manifest.json").read_bytes())
    reference = Reference.of(manifest, json.loads(file.read_bytes()), Tolerance())
    golden = json.loads((file.parent / "golden.json").read_bytes())
    values = np.array([[np.nan if one is None else one for one in row] for row in golden["rows"]], dtype=float)
    scores = LINKS[manifest.link](np.array(golden["margins"], dtype=float))
    counts = Fold(reference)(values, scores)
    state = State.new(reference).tick(reference, counts)
    assert np.isfinite(state.logs).all() and reference.weights.sum() == pytest.approx(1)
    assert len(beside(reference, counts)) == len(manifest.schema.fields) + manifest.outputs


def test_there_are_bundles_of_before() -> None:
    assert len(list(FORMATS.rglob("profile.json"))) >= 5


@pytest.mark.parametrize(
    "damage",
    (
        {},
        {"rows": "many"},
        {"rows": 5, "scores": {}, "fields": {}},
        {"rows": 5, "scores": {"risk": {"mean": 1}}, "fields": {}},
        [],
        None,
    ),
)
def test_a_profile_that_is_none_is_refused(damage: Any) -> None:
    with pytest.raises(BundleError, match="does not describe"):
        Reference.of(manifest_of(), damage, Tolerance())


@pytest.mark.parametrize(
    ("subject", "kind", "what", "direction", "says"),
    (
        ("risk", "score", "mean", "up", "risk is higher on average"),
        ("risk", "score", 0.25, "down", "risk is above 0.25 less often"),
        ("amount", "field", 5000.0, "up", "amount is above 5000 more often"),
        ("amount", "field", MISSING, "up", "amount is missing more often"),
        ("country", "field", "uk", "down", "country is 'uk' less often"),
        ("country", "field", 7, "down", "country is 7 less often"),
    ),
)
def test_changes_are_told_in_words(subject: str, kind: str, what: Any, direction: str, says: str) -> None:
    assert changed(subject, kind, what, direction) == says
