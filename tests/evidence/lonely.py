"""Rollouts simulated through 100 %, where no champion is beside the canary; by the formulas that decide real ones."""

from collections.abc import Callable, Iterator

import numpy as np
from simulating import Floats, Ints, Look, Rng, crossings, ramp, requests, rollback

from scoreline.evidence.alone import harm_limits
from scoreline.evidence.likelihoods import log_e_often

LogE = Callable[[int, Floats, Ints], Floats]


def whole_ramp(
    rng: Rng, runs: int, looks: int, per_look: int, rates: Floats, weights: tuple[float, float], r1: float, p_tol: float
) -> Floats:
    """When each of identical arms is rolled back over 1 -> 10 -> 50 -> 100 %, the last without a champion beside it.

    `looks` at each step, whose error rates, of both arms, are the four `rates`; `weights`: what of alpha the ratio and
    the canary alone have. Looks are counted over all steps.
    """
    n_b, k_b = np.zeros(runs), np.zeros(runs)

    def both(number: int) -> tuple[float, float]:
        return rates[number // looks], rates[number // looks]

    def beside() -> Iterator[Look]:
        for look in requests(rng, runs, 3 * looks, per_look, ramp(3 * looks), both):
            n_b[:], k_b[:] = n_b + look.n_b, k_b + look.k_b
            yield look

    by_ratio = crossings(beside(), runs, rollback(), weights[0])
    limits = harm_limits(n_b, k_b, r1, p_tol, weights[1])
    by_rate = alone(rng, runs, looks, per_look, rates[3], lambda n, k, of: log_e_often(n, k, limits[of]), weights[1])
    return np.minimum(by_ratio, 3 * looks + by_rate)


def alone(rng: Rng, runs: int, looks: int, per_look: int, rate: float, log_e: LogE, alpha: float) -> Floats:
    """The look at which the e-value of each canary alone first reaches 2/alpha (the other half is the limit's).

    `log_e` of n units, k of them with an event, of those runs.
    """
    found, k = np.full(runs, np.inf), np.zeros(runs)
    for number in range(looks):
        going = np.flatnonzero(np.isinf(found))
        if not len(going):
            break
        k[going] += rng.binomial(per_look, rate, len(going))
        over = log_e((number + 1) * per_look, k[going], going) >= np.log(2 / alpha)
        found[going[over]] = number
    return found
