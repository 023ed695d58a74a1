"""The canary alone: how often an event happens once it answers everything, where no baseline is beside it any more.

What is left to hold it against is the champion's rate of the steps before, and the rate that is tolerated anyway. Both
are counted alike: a unit counts when it is first seen (the champion's: in the rollout, the canary's: in this step), be
it with an event or without one, so it does not matter how long a step lasts or how often a unit comes.

Of the champion's rate two bounds are taken that hold at all times, an upper one to roll back and a lower one to
advance, each for one half of alpha; the e-value takes the other half, so it is halved. What nobody can tell is a canary
that does harm from a time in which the champion would fail as often: up to `r1` times its rate is taken for that.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Self

import numpy as np
from numpy.typing import ArrayLike

from scoreline.core.link import Floats
from scoreline.evidence.likelihoods import e_value, log_e_often, log_e_rare

MOST: Final = 0.5  # of units with an event is harm, whatever the champion's rate
_HALVINGS: Final = 32  # of 12 powers of ten: to eight digits
_LEAST: Final = 1e-12


@dataclass(frozen=True, slots=True)
class Rate:
    """Units seen (n) and those of them with an event (k); `a + b` merges, in any order."""

    n: int = 0
    k: int = 0

    def __add__(self, other: Self) -> Self:
        return type(self)(self.n + other.n, self.k + other.k)


@lru_cache(maxsize=256)  # what was before stays as it is
def harm_limit(before: Rate, r1: float, p_tol: float, alpha: float) -> float:
    """The rate above which the canary alone does harm: p_tol, or r1 times the most the champion's can be."""
    return float(harm_limits(before.n, before.k, r1, p_tol, alpha))


def harm_e(before: Rate, now: Rate, r1: float, p_tol: float, alpha: float) -> float:
    """Against "the canary's rate is at most p_tol, or less than r1 times the champion's": roll back at 1/alpha.

    The champion's counts may still grow: the e-value falls as the limit rises, so it stays below the one of the true
    limit at all times.
    """
    return e_value(log_e_often(now.n, now.k, harm_limit(before, r1, p_tol, alpha)) - np.log(2))


def safe_e(before: Rate, now: Rate, r1: float, p_tol: float, alpha: float) -> float:
    """Against "the canary's rate is at least p_tol, and at least r1 times the champion's": advance at 1/alpha."""
    return e_value(log_e_rare(now.n, now.k, safe_limit(before, r1, p_tol, alpha)) - np.log(2))


@lru_cache(maxsize=256)
def safe_limit(before: Rate, r1: float, p_tol: float, alpha: float) -> float:
    """The rate below which the canary alone has to be: p_tol, or r1 times the least the champion's can be."""
    return float(safe_limits(before.n, before.k, r1, p_tol, alpha))


def harm_limits(n: ArrayLike, k: ArrayLike, r1: float, p_tol: float, alpha: float) -> Floats:
    """`harm_limit` of many at once: n units of the champion, k with an event."""
    return np.minimum(np.maximum(r1 * upper_rates(n, k, alpha / 2), p_tol), MOST)


def safe_limits(n: ArrayLike, k: ArrayLike, r1: float, p_tol: float, alpha: float) -> Floats:
    """`safe_limit` of many at once."""
    return np.minimum(np.maximum(r1 * lower_rates(n, k, alpha / 2), p_tol), MOST)


def upper_rates(n: ArrayLike, k: ArrayLike, alpha: float) -> Floats:
    """What the rate of n units, k with an event, is below at all times with probability >= 1 - alpha; 1: not known."""
    return _bound(n, k, lambda rate: log_e_rare(n, k, rate) < np.log(1 / alpha))[1]


def lower_rates(n: ArrayLike, k: ArrayLike, alpha: float) -> Floats:
    """What the rate is above at all times with probability >= 1 - alpha; 0: not known."""
    return _bound(n, k, lambda rate: log_e_often(n, k, rate) >= np.log(1 / alpha))[0]


def _bound(n: ArrayLike, k: ArrayLike, is_above: Callable[[Floats], Floats]) -> tuple[Floats, Floats]:
    """The rate up to which `is_above` holds, between these two; of shape (...) as n and k."""
    shape = np.broadcast_shapes(np.shape(n), np.shape(k))
    low, high = np.full(shape, _LEAST), np.full(shape, 1 - _LEAST)
    for _ in range(_HALVINGS):
        middle = np.sqrt(low * high)
        above = is_above(middle)
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return low, high
