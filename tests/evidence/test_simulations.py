"""What the promises of a rollout are in numbers, short: `make evidence` is the long form, of the same simulations.

Seeds are fixed. `keeps_to` fails for a method whose error rate is exactly the promised one with a probability of 1 in
10,000; a method that does much worse is caught in as many runs as are made here.
"""

import numpy as np
import pytest
from lonely import alone, whole_ramp
from replaying import (
    BETTER,
    SAFE,
    WORSE,
    as_they_arrive,
    batches,
    behind_watermark,
    claims,
    equal_models,
    favourable_first,
    overpredicting,
)
from scipy.stats import binom
from simulating import (
    LONG_RAMP,
    RAMP,
    Entities,
    Floats,
    at_risk,
    crossings,
    heavy,
    mean_delay,
    misses,
    outside,
    ramp,
    requests,
    rollback,
    safe,
    some_always_fail,
    sticky,
    wald,
    worsening,
    zipf,
)

from scoreline.evidence.alone import harm_limits, safe_limits
from scoreline.evidence.likelihoods import log_e_often, log_e_rare
from scoreline.rollout.policy import WEIGHTS

ALPHA, ALPHA_ADVANCE = 0.01, 0.05
LOOKS, PER_LOOK = 1000, 100  # 100,000 requests at 100 a second, looked at every second


def keeps_to(rate: float, crossed: Floats) -> bool:
    happened = np.isfinite(crossed)
    return bool(binom.sf(happened.sum() - 1, len(happened), rate) > 1e-4)


def rng(*seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("realised", [False, True])
@pytest.mark.parametrize(("share", "rate"), [(0.001, 0.01), (0.01, 0.005), (0.1, 0.001), (0.5, 0.01)])
def test_a_canary_like_the_baseline_is_rarely_rolled_back(share: float, rate: float, realised: bool) -> None:
    looks = requests(rng(1), 500, LOOKS, PER_LOOK, lambda _: share, lambda _: (rate, rate), realised)
    assert keeps_to(ALPHA, crossings(looks, 500, rollback(), ALPHA))


@pytest.mark.parametrize("what", ["steady", "outage of both arms", "four times the rate midway"])
def test_nor_over_a_ramp_whatever_happens_to_both_arms(what: str) -> None:
    def rates(look: int) -> tuple[float, float]:
        worse = {"steady": 1.0, "outage of both arms": 40.0 if 500 <= look < 800 else 1.0}
        rate = 0.005 * worse.get(what, 1.0 if look < 500 else 4.0)
        return rate, rate

    looks = requests(rng(2), 500, LOOKS, PER_LOOK, ramp(LOOKS), rates)
    assert keeps_to(ALPHA, crossings(looks, 500, rollback(), ALPHA))


@pytest.mark.parametrize("ratio", [1.5, 1 / 1.5])
def test_tolerated_ratios_are_tolerated(ratio: float) -> None:
    """Latency with r0 = 1.5, and scores two-sided, at the edge of what is tolerated."""
    looks = list(requests(rng(3), 300, LOOKS, PER_LOOK, lambda _: 0.1, lambda _: (0.01 * ratio, 0.01)))
    assert keeps_to(ALPHA, crossings(looks, 300, rollback(1.5), ALPHA))
    assert keeps_to(ALPHA, crossings(looks, 300, outside(1.5), ALPHA))


def hard(seed: int) -> dict[str, Entities]:
    """Traffic on which counting requests would go wrong."""
    return {
        "Zipf(1.1)": zipf(10_000, 0.01),
        "5 % always fail": some_always_fail(10_000, 0.05, 0.002, rng(seed)),
        "five clients with 80 %": heavy(5, 2000, 0.8, 0.01, 0.01),
        "five of them never failing": heavy(5, 2000, 0.8, 0.0, 0.01),
        "one client that always fails": heavy(1, 2000, 0.1, 1.0, 0.0),
    }


@pytest.mark.parametrize("steps", [(0.1,), (0.5,), RAMP, LONG_RAMP], ids=str)
@pytest.mark.parametrize("traffic", hard(4))
def test_sticky_entities_roll_nothing_back_by_being_few_heavy_or_broken(traffic: str, steps: tuple[float, ...]) -> None:
    of = hard(4)[traffic]
    looks = sticky(lambda: of, 300, rng(5), steps)
    assert keeps_to(ALPHA, crossings(looks, 300, rollback(), ALPHA))


def test_the_simulation_sees_what_breaks_the_promise() -> None:
    """The realised share of those active, and entities counted anew in each step."""
    five = hard(6)["five of them never failing"]
    realised = at_risk(lambda: five, 40, 50_000, 10, rng(7), 0.1)
    assert np.isfinite(crossings(realised, 40, rollback(), ALPHA)).mean() > 0.1
    one = hard(6)["one client that always fails"]
    each_step = sticky(lambda: one, 500, rng(8), LONG_RAMP, at_least=100, per_step=True)
    assert np.isfinite(crossings(each_step, 500, rollback(), ALPHA)).mean() > 0.03


@pytest.mark.parametrize("share", [0.01, 0.5])
@pytest.mark.parametrize("p_b", [0.0025, 0.005])
def test_a_canary_at_r1_rarely_advances(share: float, p_b: float) -> None:
    """Twice the baseline's rate and at or above p_tol = 0.5 %."""
    looks = requests(rng(9), 500, 200, 5 * PER_LOOK, lambda _: share, lambda _: (2 * p_b, p_b))
    assert keeps_to(ALPHA_ADVANCE, crossings(looks, 500, safe(2, 0.005), ALPHA_ADVANCE, silent_too=True))


@pytest.mark.parametrize(("each", "spread"), [(1, 0.0), (10, 2.0), (200, 0.0), (200, 2.0)])
def test_nor_where_entities_come_again_and_again(each: int, spread: float) -> None:
    looks = worsening(100, 100_000 // each, each, 0.005, 2.0, 0.5, spread, 100, rng(10))
    assert keeps_to(ALPHA_ADVANCE, crossings(looks, 100, safe(2, 0.005), ALPHA_ADVANCE, silent_too=True))
    if each == 200:  # in the end nearly all have failed in both arms
        blind = crossings(looks, 100, safe(2, 0.005, at_sight=False), ALPHA_ADVANCE, silent_too=True)
        assert np.isfinite(blind).mean() > 0.5


def test_delays_are_near_what_cannot_be_bettered() -> None:
    """Mean requests to rollback over Wald's bound; the mean of 500 runs is within 5 % or so."""
    found = [
        mean_delay(rng(11), 500, share, p_b, ratio * p_b, ALPHA).mean() / wald(share, p_b, ratio * p_b, ALPHA)
        for share in (0.01, 0.1, 0.5)
        for p_b, ratio in ((0.01, 2), (0.01, 5), (0.001, 5), (0.01, 10))
    ]
    assert np.median(found) <= 1.25 * 1.05
    assert max(found) <= 1.41 * 1.05


def test_a_canary_of_one_per_cent_that_fails_at_two_is_rolled_back_within_100_of_its_requests() -> None:
    assert np.median(mean_delay(rng(12), 2000, 0.01, 0.0, 0.02, ALPHA)) * 0.01 <= 100


# What the ratio and the canary alone have of alpha, in the errors of a real rollout.
PARTS = WEIGHTS["errors"] * ALPHA, WEIGHTS["errors_alone"] * ALPHA


@pytest.mark.parametrize("rates", [(0.01,) * 4, (0.01, 0.01, 0.01, 0.02), (0.02, 0.01, 0.02, 0.03)], ids=str)
def test_nor_over_the_whole_ramp_where_the_rate_of_both_arms_doubles_at_its_end(rates: tuple[float, ...]) -> None:
    found = whole_ramp(rng(17), 300, 100, PER_LOOK, np.array(rates), PARTS, 2.0, 0.01)
    assert keeps_to(sum(PARTS), found)


def test_a_rate_that_grows_by_more_cannot_be_told_from_harm() -> None:
    found = whole_ramp(rng(18), 100, 100, PER_LOOK, np.array([0.01, 0.01, 0.01, 0.05]), PARTS, 2.0, 0.01)
    assert np.isfinite(found).mean() > 0.9


@pytest.mark.parametrize("p_b", [0.001, 0.02])
def test_a_canary_alone_at_r1_rarely_becomes_champion(p_b: float) -> None:
    n_b, runs = 20_000, 500
    limits = safe_limits(n_b, rng(19).binomial(n_b, p_b, runs), 2.0, 0.01, ALPHA_ADVANCE)
    rate = max(2 * p_b, 0.01)
    found = alone(rng(20), runs, 100, PER_LOOK, rate, lambda n, k, of: log_e_rare(n, k, limits[of]), ALPHA_ADVANCE)
    assert keeps_to(ALPHA_ADVANCE, found)


def test_a_canary_alone_that_fails_at_two_in_a_hundred_is_rolled_back_within_3000_of_its_requests() -> None:
    limits = harm_limits(50_000, np.zeros(200), 2.0, 0.01, PARTS[1])
    found = alone(rng(21), 200, 100, PER_LOOK, 0.02, lambda n, k, of: log_e_often(n, k, limits[of]), PARTS[1])
    assert np.median(found + 1) * PER_LOOK <= 3000


SHADOWS = {"equal": equal_models(0.05), "worse by delta": overpredicting(0.1)}
DELTA = 0.01
BATCHES, BATCH, LATE = 500, 100, 50


@pytest.mark.parametrize("models", SHADOWS)
def test_in_request_order_a_shadow_makes_no_false_claim_however_outcomes_come(models: str) -> None:
    """Behind the watermark outcomes are in the order of their requests, whatever their delays."""
    of = SHADOWS[models]
    counts = behind_watermark(batches(rng(13), 300, BATCHES, BATCH, of), LATE)
    false = (BETTER, WORSE) if models == "equal" else (BETTER, SAFE)
    for claim in false:
        assert keeps_to(ALPHA, claims(counts, of, DELTA, claim, ALPHA))
    assert of.mean == pytest.approx(0.0 if models == "equal" else -DELTA)


def test_in_the_order_of_arrival_it_would() -> None:
    for models, delays in (
        ("equal", favourable_first(SHADOWS["equal"], LATE)),
        ("worse by delta", np.repeat([LATE, 0], 4)),  # positives come at once
    ):
        of = SHADOWS[models]
        counts = as_they_arrive(batches(rng(14), 100, BATCHES, BATCH, of), delays)
        assert np.isfinite(claims(counts, of, DELTA, BETTER, ALPHA)).all()


@pytest.mark.parametrize(("off", "delta"), [(0.05, 0.002), (0.05, 0.001), (0.1, 0.005)])
def test_an_equal_model_is_safe_at_a_fair_cost(off: float, delta: float) -> None:
    of = equal_models(off)
    cost = 2 * np.log(1 / ALPHA) * of.variance / delta**2
    counts = batches(rng(15), 300, 800, int(cost / 100), of)
    taken = (claims(counts, of, delta, SAFE, ALPHA) + 1) * int(cost / 100)
    assert taken.mean() / cost <= 1.5


def test_the_interval_of_a_ratio_holds_the_true_one_at_all_looks() -> None:
    looks = list(requests(rng(16), 300, LOOKS, PER_LOOK, lambda _: 0.1, lambda _: (0.02, 0.01)))
    assert keeps_to(0.05, crossings(looks, 300, misses(2.0), 0.05 / 2))
