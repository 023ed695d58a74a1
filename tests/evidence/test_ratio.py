"""RatioE by its laws: sums in any order, arms swapped, small nulls counted out in full."""

import itertools
import math
import random
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom
from simulating import LONG_RAMP, RAMP

from scoreline.evidence.likelihoods import RATIOS, log_e_above, log_e_below
from scoreline.evidence.ratio import RatioE, combined

counts = st.integers(0, 40)
shares = st.sampled_from([None, 0.001, 0.01, 0.1, 0.5, 0.9])


@st.composite
def windows(draw: st.DrawFn) -> tuple[int, int, int, int]:
    n_c, n_b = draw(counts), draw(counts)
    return n_c, n_b, draw(st.integers(0, n_c)), draw(st.integers(0, n_b))


def told(many: list[tuple[int, int, int, int]], share: float | None = None) -> RatioE:
    return RatioE().add(*np.array(many, dtype=int).reshape(-1, 4).T, share=share)


def es(evidence: RatioE) -> list[float]:
    return [
        evidence.rollback_e(),
        evidence.rollback_e(1.5),
        evidence.ratio_down_e(2),
        evidence.absolute_e(0.005),
        evidence.safe_e(2, 0.005),
        evidence.outside_e(1.25),
        evidence.inside_e(1.25),
    ]


def logs(evidence: RatioE) -> np.ndarray:
    return np.log(es(evidence))


def test_nothing_seen_is_no_evidence() -> None:
    assert es(RatioE()) == pytest.approx([1.0] * 7, abs=1e-12)
    assert RatioE().interval(0.05) == (0.0, math.inf)
    assert es(RatioE().add([], [], [], [])) == es(RatioE())


@given(st.lists(windows(), max_size=12), shares, st.randoms())
def test_evidence_does_not_depend_on_order_or_grouping(many: list, share: float | None, chance: random.Random) -> None:
    together = told(many, share)
    chance.shuffle(many)
    at = chance.randint(0, len(many))
    apart = told(many[:at], share) + told(many[at:], share)
    one_by_one = sum((told([window], share) for window in many), RatioE())
    assert np.abs(logs(together) - logs(apart)).max() <= 1e-9
    assert np.abs(logs(together) - logs(one_by_one)).max() <= 1e-9
    assert (together.n_c, together.n_b, together.k_c, together.k_b) == (apart.n_c, apart.n_b, apart.k_c, apart.k_b)


@given(st.lists(windows(), max_size=12), st.sampled_from([None, 0.01, 0.5]))
def test_arms_swapped_is_the_ratio_turned_over(many: list, share: float | None) -> None:
    swapped = told([(n_b, n_c, k_b, k_c) for n_c, n_b, k_c, k_b in many], None if share is None else 1 - share)
    for ratio in (1.0, 1.5, 2.0):
        assert math.log(swapped.rollback_e(ratio)) == pytest.approx(
            math.log(told(many, share).ratio_down_e(1 / ratio)), abs=1e-9
        )
    low, high = told(many, share).interval(0.05)
    found_low, found_high = swapped.interval(0.05)
    assert (found_low, found_high) == pytest.approx((1 / high, 1 / low if low else math.inf))


@given(windows(), st.lists(windows(), max_size=5))
def test_windows_without_events_or_with_one_arm_change_no_ratio(window: tuple, many: list) -> None:
    before = told(many)
    n_c, n_b, k_c, k_b = window
    for silent in ((n_c, n_b, 0, 0), (n_c, 0, k_c, 0), (0, n_b, 0, k_b)):
        after = before.add(*silent)
        assert after.rollback_e() == pytest.approx(before.rollback_e(), rel=1e-12)
        assert after.interval(0.05) == before.interval(0.05)


@pytest.mark.parametrize("share", [None, 0.01])
def test_64_workers_in_any_order_differ_by_less_than_1e_9(share: float | None) -> None:
    rng = np.random.default_rng(64)
    n_c = rng.binomial(2000, 0.01, (64, 500))
    n = np.stack([n_c, 2000 - n_c])
    k = rng.binomial(n, 0.02)
    workers = [RatioE().add(*n[:, at], *k[:, at], share=share) for at in range(64)]
    whole = RatioE().add(*n.reshape(2, -1), *k.reshape(2, -1), share=share)
    assert whole.k_c > 10_000
    for _ in range(20):
        merged = sum((workers[at] for at in rng.permutation(64)), RatioE())
        for log_e, limit in itertools.product((log_e_above, log_e_below), (0.5, 1.0, 1.5, 2.0)):
            assert abs(log_e(merged.logs, limit) - log_e(whole.logs, limit)) <= 1e-9


def test_what_one_event_says_is_the_likelihood() -> None:
    evidence = RatioE().add(10, 90, 1, 0, share=0.1)
    at = RATIOS.tolist().index(2)
    assert evidence.logs[at] == pytest.approx(math.log(2 / 1.1))
    assert RatioE().add(10, 90, 1, 0).logs == pytest.approx(evidence.logs)
    assert RatioE().add_sticky(1, 1, 0, share=0.1, late_c=0, late_b=0).logs == pytest.approx(evidence.logs)


# Nulls counted out in full: the mean of each e-value, over all that can happen, is at most 1.

EXACT = 1 + 1e-9


def mean_e(outcomes: Iterator[tuple[float, RatioE]]) -> dict[str, float]:
    found = [(p, evidence.rollback_e(), evidence.ratio_down_e(1.0)) for p, evidence in outcomes]
    return {"up": sum(p * up for p, up, _ in found), "down": sum(p * down for p, _, down in found)}


def hypergeometric(n_c: int, n_b: int, m: int) -> Iterator[tuple[float, int]]:
    for k in range(max(0, m - n_b), min(m, n_c) + 1):
        yield math.comb(n_c, k) * math.comb(n_b, m - k) / math.comb(n_c + n_b, m), k


def test_realised_shares_given_the_exposures_of_new_units() -> None:
    small = [(n_c, n_b, m) for n_c in range(5) for n_b in range(5) for m in range(n_c + n_b + 1)]
    for n_c, n_b, m in small:
        one = ((p, RatioE().add(n_c, n_b, k, m - k)) for p, k in hypergeometric(n_c, n_b, m))
        assert max(mean_e(one).values()) <= EXACT
    for first, second in itertools.product(((1, 4, 2), (3, 3, 3), (4, 1, 1)), small):
        two = (
            (p * q, RatioE().add([first[0], second[0]], [first[1], second[1]], [k, h], [first[2] - k, second[2] - h]))
            for p, k in hypergeometric(*first)
            for q, h in hypergeometric(*second)
        )
        assert max(mean_e(two).values()) <= EXACT


@pytest.mark.parametrize("ratio", [0.5, 1.0, 1.5, 4.0])
def test_drawn_shares_at_the_ratio_that_is_tested(ratio: float) -> None:
    for shares in itertools.product((0.001, 0.1, 0.5), repeat=3):
        up = down = 0.0
        for arms in itertools.product((0, 1), repeat=3):
            hit = np.array(arms)
            evidence = RatioE().add(hit, 1 - hit, hit, 1 - hit, share=np.array(shares))
            canary = np.array(shares) * ratio / (1 + np.array(shares) * (ratio - 1))
            p = float(np.prod(np.where(hit, canary, 1 - canary)))
            up += p * evidence.rollback_e(ratio)
            down += p * evidence.ratio_down_e(ratio)
        assert up == pytest.approx(1, abs=1e-9)
        assert down == pytest.approx(1, abs=1e-9)


def intervals(steps: tuple[float, ...]) -> list[tuple[float, float]]:
    """Where a unit's hash may lie: how probable, and one such place."""
    edges = [0.0, *steps, 1.0]
    return [(high - low, (low + high) / 2) for low, high in itertools.pairwise(edges)]


def test_sticky_units_over_a_ramp_whenever_their_first_event_comes() -> None:
    """All hashes of three units, all steps in which each may have its first event."""
    for steps in itertools.product(RAMP, repeat=3):
        total = 0.0
        for places in itertools.product(intervals(RAMP), repeat=3):
            hit = np.array([drawn < share for (_, drawn), share in zip(places, steps, strict=True)]).astype(int)
            evidence = RatioE().add_sticky(hit, hit, 1 - hit, share=np.array(steps), late_c=0, late_b=0)
            total += math.prod(p for p, _ in places) * evidence.rollback_e()
        assert total == pytest.approx(1, abs=1e-9)


def test_why_a_sticky_unit_counts_once_in_a_rollout_and_not_in_each_step() -> None:
    mean = 0.0
    for p, drawn in intervals(LONG_RAMP):
        hit = np.array([drawn < share for share in LONG_RAMP]).astype(int)
        mean += p * RatioE().add_sticky(0, hit, 1 - hit, share=np.array(LONG_RAMP), late_c=0, late_b=0).rollback_e()
    assert mean > 100, "one client that always fails would be mistaken for a bad canary"


def test_why_the_realised_share_is_not_for_sticky_units() -> None:
    """One unit never fails and is there in each of ten windows; ten others are there once and fail."""
    mean = 0.0
    for heavy, n_hits in itertools.product((0, 1), range(11)):
        k = np.repeat([1, 0], [n_hits, 10 - n_hits])
        evidence = RatioE().add(heavy + k, (1 - heavy) + (1 - k), k, 1 - k)
        mean += 0.5 * float(binom.pmf(n_hits, 10, 0.5)) * evidence.rollback_e()
    assert mean > 2


@pytest.mark.parametrize("p_tol", [0.005, 0.05, 0.3])
def test_rare_events_at_the_rate_that_is_tested_and_above(p_tol: float) -> None:
    for n, p in itertools.product((1, 7, 60), (p_tol, 1.3 * p_tol, 3 * p_tol)):
        mean = sum(float(binom.pmf(k, n, p)) * RatioE().add(n, 0, k, 0).absolute_e(p_tol) for k in range(n + 1))
        assert mean <= EXACT
        assert p > p_tol or mean == pytest.approx(1, abs=1e-9)


# What the claims mean.


def test_a_worse_canary_is_not_safe_and_a_clean_one_is() -> None:
    worse = RatioE().add(1000, 9000, 50, 90, share=0.1)
    assert worse.rollback_e() > 100
    assert worse.safe_e(2, 0.005) < 1
    low, high = worse.interval(0.05)
    assert 1 < low < 5 < high
    clean = RatioE().add(2000, 18_000, 0, 0, share=0.1)
    assert clean.safe_e(2, 0.005) > 20
    assert clean.rollback_e() == pytest.approx(1)
    assert clean.interval(0.05) == (0.0, math.inf), "no event, no ratio"


def test_scores_may_move_neither_way() -> None:
    for ratio in (0.5, 2.0):
        moved = RatioE().add(4000, 4000, int(400 * ratio), 400, share=0.5)
        assert moved.outside_e(1.25) > 100
        assert moved.inside_e(1.25) < 1
    still = RatioE().add(40_000, 40_000, 4000, 4000, share=0.5)
    assert still.inside_e(1.25) > 100
    assert still.outside_e(1.25) < 1


def test_limits_beside_the_grid_are_taken_as_the_stricter_neighbour() -> None:
    evidence = RatioE().add(1000, 9000, 30, 90, share=0.1)
    assert evidence.rollback_e(1.45) == evidence.rollback_e(1.5)
    assert evidence.ratio_down_e(7.5) == evidence.ratio_down_e(7)
    assert evidence.rollback_e(1000) == evidence.ratio_down_e(0.001) == 0.0


def test_events_of_units_seen_before_do_not_make_a_canary_safe() -> None:
    """In both arms all units have failed in the end: that hides how much sooner the canary's did."""
    seen = RatioE().add_sticky(1000, 1000, 1000, share=0.5, late_c=0, late_b=0)
    late = RatioE().add_sticky(1000, 1000, 1000, share=0.5, late_c=950, late_b=950)
    assert seen.ratio_down_e(2) > 1e6
    assert 1 < late.ratio_down_e(2) < 1e6
    assert RatioE().add_sticky(9, 9, 9, share=0.5, late_c=9, late_b=9).ratio_down_e(2) <= 1 + 1e-12
    worse_later = RatioE().add_sticky(1000, 800, 400, share=0.5, late_c=600, late_b=200)
    assert worse_later.ratio_down_e(2) < 1, "what comes late speaks against it all the same"


def test_e_values_stay_numbers() -> None:
    huge = RatioE().add(10**6, 10**6, 10**6, 0, share=0.5)
    assert 1e299 < huge.rollback_e() < math.inf
    assert huge.safe_e(2, 0.005) == 0.0
    assert RatioE().add(10**9, 0, 0, 0).absolute_e(0.005) < math.inf


def test_classes_together_name_the_one_that_leads() -> None:
    found = combined({"errors": 150.0, "slow": 8.0, "overruns": 1.0})
    assert (found.e, found.leading) == (pytest.approx(50), "errors")
    found = combined({"errors": 150.0, "slow": 800.0}, {"errors": 0.9, "slow": 0.1})
    assert (found.e, found.leading) == (pytest.approx(135), "errors")
    assert combined({}).e == 1.0
