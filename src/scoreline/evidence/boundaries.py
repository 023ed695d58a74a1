"""Uniform boundaries of sums, after Howard, Ramdas, McAuliffe & Sekhon, "Time-uniform, nonparametric, nonasymptotic
confidence sequences" (Annals of Statistics 2021): a sum S with clock V crosses `bound(V, alpha)`, ever, with
probability <= alpha. `v_opt` is the clock at which a boundary is tightest. It equals confseq's own constants.
"""

import math
from collections.abc import Callable
from typing import Final

_DOUBLINGS: Final = 50
_HALVINGS: Final = 100
_TERMS: Final = 100_000
_TINY: Final = 1e-300


def normal_rho(v_opt: float, alpha: float) -> float:
    """The width of a two-sided normal mixture that is tightest at v_opt; a one-sided one takes 2 alpha."""
    twice = 2 * math.log(1 / alpha)
    return v_opt / (twice + math.log(1 + twice))


def two_sided_normal_log_e(s: float, v: float, rho: float) -> float:
    return math.log(rho / (v + rho)) / 2 + s * s / (2 * (v + rho))


def one_sided_normal_log_e(s: float, v: float, rho: float) -> float:
    below = math.erfc(-s / math.sqrt(2 * (v + rho))) / 2
    return math.log(4 * rho / (v + rho)) / 2 + s * s / (2 * (v + rho)) + math.log(below)


def gamma_exponential_log_e(s: float, v: float, rho: float, c: float) -> float:
    """For sums that are sub-exponential with scale c; sums below what the mixture reaches get its upper bound there."""
    squared = c * c
    prior, shape, at = rho / squared, (v + rho) / squared, (c * s + v + rho) / squared
    constant = prior * math.log(prior) - math.lgamma(prior) - log_gamma_p(prior, prior)
    if at <= 0:
        return constant - prior - math.log(shape)
    return constant + math.lgamma(shape) + log_gamma_p(shape, at) - shape * math.log(at) + at - prior


def two_sided_normal_bound(v: float, alpha: float, v_opt: float) -> float:
    rho = normal_rho(v_opt, alpha)
    return math.sqrt((v + rho) * (math.log(1 + v / rho) + 2 * math.log(1 / alpha)))


def one_sided_normal_bound(v: float, alpha: float, v_opt: float) -> float:
    rho = normal_rho(v_opt, 2 * alpha)
    return _crossing(lambda s: one_sided_normal_log_e(s, v, rho), v, alpha)


def gamma_exponential_bound(v: float, alpha: float, v_opt: float, c: float) -> float:
    rho = normal_rho(v_opt, 2 * alpha)
    return _crossing(lambda s: gamma_exponential_log_e(s, v, rho, c), v, alpha)


def log_gamma_p(a: float, x: float) -> float:
    """ln P(a, x), the regularised lower incomplete gamma function; a, x > 0. By series, or Lentz's fraction of Q."""
    start = a * math.log(x) - x - math.lgamma(a)
    if x < a + 1:
        term = total = 1 / a
        for n in range(1, _TERMS):
            term *= x / (a + n)
            total += term
            if term < total * 1e-17:
                break
        return start + math.log(total)
    b = x + 1 - a
    c, d = 1 / _TINY, 1 / b
    h = d
    for n in range(1, _TERMS):
        a_n = -n * (n - a)
        b += 2
        d = 1 / (a_n * d + b or _TINY)
        c = b + a_n / c or _TINY
        h *= d * c
        if abs(d * c - 1) < 1e-16:
            break
    return math.log1p(-math.exp(start) * h)


def _crossing(log_e: Callable[[float], float], v: float, alpha: float) -> float:
    """The sum at which log_e, which rises, reaches ln(1/alpha)."""
    wanted, low, high = math.log(1 / alpha), 0.0, v
    for _ in range(_DOUBLINGS):
        if log_e(high) >= wanted:
            break
        high *= 2
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if log_e(middle) < wanted:
            low = middle
        else:
            high = middle
    return high
