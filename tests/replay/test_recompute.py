"""Recorded decisions are computed again bit for bit, and what was altered is found."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lightgbm_models import small_lightgbm
from models import AnyVerifier, codes, edit, frame, keys, sealed_bundle, small_model
from recorded import decided, golden_rows
from scoreline.core import ids
from scoreline.core.bundle import Bundle, read_bundle
from scoreline.core.decision import Decisions
from scoreline.core.errors import BundleError, NotFound
from scoreline.replay.recompute import OpenBundle, Summary, guarantee, recompute
from scoreline.sealing import seal
from sklearn_models import RANGES, small_pipeline


def opens(*folders: Path) -> OpenBundle:
    """Knows these bundles by their digests."""
    known = {found.manifest.digest: found for found in (read_bundle(path, AnyVerifier()) for path in folders)}

    def open_bundle(digest: str) -> Bundle:
        if digest not in known:
            raise NotFound(digest)
        return known[digest]

    return open_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A twin with categories in its schema, and thresholds."""
    return sealed_bundle(
        tmp_path_factory.mktemp("m"), categories=True, thresholds={"review": 0.4, "decline": 0.7}
    )  # fmt: skip


@pytest.fixture
def made(bundle: Path) -> list[Decisions]:
    rows = codes(frame(30, seed=9, categories=True))
    return decided(bundle, rows[:20]) + decided(bundle, rows[20:], at_once=10)


def test_unaltered_decisions_are_equal_whatever_request_they_came_in(bundle: Path, made: list[Decisions]) -> None:
    verdicts = list(recompute(made, opens(bundle)))
    assert [verdict.id for verdict in verdicts] == [decision.id for found in made for decision in found]
    assert {(verdict.result, verdict.difference, verdict.note) for verdict in verdicts} == {("equal", 0.0, "")}
    assert {verdict.guarantee for verdict in verdicts} == {"any CPU"}
    assert all(verdict.recorded_with == verdict.recomputed_with for verdict in verdicts)


def altered(found: Decisions, **changed: Any) -> Decisions:
    """A copy whose columns can be written to."""
    columns = {name: getattr(found, name).copy() for name in ("values", "margins", "scores")}
    return replace(found, **(columns | changed))


def next_margin(found: Decisions) -> Decisions:
    return altered(found, margins=np.nextafter(found.margins, np.inf))


def minus_zero_score(found: Decisions) -> Decisions:
    return altered(found, scores=found.scores + 1e-9)


def other_outcome(found: Decisions) -> Decisions:
    return altered(found, outcomes=[(code + 1) % 3 for code in found.outcomes])


def no_outcome(found: Decisions) -> Decisions:
    return altered(found, outcomes=())


def other_feature(found: Decisions) -> Decisions:
    changed = altered(found)
    changed.values[:, 2] = 49.0 - changed.values[:, 2]
    changed.values[:, 0] = -changed.values[:, 0]
    return changed


def infinite_margin(found: Decisions) -> Decisions:
    return altered(found, margins=np.full_like(found.margins, np.nan))


@pytest.mark.parametrize(
    ("alter", "note"),
    [
        (next_margin, ""),
        (minus_zero_score, "the recorded score is not what they give"),
        (other_outcome, "the recorded outcome is not what the score gives"),
        (no_outcome, "the recorded outcome is not what the score gives"),
        (other_feature, ""),
        (infinite_margin, ""),
    ],
)
def test_what_was_altered_differs(
    bundle: Path, made: list[Decisions], alter: Callable[[Decisions], Decisions], note: str
) -> None:
    """One decision among others: it alone."""
    records = [*made[:7], alter(made[7]), *made[8:]]
    verdicts = list(recompute(records, opens(bundle)))
    assert [number for number, verdict in enumerate(verdicts) if verdict.result != "equal"] == [7]
    assert verdicts[7].result == "differs"
    assert note in verdicts[7].note


def test_the_largest_difference_is_told(bundle: Path, made: list[Decisions]) -> None:
    (verdict,) = recompute([altered(made[0], margins=made[0].margins + 0.25)], opens(bundle))
    assert verdict.difference == pytest.approx(0.25)
    (verdict,) = recompute([infinite_margin(made[0])], opens(bundle))
    assert verdict.difference is None


def wider(found: Decisions) -> Decisions:
    return altered(found, values=np.hstack([found.values, found.values]))


def two_margins(found: Decisions) -> Decisions:
    return altered(found, margins=np.hstack([found.margins, found.margins]))


def unknown_category(found: Decisions) -> Decisions:
    changed = altered(found)
    changed.values[0, 3] = 7.0
    return changed


def infinite_feature(found: Decisions) -> Decisions:
    changed = altered(found)
    changed.values[0, 0] = np.inf
    return changed


def other_fields(found: Decisions) -> Decisions:
    return altered(found, author=replace(found.author, fields=("b", "a", "c", "k")))


def other_version(found: Decisions) -> Decisions:
    return altered(found, author=replace(found.author, version="2"))


def other_words(found: Decisions) -> Decisions:
    return altered(found, author=replace(found.author, outcomes=("decline", "review", "approve")))


@pytest.mark.parametrize("alter", [wider, two_margins, unknown_category, other_fields, other_version, other_words])
def test_what_no_engine_can_take_is_refused_and_spoils_nothing(
    bundle: Path, made: list[Decisions], alter: Callable[[Decisions], Decisions]
) -> None:
    verdicts = list(recompute([*made[:3], alter(made[3]), *made[4:]], opens(bundle)))
    by_id = {verdict.id: verdict for verdict in verdicts}
    refused = by_id.pop(ids.text(made[3].base))
    assert refused.result == "refused" and refused.note
    assert {verdict.result for verdict in by_id.values()} == {"equal"}


def test_what_an_engine_refuses_is_refused_alone(tmp_path: Path) -> None:
    """XGBoost takes no infinity into a matrix, which dart needs."""
    dart = sealed_bundle(tmp_path, parameters={"booster": "dart", "rate_drop": 0.3})
    made = decided(dart, golden_rows(dart)[:9])
    verdicts = list(recompute([*made[:3], infinite_feature(made[3]), *made[4:]], opens(dart)))
    assert [verdict.result for verdict in verdicts] == ["equal"] * 3 + ["refused"] + ["equal"] * 5
    assert "xgboost" in verdicts[3].note


def test_a_bundle_that_is_not_there_is_missing(made: list[Decisions]) -> None:
    verdicts = list(recompute(made, opens()))
    assert {(verdict.result, verdict.guarantee, verdict.recomputed_with) for verdict in verdicts} == {
        ("missing", None, None)
    }
    assert "scoreline pull" in verdicts[0].note


def test_a_bundle_that_cannot_be_opened_or_fails_its_self_test_is_refused(
    bundle: Path, made: list[Decisions], tmp_path: Path
) -> None:
    def broken(digest: str) -> Bundle:
        raise BundleError("golden.json has no rows")

    assert {(verdict.result, verdict.note) for verdict in recompute(made, broken)} == {
        ("refused", "golden.json has no rows")
    }
    other = sealed_bundle(tmp_path, categories=True)
    edit(other, "golden.json", lambda golden: golden["margins"][0].__setitem__(0, 9.0))
    found = read_bundle(other, AnyVerifier())
    (verdict, *_) = recompute(made, lambda digest: found)
    assert verdict.result == "refused" and "does not repeat the bundle's golden margins" in verdict.note


def test_a_swapped_bundle_is_found(bundle: Path, made: list[Decisions], tmp_path: Path) -> None:
    """Another model under the digest of the record, as if nobody had checked."""
    rows = frame(categories=True, seed=4)
    booster, _ = small_model(categories=True, eta=0.9)
    other = seal(
        booster, name="m", output="score", reference=rows, key=keys(tmp_path)[0], out=tmp_path / "m-1",
        thresholds={"review": 0.4, "decline": 0.7},
    )  # fmt: skip
    swapped = read_bundle(other.path, AnyVerifier())
    verdicts = list(recompute(made, lambda digest: swapped))
    assert {verdict.result for verdict in verdicts} == {"differs"}


def test_another_version_of_the_library_is_told(bundle: Path, made: list[Decisions]) -> None:
    older = replace(made[0].author, engine="xgboost 2.0.0")
    (verdict,) = recompute([replace(made[0], author=older)], opens(bundle))
    assert (verdict.result, verdict.recorded_with) == ("equal", "xgboost 2.0.0")
    assert verdict.note == "recorded with another version of the library"
    summary = Summary()
    summary.add(verdict)
    assert summary.libraries == {("xgboost 2.0.0", str(verdict.recomputed_with)): 1}


def test_many_bundles_are_told_apart(bundle: Path, made: list[Decisions], tmp_path: Path) -> None:
    others = [
        sealed_bundle(tmp_path, objective, name=f"n{at}")
        for at, objective in enumerate(("multi:softprob", "reg:gamma"))
    ]
    mixed = [
        one
        for group in zip(*(decided(path, golden_rows(path)[:10]) for path in others), made, strict=False)
        for one in group
    ]
    verdicts = list(recompute(mixed, opens(bundle, *others)))
    assert len(verdicts) == len(mixed)
    assert {(verdict.model, verdict.result) for verdict in verdicts} == {
        ("m", "equal"),
        ("n0", "equal"),
        ("n1", "equal"),
    }


def test_a_summary_counts_and_keeps_the_first_that_are_not_equal(bundle: Path, made: list[Decisions]) -> None:
    summary = Summary()
    for verdict in recompute([*made[:3], next_margin(made[3])] * 60, opens(bundle)):
        summary.add(verdict)
    assert summary.results == {"equal": 180, "differs": 60}
    assert summary.guarantees == {"any CPU": 240}
    assert len(summary.told) == 60 and not summary.all_equal
    assert Summary().all_equal


def sealed_of(folder: Path, model: object, rows: Any, **options: Any) -> Bundle:
    private, _ = keys(folder)
    return read_bundle(
        seal(model, name="g", output="s", reference=rows, key=private, out=folder / "g-1", **options).path,
        AnyVerifier(),
    )


@pytest.mark.parametrize(
    ("make", "wanted"),
    [
        (lambda: small_model(), "any CPU"),
        (lambda: small_model(booster="dart", rate_drop=0.3), "same CPU class"),
        (lambda: small_model(booster="gblinear"), "same CPU class"),
        (lambda: small_lightgbm(), "any CPU"),
        (lambda: small_lightgbm("regression", linear_tree=True), "same CPU class"),
        (lambda: small_pipeline("LGBMRegressor"), "same CPU class"),
        (lambda: small_pipeline("Ridge"), "same CPU class"),
    ],
    ids=("trees", "dart", "linear", "LightGBM", "linear trees", "booster behind a graph", "graph"),
)
def test_equal_bits_are_promised_where_leaves_are_only_added(
    make: Callable[[], tuple[object, Any]], wanted: str, tmp_path: Path
) -> None:
    model, rows = make()
    ranges = {name: {"range": [-1000.0, 1000.0]} for name in ("a", "b", "c")} if "c" in rows else RANGES
    assert guarantee(sealed_of(tmp_path, model, rows, schema=ranges)) == wanted
