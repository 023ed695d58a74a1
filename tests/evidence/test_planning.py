"""What a plan says beforehand is what rollouts take."""

import numpy as np
import pytest
from replaying import SAFE, batches, claims, equal_models
from simulating import crossings, mean_delay, requests, safe

from scoreline.evidence.likelihoods import log_e_rare
from scoreline.evidence.planning import (
    RATIO_PRICE,
    canary_units_to_rollback,
    canary_units_to_safe,
    clean_units_to_safe,
    duration_s,
    outcomes_to_safe,
)

ALPHA = 0.01


@pytest.mark.parametrize(("p_b", "p_c", "share"), [(0.01, 0.05, 0.01), (0.01, 0.05, 0.5), (0.0, 0.02, 0.01)])
def test_requests_to_rollback(p_b: float, p_c: float, share: float) -> None:
    planned = canary_units_to_rollback(p_b, p_c, share, ALPHA)
    taken = mean_delay(np.random.default_rng(1), 1000, share, p_b, p_c, ALPHA).mean() * share
    assert planned == pytest.approx(taken, rel=0.15)


def test_the_formula_is_that_of_the_likelihood() -> None:
    """ln(1/alpha) w / (w p_c ln r - mbar ln(1 + w (r - 1))), times what not knowing r costs."""
    w, p_b, p_c = 0.1, 0.01, 0.05
    r, mbar = p_c / p_b, w * p_c + (1 - w) * p_b
    wald = np.log(1 / ALPHA) * w / (w * p_c * np.log(r) - mbar * np.log(1 + w * (r - 1)))
    assert canary_units_to_rollback(p_b, p_c, w, ALPHA) == pytest.approx(RATIO_PRICE * wald)


def test_what_never_comes_is_none() -> None:
    assert canary_units_to_rollback(0.01, 0.01, 0.1, ALPHA) is None
    assert canary_units_to_rollback(0.01, 0.014, 0.1, ALPHA, r0=1.5) is None
    assert canary_units_to_rollback(0.01, 0.05, 1.0, ALPHA) is None
    assert canary_units_to_rollback(0.01, 0.05, 0.1, ALPHA, r0=64) is None
    assert canary_units_to_safe(0.01, 1.0, ALPHA, r1=2, p_tol=0.005) is None
    assert outcomes_to_safe(0.01, 0.0, ALPHA) is None
    assert duration_s(None, 20) is None
    assert duration_s(100, 0) is None


def test_a_clean_canary_is_safe_after_exactly_so_many() -> None:
    """The floor is ln(1/alpha) / -ln(1 - p_tol), 919 at 0.5 % and 1 %: a bet on no event at all, and nothing else."""
    assert np.log(100) / -np.log(1 - 0.005) == pytest.approx(919, abs=1)
    n = clean_units_to_safe(0.005, ALPHA)
    assert 919 < n < 1.3 * 919
    assert log_e_rare(n - 1, 0, 0.005) < np.log(2 / ALPHA) <= log_e_rare(n, 0, 0.005)
    assert canary_units_to_safe(0.0, 0.01, ALPHA, r1=2, p_tol=0.005) == n


@pytest.mark.parametrize(("p", "share"), [(0.001, 0.01), (0.01, 0.1), (0.01, 0.5)])
def test_requests_to_safe(p: float, share: float) -> None:
    planned = canary_units_to_safe(p, share, 0.05, r1=2, p_tol=0.005)
    assert planned is not None
    per_look = int(planned / share / 100)
    looks = requests(np.random.default_rng(2), 300, 1000, per_look, lambda _: share, lambda _: (p, p))
    taken = (crossings(looks, 300, safe(2, 0.005), 0.05, silent_too=True) + 1) * per_look * share
    assert planned == pytest.approx(taken.mean(), rel=0.3)


@pytest.mark.parametrize(("off", "delta"), [(0.05, 0.002), (0.1, 0.005), (0.02, 0.001)])
def test_outcomes_to_safe(off: float, delta: float) -> None:
    of = equal_models(off)
    planned = outcomes_to_safe(of.variance, delta, ALPHA)
    assert planned is not None
    per_look = int(planned / 100)
    counts = batches(np.random.default_rng(3), 300, 1000, per_look, of)
    taken = (claims(counts, of, delta, SAFE, ALPHA) + 1) * per_look
    assert planned == pytest.approx(taken.mean(), rel=0.3)


def test_a_duration_is_of_the_traffic_the_canary_gets() -> None:
    assert duration_s(919, 20, share=0.01) == pytest.approx(77 * 60, rel=0.01)
