"""The fold over decisions and what became known of them: when an outcome counts, whose it is, what is never claimed."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import opened, sealed_bundle
from scoreline.core.decision import Author
from scoreline.core.manifest import Manifest
from scoreline.core.schema import Field, Schema
from scoreline.evidence.paired import GridBet
from scoreline.operations.compared import Compared, Rivals, Scores, Split
from scoreline.operations.paired import LAG_NS, rivals
from scoreline.operations.shadowreport import AT_RANDOM, FILLED, UNDECLARED, report_of, seen_of
from scoreline.records.joined import Joined
from scoreline.records.outcomes import Known, Report
from scoreline.records.rows import Row
from scoreline.rollout.policy import Policy
from service import SealedModel

DAY = 86_400 * 10**9
POLICY = Policy(delta=0.02)
AUTHOR = Author("m", "1", "d" * 64, "xgboost", "3", "champion", 1, "score")
CLAIMS = ("e_better", "e_safe", "e_worse")


class Case(NamedTuple):
    """A decision: both scores, what happened (None: never known), when that was reported, and about whom it is."""

    mine: float
    theirs: float
    label: float | None = None
    delay_ns: int = 0
    entity: bytes = b""
    observed_ns: int | None = None
    degraded: bytes = b""


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    bundle = opened(sealed_bundle(tmp_path_factory.mktemp("compared"), maturity_s=86_400, categories=True))
    return bundle.manifest


def joined_of(case: Case, number: int) -> Joined:
    time_ns = (number + 1) * 10**9
    values = np.array([1.0, 2.0, 3.0, number % 3], "<f8").tobytes()
    told = [np.array([each], "<f8").tobytes() for each in (case.mine, case.mine)]
    id_ = (time_ns // 10**6 << 80 | number).to_bytes(16, "big")
    row = Row(id_, time_ns, case.entity, "", "", "", values, *told, -1, b"", case.degraded, 1)
    if case.label is None:
        return Joined(row, AUTHOR, None)
    observed_ns = time_ns if case.observed_ns is None else case.observed_ns
    report = Report(b"k", (row.id, "", b"", 0), case.label, observed_ns, time_ns + case.delay_ns, "tests")
    return Joined(row, AUTHOR, Known(report))


def folded(found: Rivals, cases: Sequence[Case], followed: Sequence[int] = (), pages: int = 1) -> Compared:
    *_, last = looked_at(found, cases, followed, pages)
    return last


def looked_at(found: Rivals, cases: Sequence[Case], followed: Sequence[int], pages: int) -> Iterator[Compared]:
    """What is known after each page."""
    compared = found.compared(0)
    rows = [joined_of(case, number) for number, case in enumerate(cases)]
    scores: Scores = {
        one.row.id: (np.array([case.theirs], "<f8").tobytes(), -1) for one, case in zip(rows, cases, strict=True)
    }
    again = {rows[number].row.id for number in followed}
    for part in np.array_split(np.arange(len(rows)), pages):
        page = [rows[number] for number in part]
        compared.agree(page, scores)
        compared.pair(page, scores, again)
        yield compared


def brier(case: Case, label: float) -> float:
    return (case.mine - label) ** 2 - (case.theirs - label) ** 2


def test_an_outcome_counts_as_it_stood_when_it_became_final(manifest: Manifest) -> None:
    found = rivals(manifest, manifest, POLICY)
    assert found.in_time_ns == found.final_ns == DAY + LAG_NS
    in_time, late = Case(0.2, 0.3, 1.0, DAY), Case(0.2, 0.3, 1.0, DAY + LAG_NS + 1)
    compared = folded(found, [in_time, late])
    assert (compared.bets.known.n, compared.bets.missing, compared.late) == (1, 1, 1)
    assert compared.bets.known.total == pytest.approx(brier(in_time, 1.0))
    corrected = joined_of(Case(0.2, 0.3, 0.0, 2 * DAY), 0)
    assert corrected.known is not None
    corrected.known.history.append(Report(b"j", (b"", "", b"", 0), 1.0, 5, DAY, "tests"))
    compared = found.compared(0)
    scores: Scores = {corrected.row.id: (np.array([0.3], "<f8").tobytes(), -1)}
    compared.pair([corrected], scores, ())
    assert compared.bets.known.total == pytest.approx(brier(in_time, 1.0)), "it was corrected too late"


def test_of_history_everything_counts_that_is_known_now(manifest: Manifest) -> None:
    compared = folded(rivals(manifest, manifest, POLICY, in_time_ns=1 << 62), [Case(0.2, 0.3, 1.0, 99 * DAY)])
    assert (compared.bets.known.n, compared.late) == (1, 0)


def test_few_missing_outcomes_are_filled_in_with_what_speaks_most_against_each_claim(manifest: Manifest) -> None:
    rng = np.random.default_rng(5)
    cases = [
        Case(mine, mine + 0.01, None if number % 25 == 0 else float(rng.random() < mine))
        for number, mine in enumerate(rng.uniform(0.1, 0.9, 1000))
    ]
    compared = folded(rivals(manifest, manifest, POLICY), cases, pages=7)
    known = [brier(case, case.label) for case in cases if case.label is not None]
    missing = [[brier(case, label) for label in (0.0, 1.0)] for case in cases if case.label is None]
    worst = GridBet(1.0, POLICY.delta).add([*known, *map(min, missing)])
    best = GridBet(1.0, POLICY.delta).add([*known, *map(max, missing)])
    seen, report = seen_of(compared), report_of(compared, POLICY)
    assert report["outcomes_missing"] == pytest.approx(0.04) and FILLED in report["assumptions"]
    assert seen.e_better == pytest.approx(worst.better_e(), rel=1e-9)
    assert seen.e_safe == pytest.approx(worst.safe_e(), rel=1e-9)
    assert seen.e_worse == pytest.approx(best.worse_e(), rel=1e-9)


def test_where_many_are_missing_the_report_says_what_it_assumes(manifest: Manifest) -> None:
    cases = [Case(0.5, 0.5, 1.0 if number % 2 else None, entity=bytes([number]) * 16) for number in range(100)]
    compared = folded(rivals(manifest, manifest, POLICY), cases)
    report = report_of(compared, POLICY)
    assert report["outcomes_missing"] == 0.5, "of an entity that nothing was heard of, too"
    assert AT_RANDOM in report["assumptions"] and FILLED not in report["assumptions"]
    assert "outcomes are final 1 days after the decision" in report["assumptions"]
    undeclared = folded(rivals(replace(manifest, maturity_s=0), manifest, POLICY), cases)
    assert UNDECLARED in report_of(undeclared, POLICY)["assumptions"]


def test_an_outcome_that_is_no_class_counts_as_missing(manifest: Manifest) -> None:
    compared = folded(rivals(manifest, manifest, POLICY), [Case(0.2, 0.3, 7.5), Case(0.2, 0.3, 1.0)])
    assert (compared.unusable, compared.bets.missing, compared.bets.known.n) == (1, 1, 1)


def test_answers_from_defaults_are_no_evidence(manifest: Manifest) -> None:
    compared = folded(rivals(manifest, manifest, POLICY), [Case(0.2, 0.9, 0.0, degraded=b"\x01\x00")])
    assert (compared.degraded, compared.bets.known.n, compared.bets.missing) == (1, 0, 0)
    assert compared.agreement.rows == 1


SCORE = st.floats(0, 1)


@settings(max_examples=60, deadline=None)
@given(
    units=st.lists(st.tuples(SCORE, SCORE, st.booleans(), st.integers(0, 4)), min_size=1, max_size=25),
    again=st.lists(SCORE, min_size=4, max_size=4),
    by_entity=st.booleans(),
)
def test_who_is_scored_again_and_again_is_one_pair(
    manifest: Manifest, units: list[tuple[float, float, bool, int]], again: list[float], by_entity: bool
) -> None:
    """Whatever the challenger says at the other times, and whether the outcome is told of the entity or of each."""
    found = rivals(manifest, manifest, POLICY)
    once, often, followed = [], [], []
    for number, (mine, theirs, label, repeats) in enumerate(units):
        counted = Case(mine, theirs, float(label), entity=bytes([number]) * 16, observed_ns=7)
        others = [replace_scores(counted, other, by_entity=by_entity) for other in again[:repeats]]
        once.append(counted)
        if by_entity:  # the last decision before the event is the pair
            followed += range(len(often), len(often) + repeats)
            often += [*others, counted]
        else:
            often += [counted, *others]
    one, many = folded(found, once), folded(found, often, followed)
    assert (many.bets.known.n, many.repeated) == (len(units), len(often) - len(units))
    assert (many.bets.missing, one.bets.missing) == (0, 0)
    for claim in CLAIMS:
        assert getattr(seen_of(many), claim) == pytest.approx(getattr(seen_of(one), claim), rel=1e-9)


def replace_scores(case: Case, other: float, *, by_entity: bool) -> Case:
    return case._replace(mine=1 - other, theirs=other, label=None if by_entity else case.label)


@settings(max_examples=40, deadline=None)
@given(
    cases=st.lists(
        st.builds(Case, SCORE, SCORE, st.sampled_from([None, 0.0, 1.0]), st.integers(0, 2 * DAY)), max_size=60
    ),
    pages=st.integers(1, 7),
)
def test_pages_may_be_of_any_length(manifest: Manifest, cases: list[Case], pages: int) -> None:
    found = rivals(manifest, manifest, POLICY)
    one, many = folded(found, cases), folded(found, cases, pages=pages)
    for name in ("late", "repeated", "unusable", "unscored"):
        assert getattr(one, name) == getattr(many, name)
    assert one.agreement.rows == many.agreement.rows == len(cases)
    for claim in CLAIMS:
        assert getattr(seen_of(many), claim) == pytest.approx(getattr(seen_of(one), claim), rel=1e-9)


def test_adversarial_delays_never_make_a_false_claim(manifest: Manifest) -> None:
    """The challenger says too much, and what speaks for it is heard first. 100 runs, each looked at 20 times.

    alpha is 1 % a run and a claim: more than 5 false ones of 100 runs have a probability of 0.05 %.
    """
    found, false, fooled = rivals(manifest, manifest, Policy(delta=0.01)), 0, 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        mine = rng.beta(2, 6, 400)
        labels = (rng.random(400) < mine).astype(float)
        over = np.clip(mine + 0.15, 0, 1)  # its loss is higher by 0.02, more than delta
        delays = np.where(labels > 0, 0, DAY)
        rows = zip(mine.tolist(), over.tolist(), labels.tolist(), delays.tolist(), strict=True)
        cases = [Case(*row) for row in rows]
        arrived = GridBet(1.0, 0.01).add([brier(case, 1.0) for case in cases if case.label])
        fooled += arrived.better_e() >= 100
        looks = map(seen_of, looked_at(found, cases, (), 20))
        false += any(max(seen.e_better, seen.e_safe) >= 100 for seen in looks)
    assert fooled == 100, "the order of arrival claims BETTER each time"
    assert false <= 5


def test_it_is_told_by_segment(manifest: Manifest) -> None:
    assert manifest.schema.fields[3].categories == ("red", "green", "blue")
    found = rivals(manifest, manifest, replace(POLICY, segment="k"))
    cases = [Case(0.5, [0.9, 0.5, 0.1][number % 3], 1.0) for number in range(900)]
    cases.append(Case(0.5, 0.5, 1.0))
    compared = folded(found, cases[:-1], pages=4)
    report = report_of(compared, POLICY)
    told = {each["segment"]: (each["pairs"], each["claims"]) for each in report["segments"]}
    assert told == {"red": (300, ["BETTER", "SAFE"]), "green": (300, []), "blue": (300, ["WORSE"])}
    assert report["segment"] == "k" and [each["segment"] for each in report["agreement"]["segments"]] == list(told)
    missing = joined_of(Case(0.5, 0.5, 1.0), 0)
    nan = np.array([1.0, 2.0, 3.0, np.nan], "<f8").tobytes()
    page = [missing._replace(row=missing.row._replace(values=nan))]
    compared.pair(page, {missing.row.id: (np.array([0.5], "<f8").tobytes(), -1)}, ())
    assert report_of(compared, POLICY)["segments"][-1]["segment"] is None


def test_a_boolean_splits_as_well(sealed: SealedModel) -> None:
    found = rivals(sealed.manifest, sealed.manifest, replace(POLICY, segment="repeat")).split
    assert found == Split("repeat", sealed.manifest.schema.index["repeat"], ("false", "true"))


@pytest.mark.parametrize("name", ["", "unknown", "a"])
def test_what_has_no_few_values_is_not_told_apart_by(manifest: Manifest, name: str) -> None:
    assert rivals(manifest, manifest, replace(POLICY, segment=name)).split is None


def test_a_challenger_that_needs_what_the_record_does_not_have_is_no_evidence(manifest: Manifest) -> None:
    stored = Field("score_of_bureau", "number", default=0.0, source="store")
    theirs = replace(manifest, schema=Schema((*manifest.schema.fields, stored)))
    found = rivals(manifest, theirs, POLICY)
    assert found.loss is None and "score_of_bureau" in report_of(found.compared(0), POLICY)["loss"]


def test_a_model_that_gives_no_probabilities_is_shown_in_agreement_only(tmp_path: Path) -> None:
    regression = opened(sealed_bundle(tmp_path, "reg:squarederror")).manifest
    found = rivals(regression, regression, POLICY)
    report = report_of(found.compared(0), POLICY)
    assert found.loss is None and "only agreement can be shown" in report["loss"] and report["claims"] == []
