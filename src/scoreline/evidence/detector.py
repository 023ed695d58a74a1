"""e-SR: has something changed since a reference, looked at for ever? A Shiryaev-Roberts detector made of e-values.

After Shin, Ramdas & Rinaldo, "E-detectors: a nonparametric framework for sequential change detection" (New England
Journal of Statistics in Data Science 2024). Each bet j has an e-value for each tick, whose mean is at most 1 as long as
nothing has changed, given all before; `M_j <- e_j (M_j + 1)`, and the alarm is where the weighted mean of M reaches A.
Without a change that mean is at most the number of ticks, so an alarm comes within T ticks with a probability of at
most T/A, and, if evidence begins anew after each, T/A times on average: whatever depends on whatever, without tuning.

What a tick says of a bet is ln e, and adds up over rows, workers and hosts in any order: of a share it is linear in
two counts, of a mean it is a sum over rows. Only the recursion has to be run in one place. Arrays are (..., bets).
"""

from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from scoreline.core.link import Floats
from scoreline.evidence.likelihoods import log_mean
from scoreline.evidence.tolerance import logits

YEAR_S: Final = 365.25 * 86_400
# How far in logits bets on a share assume it to have moved; first upwards, then downwards.
SHIFTS: Final[Floats] = np.array([0.1, 0.25, 0.5, 1.0, 2.0])
SHARE_BETS: Final = 2 * len(SHIFTS)
# Stakes on a mean, as parts of the largest that can lose no more than all; first upwards, then downwards.
STAKES: Final[Floats] = np.geomspace(0.01, 0.95, 12)
MEAN_BETS: Final = 2 * len(STAKES)
NOTHING: Final = -np.inf  # ln M before the first tick


def share_bets(low: ArrayLike, high: ArrayLike) -> tuple[Floats, Floats]:
    """ln e of a hit and of a miss against "the share lies between low and high": shapes (...) to (..., 10).

    Both are 0 where there is no such bet: nothing lies above a `high` of 1 or below a `low` of 0.
    """
    limits = np.stack([np.asarray(high, dtype=np.float64), np.asarray(low, dtype=np.float64)], axis=-1)
    is_bet = ((limits > 0) & (limits < 1))[..., None]
    limits = np.clip(limits, np.finfo(np.float64).tiny, 1 - np.finfo(np.float64).epsneg)[..., None]
    moved = logits(limits) + np.array([[1.0], [-1.0]]) * SHIFTS  # (..., up or down, shifts)
    hits = np.where(is_bet, -np.logaddexp(0.0, -moved) - np.log(limits), 0.0)
    misses = np.where(is_bet, -np.logaddexp(0.0, moved) - np.log1p(-limits), 0.0)
    shape = (*limits.shape[:-2], SHARE_BETS)
    return hits.reshape(shape), misses.reshape(shape)


def mean_bets(low: ArrayLike, high: ArrayLike) -> tuple[Floats, Floats]:
    """Slope and limit of bets against "the mean of x in [0, 1] lies between low and high": shapes (...) to (..., 24).

    The e-value of a row is 1 + slope (x - limit), which is above 0. A slope is 0 where there is no such bet.
    """
    upper, lower = (np.asarray(given, dtype=np.float64)[..., None] for given in (high, low))
    up = np.where((upper > 0) & (upper < 1), STAKES / np.maximum(upper, np.finfo(np.float64).tiny), 0.0)
    down = np.where((lower > 0) & (lower < 1), -STAKES / np.maximum(1 - lower, np.finfo(np.float64).epsneg), 0.0)
    limits = np.concatenate([np.broadcast_to(upper, up.shape), np.broadcast_to(lower, down.shape)], axis=-1)
    return np.concatenate([up, down], axis=-1), limits


def log_e_shares(hits: Floats, misses: Floats, k: ArrayLike, n: ArrayLike) -> Floats:
    """ln e of a tick with k hits of n: shapes (...) to (..., 10)."""
    found, whole = np.asarray(k, dtype=np.float64)[..., None], np.asarray(n, dtype=np.float64)[..., None]
    return found * hits + (whole - found) * misses


def log_e_means(slopes: Floats, limits: Floats, x: Floats) -> Floats:
    """ln e of rows with these numbers, each in [0, 1], added up: shape (n_rows, ...) to (..., 24)."""
    total: Floats = np.log1p(slopes * (x[..., None] - limits)).sum(axis=0)
    return total


def ticked(logs: Floats, log_e: Floats) -> Floats:
    """ln M after a tick: `M <- e (M + 1)`."""
    return log_e + np.logaddexp(logs, 0.0)


def log_evidence(logs: Floats, weights: Floats) -> float:
    """ln of the weighted mean of M; -inf before the first tick, and where nothing is bet on."""
    is_bet = weights > 0
    if not is_bet.any() or np.isneginf(logs[is_bet]).all():
        return NOTHING
    return float(log_mean(logs[is_bet], weights[is_bet]))


def alarm_at(false_alarms: float, tick_s: float) -> float:
    """A: what the evidence reaches falsely at most `false_alarms` times a year, at a tick every `tick_s` seconds."""
    return YEAR_S / tick_s / false_alarms
