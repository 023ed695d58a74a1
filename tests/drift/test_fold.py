"""The fold by its laws: it counts what a plain loop counts, adds up in any order, and sees defaults as missing."""

import random
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from somereference import FIELDS, NO_TOLERANCE, manifest_of, reference_of, some_fold, some_rows

from scoreline.core.errors import DatabaseRefused
from scoreline.core.link import Floats
from scoreline.core.schema import Field
from scoreline.drift.counts import Layout, packed, unpacked
from scoreline.drift.fold import Fold
from scoreline.drift.folding import counted
from scoreline.drift.reference import MISSING
from scoreline.drift.spread import MOST_SLOTS, OTHERS
from scoreline.records.rows import Cells, positions

FOLD = some_fold()
AT = FOLD.reference.layout.at


def cells(values: Floats, scores: Floats, defaulted: dict[int, tuple[int, ...]] | None = None) -> list[Cells]:
    """Rows as the record has them."""
    made = []
    for row, (own, theirs) in enumerate(zip(values, scores, strict=True)):
        took = positions((defaulted or {}).get(row, ()))
        made.append((b"", 0, b"", "", "", "", own.astype("<f8").tobytes(), b"", theirs.tobytes(), 0, took, b"", 0))
    return made


def rows_of(seed: int, n_rows: int) -> tuple[Floats, Floats]:
    return some_rows(np.random.default_rng(seed), n_rows)


def test_it_counts_what_a_plain_loop_counts() -> None:
    values, scores = rows_of(7, 500)
    values[3, 3], values[4, 3], values[5, 1] = np.nan, 9.0, np.nan  # a code no category has is none
    found, reference = FOLD(values, scores), FOLD.reference
    assert found[AT["rows"]] == 500
    for at, field in enumerate(FIELDS):
        column = values[:, at]
        present = column[~np.isnan(column)]
        if field.type == "category":
            present = present[present < 4]
            slots = found[reference.slots_of[at]]
            assert slots.tolist() == [int((present == code).sum()) for code in range(4)]
        else:
            place = reference.numbers.tolist().index(at)
            above = found[AT["above"]][place * 9 : place * 9 + 9]
            cuts = reference.fields[at].labels
            assert above[: len(cuts)].tolist() == [int((present > cut).sum()) for cut in cuts]
            assert (above[len(cuts) :] == 0).all()
            assert found[AT["sums"]][place] == pytest.approx(present.sum())
        assert found[AT["present"]][at] == len(present)
        assert found[AT["missing"]][at] == 500 - len(present)
    s = scores[:, 0]
    assert found[AT["score_above"]].tolist() == [int((s > cut).sum()) for cut in reference.scores[0].labels]
    assert found[AT["score_sums"]] == pytest.approx(s.sum())
    assert found[AT["uncertainty"]] == pytest.approx((s * (1 - s)).sum())
    assert found[AT["wrong"]] == pytest.approx(sum(1 - one if one >= 0.5 else one for one in s))
    slopes, limits = reference.mean_bets
    by_row = [np.log(1 + slopes[0] * (one - limits[0])) for one in s]
    assert found[AT["log_e"]] == pytest.approx(np.sum(by_row, axis=0))


@given(st.integers(0, 1000), st.lists(st.integers(0, 60), max_size=8), st.randoms(use_true_random=False))
def test_any_partition_in_any_order_counts_the_same(seed: int, ends: list[int], rng: random.Random) -> None:
    values, scores = rows_of(seed, 60)
    order = rng.sample(range(60), 60)
    edges = [0, *sorted(ends), 60]
    parts = [order[first:last] for first, last in pairwise(edges)]
    rng.shuffle(parts)
    total = sum((FOLD(values[part], scores[part]) for part in parts), np.zeros(FOLD.reference.layout.size))
    whole = FOLD(values, scores)
    exact = [AT[name] for name in ("rows", "present", "missing", "above", "slots", "score_above")]
    assert all((total[each] == whole[each]).all() for each in exact)
    assert total == pytest.approx(whole, rel=1e-12, abs=1e-9)
    log_e = FOLD.reference.log_e
    assert np.abs(log_e(total) - log_e(whole)).max() <= 1e-9


def test_nothing_counts_as_nothing() -> None:
    assert (FOLD(np.empty((0, 4)), np.empty((0, 1))) == 0).all()
    assert (FOLD.reference.log_e(np.zeros(FOLD.reference.layout.size)) == 0).all()


def test_what_took_a_default_is_missing_and_never_a_number() -> None:
    values, scores = rows_of(8, 50)
    defaulted = dict.fromkeys(range(0, 50, 2), (1, 3)) | {1: (0,)}
    without = values.copy()
    for row, places in defaulted.items():
        without[row, list(places)] = np.nan
    found = counted(FOLD, cells(values, scores, defaulted))
    assert found is not None
    assert (found == FOLD(without, scores)).all()
    assert found[AT["missing"]][1] == 25


def test_rows_that_are_not_of_this_versions_shape_are_left_out() -> None:
    values, scores = rows_of(9, 3)
    odd = cells(np.zeros((2, 3)), np.zeros((2, 1))) + cells(np.zeros((1, 4)), np.zeros((1, 2)))
    found = counted(FOLD, [*odd, *cells(values, scores)])
    assert found is not None and (found == FOLD(values, scores)).all()
    assert counted(FOLD, odd) is None


def test_of_many_categories_the_rare_ones_are_one() -> None:
    n = 100
    fields = (Field("place", "category", categories=tuple(range(n))), Field("x", "number"))
    codes = np.concatenate([np.repeat(np.arange(n - 10, n), 50), np.repeat(np.arange(n - 50, n - 10), 5), np.arange(n)])
    values, scores = np.column_stack([codes.astype(float), np.ones(len(codes))]), np.full((len(codes), 1), 0.5)
    reference = reference_of(values, scores, manifest=manifest_of(fields))
    spread = reference.fields[0]
    assert len(spread.labels) == MOST_SLOTS and spread.labels[-1] == OTHERS
    assert set(range(n - 10, n)) < set(spread.labels)
    assert spread.bins.sum() == pytest.approx(1)
    found = Fold(reference)(values, scores)
    assert found[reference.slots_of[0]] / len(codes) == pytest.approx(spread.bins)


def test_a_field_the_reference_does_not_have_is_counted_and_not_bet_on() -> None:
    values, scores = rows_of(1, 2000)
    for at in (1, 3):
        gone = values.copy()
        gone[:, at] = np.nan
        reference = reference_of(gone, scores)
        assert not reference.fields[at].is_known
        assert at + 1 not in {share.subject for share in reference.shares}
        found = Fold(reference)(values, scores)
        other = FOLD(values, scores)
        assert found[reference.layout.at["present"]].tolist() == other[AT["present"]].tolist()
        assert reference.weights[reference.subject_of == at + 1].sum() == 0
        assert reference.weights.sum() == pytest.approx(1)
        if at == 3:
            assert found[reference.layout.at["slots"]].size == 0


def test_half_of_the_weight_is_the_scores_whatever_the_number_of_fields() -> None:
    for n_fields in (1, 4, 600):
        fields = tuple(Field(f"f{place}", "number") for place in range(n_fields))
        rng = np.random.default_rng(1)
        reference = reference_of(rng.random((400, n_fields)), rng.random((400, 1)), manifest=manifest_of(fields))
        weights = reference.weights
        assert weights.sum() == pytest.approx(1) and (weights >= 0).all()
        assert weights[reference.subject_of == 0].sum() == pytest.approx(0.5)
        of_mean = weights[len(reference.shares) * 10 :]
        assert of_mean.sum() == pytest.approx(0.25)
        by_field = np.bincount(reference.subject_of, weights)[1:]
        assert by_field == pytest.approx(np.full(n_fields, 0.5 / n_fields))


def test_the_basis_names_reference_and_tolerances() -> None:
    values, scores = rows_of(1, 500)
    one = reference_of(values, scores)
    assert one.basis == reference_of(values, scores).basis
    assert one.basis != reference_of(values, scores, NO_TOLERANCE).basis
    other = replace(one, manifest=manifest_of(version="2"))
    assert one.basis != other.basis and len(one.basis) <= 64


def test_every_bet_has_words() -> None:
    reference = FOLD.reference
    words = [reference.words(bet) for bet in range(len(reference.is_bet))]
    assert {each["direction"] for each in words} == {"up", "down"}
    assert {each["what"] for each in words} >= {"mean", MISSING, "at", "uk", reference.scores[0].labels[3]}
    counts = FOLD(*rows_of(2, 5000))
    for bet in np.flatnonzero(reference.is_bet)[::37].tolist():
        up = reference.words(bet)["direction"] == "up"
        assert up in (True, False) and np.isfinite(reference.log_e(counts)[bet])


def test_counts_come_back_as_they_were_and_damage_is_told() -> None:
    found = FOLD(*rows_of(3, 100))
    assert (unpacked(packed(found), len(found)) == found).all()
    for raw in (b"", b"no", packed(found[1:]), packed(found)[:-3]):
        with pytest.raises(DatabaseRefused, match="damaged"):
            unpacked(raw, len(found))


def test_a_layout_has_a_place_for_everything() -> None:
    layout = Layout(600, 590, 40, 3, 0)
    ends = sorted((part.start, part.stop) for part in layout.at.values())
    assert ends[0][0] == 0 and ends[-1][1] == layout.size
    assert all(one[1] == other[0] for one, other in pairwise(ends))
