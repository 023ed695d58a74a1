"""What counts say of each ratio of a fixed grid, and the e-values mixed from that. Vectorised over any leading axes.

`logs` of shape (..., 63): the log likelihood of each of RATIOS against a ratio of 1. Bets are on how far a ratio lies
beyond the limit that is tested, t = |ln(r / limit)|, with density t exp(-t): most on ratios of 2 to 5 times it. Chosen
from a family of densities by exact computation of the delay: median 1.23 times Wald's bound, where a flat one has 1.31.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike

from scoreline.core.link import Floats

_ABOVE: Final = (
    1.05, 1.1, 1.15, 1.2, 1.25, 1.3, 1.4, 1.5, 1.6, 1.8, 2, 2.25, 2.5, 2.75, 3, 3.5,
    4, 5, 6, 7, 8, 10, 12, 15, 20, 25, 30, 40, 50, 64, 100,
)  # fmt: skip
# About evenly spaced in their logarithm and round: limits people set are among them.
RATIOS: Final[Floats] = np.array([*(1 / ratio for ratio in reversed(_ABOVE)), 1.0, *_ABOVE])
_LOGS: Final[Floats] = np.log(RATIOS)
_WIDTHS: Final[Floats] = np.gradient(_LOGS)
# Rates the absolute claim bets on, as parts of the tolerated rate, and the weights of these bets.
_PARTS: Final[Floats] = np.array([0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8])
_PART_WEIGHTS: Final[Floats] = np.array([0.46, *[0.06] * 9])
_ONE: Final = len(_ABOVE)  # where RATIOS is 1
_LARGEST_LOG: Final = 690.0  # e-values beyond e^690 are given as that: they stay numbers, in JSON too


def log_likelihoods(k_c: ArrayLike, m: ArrayLike, share: ArrayLike) -> Floats:
    """Of m events, k_c of them the canary's, where its share of the units is `share`: shapes (...) to (..., 63).

    A share of 0 or 1 says nothing of the ratio.
    """
    k, events, w = (np.asarray(given, dtype=np.float64)[..., None] for given in (k_c, m, share))
    logs: Floats = k * _LOGS - events * np.log1p(w * (RATIOS - 1))
    return np.where((w > 0) & (w < 1), logs, 0.0)


def log_e_above(logs: Floats, r0: float) -> Floats:
    """Against "the ratio is at most r0", shape (...). An r0 beside RATIOS is tested as the next above."""
    at = int(np.searchsorted(RATIOS, r0, side="left"))
    return _mixed(logs, at, slice(at + 1, None)) if at < len(RATIOS) - 1 else np.full(logs.shape[:-1], -np.inf)


def log_e_below(logs: Floats, r1: float) -> Floats:
    """Against "the ratio is at least r1", shape (...). An r1 beside RATIOS is tested as the next below."""
    at = int(np.searchsorted(RATIOS, r1, side="right")) - 1
    return _mixed(logs, at, slice(0, at)) if at > 0 else np.full(logs.shape[:-1], -np.inf)


def log_e_rare(n: ArrayLike, k: ArrayLike, p_tol: ArrayLike) -> Floats:
    """Against "at least p_tol of the units have an event", of n units k with one; p_tol in (0, 1)."""
    hits, clean = _hits_and_clean(n, k)
    rate = np.asarray(p_tol, dtype=np.float64)[..., None]
    log_parts = np.log(np.maximum(_PARTS, np.finfo(np.float64).tiny))  # a rate of 0 is all but refuted by one event
    return log_mean(hits * log_parts + clean * (np.log1p(-_PARTS * rate) - np.log1p(-rate)), _PART_WEIGHTS)


def log_e_often(n: ArrayLike, k: ArrayLike, limit: ArrayLike) -> Floats:
    """Against "at most `limit` of the units have an event", of n units k with one; limit in (0, 1).

    Bets on multiples of the limit, as those on ratios; a bet that came near a rate of 1 stops halfway there. It falls
    as the limit rises.
    """
    hits, clean = _hits_and_clean(n, k)
    rate = np.asarray(limit, dtype=np.float64)[..., None]
    bets = np.minimum(rate * RATIOS[_ONE + 1 :], (1 + rate) / 2)
    logs = hits * (np.log(bets) - np.log(rate)) + clean * (np.log1p(-bets) - np.log1p(-rate))
    return log_mean(logs, _bet_weights(_ONE, slice(_ONE + 1, None)))


def log_e_only_canary(k_c: ArrayLike, k_b: ArrayLike, share: ArrayLike) -> Floats:
    """Against "the ratio is at most 1", betting that no event is ever the baseline's: the limit of L for r to infinity.

    Shapes (...): of each window, to be added up. One event of the baseline refutes it for good.
    """
    canary, baseline, w = (np.asarray(given, dtype=np.float64) for given in (k_c, k_b, share))
    return np.where(baseline > 0, -np.inf, -canary * np.log(np.where(w > 0, w, 1.0)))


def log_mean(logs: Floats, weights: Floats) -> Floats:
    """ln of the weighted mean of exp(logs) over the last axis."""
    top = logs.max(axis=-1, keepdims=True)
    mean: Floats = np.log(np.exp(logs - top) @ (weights / weights.sum())) + top[..., 0]
    return mean


def e_value(log_e: Any) -> float:
    return float(np.exp(np.minimum(log_e, _LARGEST_LOG)))


def _mixed(logs: Floats, at: int, others: slice) -> Floats:
    return log_mean(logs[..., others] - logs[..., at : at + 1], _bet_weights(at, others))


def _bet_weights(at: int, others: slice) -> Floats:
    away = np.abs(_LOGS[others] - _LOGS[at])
    weights: Floats = away * np.exp(-away) * _WIDTHS[others]
    return weights


def _hits_and_clean(n: ArrayLike, k: ArrayLike) -> tuple[Floats, Floats]:
    hits = np.asarray(k, dtype=np.float64)[..., None]
    return hits, np.maximum(np.asarray(n, dtype=np.float64)[..., None] - hits, 0)
