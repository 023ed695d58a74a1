"""Contributions by permutations are additive, repeatable, and Shapley's own where that can be known."""

from itertools import combinations
from math import factorial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import Array
from scoreline.replay.permutations import ALL_ORDERS_UP_TO, MOST_ROWS, PAIRS, orders, permuted_contributions

rng = np.random.default_rng(3)


class Formula:
    """Answers a formula of the row, twice: itself and its negative."""

    name = "formula 1"

    def __init__(self, order: int, n_fields: int) -> None:
        self._groups = [group for size in range(1, order + 1) for group in combinations(range(n_fields), size)]
        self._weights = np.random.default_rng(order).normal(size=len(self._groups))

    def predict(self, values: Array) -> Array:
        terms = np.stack([values[:, group].prod(axis=1) for group in self._groups], axis=1)
        found = (terms * self._weights).sum(axis=1)
        return np.stack([found, -found], axis=1)

    def contributions(self, values: Array) -> None: ...


def shapley(engine: Formula, row: Array, background: Array) -> Array:
    """By enumeration of all coalitions, interventional: what is not in one is as in the background."""
    n = len(row)

    def worth(known: frozenset[int]) -> float:
        values = background.copy()
        values[:, sorted(known)] = row[sorted(known)]
        return float(engine.predict(values)[:, 0].mean())

    found = np.zeros(n)
    for field in range(n):
        others = [other for other in range(n) if other != field]
        for size in range(n):
            weight = factorial(size) * factorial(n - size - 1) / factorial(n)
            for known in map(frozenset, combinations(others, size)):
                found[field] += weight * (worth(known | {field}) - worth(known))
    return found


def explained(engine: Formula, row: Array, background: Array, seed: int = 1) -> Array:
    return permuted_contributions(engine, row, background, orders(len(row), len(background), seed))


@pytest.mark.parametrize("n_fields", range(1, ALL_ORDERS_UP_TO + 1))
def test_few_fields_are_exact_however_they_work_together(n_fields: int) -> None:
    engine = Formula(n_fields, n_fields)
    row, background = rng.normal(size=n_fields), rng.normal(size=(7, n_fields))
    np.testing.assert_allclose(explained(engine, row, background)[0, :-1], shapley(engine, row, background), atol=1e-12)


@pytest.mark.parametrize("order", (1, 2))
def test_pairs_of_fields_are_exact_by_antithetic_orders(order: int) -> None:
    engine = Formula(order, 7)
    row, background = rng.normal(size=7), rng.normal(size=(5, 7))
    np.testing.assert_allclose(explained(engine, row, background)[0, :-1], shapley(engine, row, background), atol=1e-12)


def test_more_than_that_comes_near() -> None:
    """The mean over many seeds is Shapley's value: within three standard errors, of a fixed run."""
    engine = Formula(4, 6)
    row, background = rng.normal(size=6), rng.normal(size=(5, 6))
    runs = np.array([explained(engine, row, background, seed)[0, :-1] for seed in range(40)])
    error = runs.std(axis=0) / np.sqrt(len(runs))
    assert (np.abs(runs.mean(axis=0) - shapley(engine, row, background)) <= 3 * error + 1e-9).all()


@given(st.integers(1, 12), st.integers(1, 9), st.integers(0, 2**128 - 1))
def test_they_add_up_and_are_the_same_again(n_fields: int, n_background: int, seed: int) -> None:
    engine, draw = Formula(min(3, n_fields), n_fields), np.random.default_rng(seed % 1000)
    row, background = draw.normal(size=n_fields), draw.normal(size=(n_background, n_fields))
    found = explained(engine, row, background, seed)
    assert found.shape == (2, n_fields + 1)
    np.testing.assert_allclose(found.sum(axis=1), engine.predict(row[None])[0], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found[:, -1], engine.predict(background).mean(axis=0), rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(found, explained(engine, row, background, seed))


def test_a_field_that_changes_nothing_contributes_nothing() -> None:
    engine = Formula(2, 6)
    engine._weights[[5 in group for group in engine._groups]] = 0.0
    found = explained(engine, rng.normal(size=6), rng.normal(size=(4, 6)))
    assert found[0, 5] == 0.0


def test_orders_are_pairs_and_the_same_for_ever() -> None:
    taken = orders(6, 32, 7)
    assert len(taken) == 2 * PAIRS
    assert all(forwards == backwards[::-1] for forwards, backwards in zip(taken[::2], taken[1::2], strict=True))
    assert {tuple(sorted(order)) for order in taken} == {tuple(range(6))}
    assert taken[0] == (3, 1, 0, 5, 4, 2)  # whoever explains an old decision draws what was drawn then


def test_many_fields_take_fewer_orders_so_that_the_cost_stays_bounded() -> None:
    for n_fields in (50, 500, 5000):
        taken = orders(n_fields, 32, 7)
        assert len(taken) >= 2
        assert len(taken) == 2 or len(taken) * (n_fields + 1) * 32 <= MOST_ROWS


def test_pieces_give_what_all_at_once_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Formula(3, 9)
    row, background = rng.normal(size=9), rng.normal(size=(8, 9))
    together = explained(engine, row, background)
    monkeypatch.setattr("scoreline.replay.permutations.PIECE_ROWS", 17)
    np.testing.assert_allclose(explained(engine, row, background), together, rtol=0, atol=1e-12)
