"""The canary alone by its laws: exact error rates counted out in full, and what no safety of before can hide."""

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from scoreline.evidence.alone import (
    MOST,
    Rate,
    harm_e,
    harm_limit,
    harm_limits,
    lower_rates,
    safe_e,
    safe_limit,
    safe_limits,
    upper_rates,
)
from scoreline.evidence.likelihoods import log_e_often, log_e_only_canary, log_e_rare
from scoreline.rollout.policy import WEIGHTS, Policy

R1, P_TOL = 2.0, 0.02
counts = st.integers(0, 10**6).flatmap(lambda n: st.builds(Rate, st.just(n), st.integers(0, n)))


def ever(n_units: int, rate: float, crosses: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> float:
    """The exact probability that units with an event each at this rate cross a limit, looked at after every one.

    `crosses` says by (n, k) whether it is crossed there.
    """
    alive, gone = np.array([1.0]), 0.0
    for n in range(1, n_units + 1):
        after = np.zeros(n + 1)
        after[:-1] += alive * (1 - rate)
        after[1:] += alive * rate
        over = crosses(np.full(n + 1, n), np.arange(n + 1))
        gone += float(after[over].sum())
        after[over] = 0.0
        alive = after
    return gone


@pytest.mark.parametrize("limit", [0.005, 0.05, 0.3, 0.5])
def test_often_at_the_rate_that_is_tested_and_below(limit: float) -> None:
    for n, p in itertools.product((1, 7, 60), (limit, limit / 1.3, limit / 3)):
        hits = np.arange(n + 1)
        mean = float(binom.pmf(hits, n, p) @ np.exp(log_e_often(n, hits, limit)))
        assert mean <= 1 + 1e-9
        assert p < limit or mean == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.4])
@pytest.mark.parametrize("alpha", [0.05, 0.3])
def test_bounds_of_a_rate_hold_at_all_looks(rate: float, alpha: float) -> None:
    assert ever(150, rate, lambda n, k: upper_rates(n, k, alpha) < rate) <= alpha
    assert ever(150, rate, lambda n, k: lower_rates(n, k, alpha) > rate) <= alpha


@pytest.mark.parametrize("p_b", [0.001, 0.01, 0.1, 0.2])
def test_no_harm_is_rolled_back_and_harm_advances_no_more_often_than_alpha(p_b: float) -> None:
    """Both arms counted out in full: what the champion showed, and each look at the canary after it."""
    alpha, before = 0.3, 60
    edge = max(P_TOL, R1 * p_b)
    k_b = np.arange(before + 1)
    chance = binom.pmf(k_b, before, p_b)
    harm, safe = harm_limits(before, k_b, R1, P_TOL, alpha), safe_limits(before, k_b, R1, P_TOL, alpha)
    wanted = math.log(2 / alpha)
    back = [ever(100, edge, lambda n, k, q=q: log_e_often(n, k, q) >= wanted) for q in harm]
    on = [ever(100, edge, lambda n, k, q=q: log_e_rare(n, k, q) >= wanted) for q in safe]
    assert float(chance @ back) <= alpha
    assert float(chance @ on) <= alpha


@given(st.integers(0, 1000), st.integers(0, 1000), st.floats(1e-6, 0.5), st.floats(1e-6, 0.5))
def test_a_higher_limit_is_never_more_evidence_of_harm(n: int, k: int, one: float, other: float) -> None:
    low, high = sorted((one, other))
    of = log_e_often(max(n, k), k, np.array([low, high]))
    assert of[1] <= of[0] + 1e-9


@given(counts, st.sampled_from((0.3, 0.01, 0.0006)))
def test_limits_are_on_their_sides_of_what_was_seen(before: Rate, alpha: float) -> None:
    seen = R1 * before.k / before.n if before.n else 0.0
    harm, safe = harm_limit(before, R1, P_TOL, alpha), safe_limit(before, R1, P_TOL, alpha)
    assert P_TOL <= safe <= harm <= MOST
    assert harm >= min(seen, MOST) * (1 - 1e-6)
    assert safe <= max(P_TOL, seen * (1 + 1e-6))


@given(counts, st.integers(60, 10**6))
def test_what_fails_every_unit_is_harm_and_not_safe_whatever_was_before(before: Rate, n: int) -> None:
    alpha = WEIGHTS["errors_alone"] * Policy().alpha_rollback
    assert harm_e(before, Rate(n, n), R1, P_TOL, alpha) >= 1 / alpha
    assert safe_e(before, Rate(n, n), R1, P_TOL, 0.05) < 1e-6


def test_nothing_seen_is_no_evidence() -> None:
    assert (upper_rates(0, 0, 0.01), lower_rates(0, 0, 0.01)) == (pytest.approx(1), pytest.approx(0, abs=1e-9))
    assert harm_limit(Rate(), R1, P_TOL, 0.01) == MOST
    assert safe_limit(Rate(), R1, P_TOL, 0.05) == P_TOL
    assert harm_e(Rate(), Rate(), R1, P_TOL, 0.01) == pytest.approx(0.5)
    assert safe_e(Rate(), Rate(), R1, P_TOL, 0.05) == pytest.approx(0.5)
    assert Rate(3, 1) + Rate(4, 2) == Rate(7, 3)


# Deaths of workers: betting that none is ever the champion's.


@pytest.mark.parametrize("shares", list(itertools.product((0.01, 0.1, 0.5, 1.0), repeat=4)))
def test_deaths_that_fall_on_the_arms_by_their_shares_have_a_mean_of_one(shares: tuple[float, ...]) -> None:
    drawn = np.array(shares)
    mean = 0.0
    for arms in itertools.product((0, 1), repeat=4):
        hit = np.array(arms)
        mean += float(np.prod(np.where(hit, drawn, 1 - drawn)) * np.exp(log_e_only_canary(hit, 1 - hit, drawn).sum()))
    assert mean == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize(("share", "enough"), [(0.01, 2), (0.1, 3), (0.2, 5), (0.5, 10)])
def test_how_many_deaths_roll_back_and_how_likely_that_is_by_chance(share: float, enough: int) -> None:
    part = WEIGHTS["deaths"] * Policy().alpha_rollback

    def rolls_back(k_c: int, k_b: int) -> bool:
        return float(log_e_only_canary(k_c, k_b, share)) >= math.log(1 / part)

    assert [rolls_back(k, 0) for k in (enough - 1, enough)] == [False, True]
    assert not rolls_back(1000, 1)
    assert share**enough <= part


def test_the_rules_share_the_promised_error_rate() -> None:
    assert sum(WEIGHTS.values()) == pytest.approx(1)
    assert all(weight > 0 for weight in WEIGHTS.values())
