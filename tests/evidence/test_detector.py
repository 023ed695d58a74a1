"""e-SR by its laws: e-values counted out in full on small nulls, the recursion by hand, and how often it is wrong."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from scoreline.evidence.detector import (
    MEAN_BETS,
    NOTHING,
    SHARE_BETS,
    SHIFTS,
    STAKES,
    alarm_at,
    log_e_means,
    log_e_shares,
    log_evidence,
    mean_bets,
    share_bets,
    ticked,
)
from scoreline.evidence.tolerance import Tolerance, logits, mean_limits, share_limits, shifted, standard_errors

shares = st.floats(0, 1)


@pytest.mark.parametrize(("low", "high"), ((0.1, 0.1), (0.3, 0.7), (0.0, 0.02), (0.98, 1.0), (0.499, 0.501)))
def test_every_bet_on_a_share_has_a_mean_of_at_most_one_while_the_share_is_within_its_limits(
    low: float, high: float
) -> None:
    hits, misses = share_bets(low, high)
    for n, at in itertools.product((1, 2, 7, 30), (0.0, 0.25, 0.5, 0.75, 1.0)):
        k, p = np.arange(n + 1), low + at * (high - low)
        means = binom.pmf(k, n, p) @ np.exp(log_e_shares(hits, misses, k, np.full(n + 1, n)))
        assert means.shape == (SHARE_BETS,)
        assert means.max() <= 1 + 1e-9
    for bet, edge in ((0, high), (len(SHIFTS), low)):
        if 0 < edge < 1:  # at its own limit nothing is given away
            exact = binom.pmf(np.arange(8), 7, edge) @ np.exp(log_e_shares(hits, misses, np.arange(8), np.full(8, 7)))
            assert exact[bet : bet + len(SHIFTS)] == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize(("low", "high"), ((0.1, 0.1), (0.05, 0.2), (0.0, 0.4), (0.6, 1.0)))
def test_every_bet_on_a_mean_has_a_mean_of_at_most_one_while_the_mean_is_within_its_limits(
    low: float, high: float
) -> None:
    """Numbers of three values, in every proportion of a grid: all that have a mean within the limits."""
    slopes, limits = mean_bets(low, high)
    x = np.array([0.0, 0.35, 1.0])
    e = np.exp(np.stack([log_e_means(slopes, limits, np.array([each])) for each in x]))
    assert (e > 0).all()
    tried = 0
    for a, b in itertools.product(np.linspace(0, 1, 41), repeat=2):
        p = np.array([a, b * (1 - a), (1 - a) * (1 - b)])
        if low <= p @ x <= high:
            tried += 1
            assert (p @ e).max() <= 1 + 1e-9
    assert tried > 5 or low == high


def test_there_is_no_bet_beyond_nothing_and_all() -> None:
    hits, misses = share_bets(np.array([0.0, 0.2]), np.array([0.3, 1.0]))
    assert (hits[0, len(SHIFTS) :] == 0).all() and (hits[1, : len(SHIFTS)] == 0).all()
    assert (misses[0, len(SHIFTS) :] == 0).all() and (hits[0, : len(SHIFTS)] > 0).all()
    slopes, _ = mean_bets(0.0, 1.0)
    assert slopes.shape == (MEAN_BETS,) and (slopes == 0).all()


def test_a_bet_on_a_share_is_the_likelihood_of_the_share_it_assumes() -> None:
    hits, misses = share_bets(0.2, 0.25)
    for bet, shift in enumerate(SHIFTS):
        up, down = float(shifted(np.array(0.25), shift)), float(shifted(np.array(0.2), -shift))
        assert hits[bet] == pytest.approx(math.log(up / 0.25))
        assert misses[bet] == pytest.approx(math.log((1 - up) / 0.75))
        assert hits[bet + len(SHIFTS)] == pytest.approx(math.log(down / 0.2))
        assert misses[bet + len(SHIFTS)] == pytest.approx(math.log((1 - down) / 0.8))


@given(st.lists(st.lists(st.floats(-3, 3), min_size=2, max_size=2), min_size=1, max_size=30))
def test_the_recursion_is_that_of_the_book(ticks: list[list[float]]) -> None:
    logs, plain = np.full(2, NOTHING), np.zeros(2)
    assert log_evidence(logs, np.array([0.5, 0.5])) == NOTHING
    for log_e in ticks:
        logs, plain = ticked(logs, np.array(log_e)), np.exp(log_e) * (plain + 1)
        assert np.exp(logs) == pytest.approx(plain, rel=1e-9)
    assert log_evidence(logs, np.array([3.0, 1.0])) == pytest.approx(math.log((3 * plain[0] + plain[1]) / 4))


def test_evidence_beyond_what_a_float_holds_is_no_error() -> None:
    logs = ticked(np.full(2, NOTHING), np.array([5000.0, -5000.0]))
    assert log_evidence(ticked(logs, np.array([5000.0, -5000.0])), np.ones(2)) == pytest.approx(10_000 - math.log(2))


def test_what_is_bet_on_nothing_is_no_evidence() -> None:
    assert log_evidence(np.array([1.0, 2.0]), np.zeros(2)) == NOTHING


def test_an_alarm_is_as_rare_in_ticks_as_the_year_has() -> None:
    assert alarm_at(1.0, 10.0) == pytest.approx(365.25 * 8640)
    assert alarm_at(12.0, 10.0) == pytest.approx(alarm_at(1.0, 10.0) / 12)


@pytest.mark.parametrize(("p", "per_tick"), ((0.2, 1), (0.2, 50), (0.5, 7)))
def test_without_a_change_and_without_tolerance_alarms_are_as_many_as_ticks_by_a(p: float, per_tick: int) -> None:
    """The bound holds for the mean number of alarms where evidence begins anew after each; here A is small: 200."""
    rng, runs, ticks, a = np.random.default_rng(3), 400, 400, 200.0
    hits, misses = share_bets(p, p)
    logs, alarms = np.full((runs, SHARE_BETS), NOTHING), 0
    for _ in range(ticks):
        k = rng.binomial(per_tick, p, runs)
        logs = ticked(logs, log_e_shares(hits, misses, k, np.full(runs, per_tick)))
        over = np.exp(logs).mean(axis=1) >= a
        alarms += int(over.sum())
        logs[over] = NOTHING
    expected = runs * ticks / a
    assert alarms <= expected + 3 * math.sqrt(expected)
    assert alarms > expected / 50  # it is no bound by being blind


@given(shares, shares, st.integers(1, 10**6), st.floats(0, 3), st.floats(0, 3), st.floats(0, 0.5))
def test_limits_of_a_share_hold_it_and_grow_with_whatever_is_tolerated(
    one: float, other: float, n_rows: int, daily: float, logit: float, share: float
) -> None:
    least, most = min(one, other), max(one, other)
    low, high = share_limits(least, most, n_rows, daily, Tolerance(0.0, logit, share))
    assert 0 <= low <= least + 1e-12 and most - 1e-12 <= high <= 1
    wider_low, wider_high = share_limits(least, most, n_rows, daily + 1, Tolerance(0.0, logit, share))
    assert wider_low <= low and high <= wider_high
    if least > 0 and most < 1:
        assert logits(high) >= logits(most) + max(daily, logit) - 1e-6 or high == 1
    fewer = share_limits(least, most, max(n_rows // 2, 1), daily, Tolerance(0.0, logit, share))
    assert fewer[0] <= low + 1e-12 and high - 1e-12 <= fewer[1]


@given(shares, st.floats(0, 0.5), st.integers(1, 10**6), st.floats(0, 1), st.floats(0, 1))
def test_limits_of_a_mean_hold_it(mean: float, deviation: float, n_rows: int, daily: float, part: float) -> None:
    low, high = mean_limits(mean, deviation, n_rows, daily, Tolerance(part, 0.0, 0.0))
    assert 0 <= low <= mean <= high <= 1
    assert high == 1 or high - mean >= max(part * mean, daily, 3 * deviation / math.sqrt(n_rows)) - 1e-12


def test_a_share_that_was_never_seen_may_come_three_times_in_so_many_rows_and_a_little() -> None:
    low, high = share_limits(0.0, 0.0, 2000, 0.0, Tolerance(0.0, 0.0, 0.0))
    assert low == 0 and float(high) == pytest.approx(9 / 2009)
    low, high = share_limits(1.0, 1.0, 2000, 0.0, Tolerance(0.0, 0.0, 0.0))
    assert high == 1 and float(low) == pytest.approx(2000 / 2009)


def test_the_more_is_watched_the_more_standard_errors_are_tolerated() -> None:
    """So that nothing of a reference drawn from the same world lies beyond, in 99 of 100 references."""
    assert standard_errors(1) == 3.0
    assert 3.2 < standard_errors(20) < standard_errors(5000) < 5.0
    rng, n_rows, outside = np.random.default_rng(1), 2000, 0
    for _ in range(300):
        seen = rng.binomial(n_rows, 0.3, 500) / n_rows
        low, high = share_limits(seen, seen, n_rows, 0.0, Tolerance(0.0, 0.0, 0.0), standard_errors(500))
        outside += bool(((low > 0.3) | (high < 0.3)).any())
    assert outside <= 9


def test_stakes_lose_no_more_than_they_have() -> None:
    assert STAKES.min() > 0 and STAKES.max() < 1
