"""Tolerances: how far a mean or a share may lie from its reference and still count as no change.

A reference is a sample, and no two days are alike. Without a tolerance a reference of 2,000 rows would give a false
alarm for sure: what is tested is not "the same as the reference" but "within these limits".
"""

from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from scoreline.core.link import Floats

ERRORS: Final = 3.0  # standard errors of the reference that are tolerated in any case
CHANCE: Final = 0.01  # that of all that is watched anything lies further from its reference, where nothing has changed


@dataclass(frozen=True, slots=True)
class Tolerance:
    """What is tolerated at least: `mean` as a part of the mean, `logit` of a share, `share` in parts of 1.

    `share` is for what is rare: from 0.01 % to 1 % is far in logits, and near for people.
    """

    mean: float = 0.2
    logit: float = 0.2
    share: float = 0.01


def standard_errors(n_limits: int) -> float:
    """How many are tolerated where so many shares and means are watched: of 5,000 at three, a dozen would be off."""
    return max(ERRORS, NormalDist().inv_cdf(1 - CHANCE / (2 * max(n_limits, 1))))


def share_limits(
    least: ArrayLike,
    most: ArrayLike,
    n_rows: ArrayLike,
    daily: ArrayLike,
    tolerance: Tolerance,
    errors: float = ERRORS,
) -> tuple[Floats, Floats]:
    """Between which a share is no change; 0 and 1 are no limits. Of any shape (...).

    The reference's share lies between `least` and `most` (the same where it is known exactly), seen in `n_rows` rows;
    `daily` is how far in logits its days lie from it. The widest counts: tolerance, days, or Wilson's interval
    ("Probable inference", Journal of the American Statistical Association 1927) at so many standard errors.
    """
    low, high = np.asarray(least, dtype=np.float64), np.asarray(most, dtype=np.float64)
    away = np.maximum(tolerance.logit, daily)
    n = np.maximum(np.asarray(n_rows, dtype=np.float64), 1.0)
    lower = np.minimum.reduce([_wilson(low, n, -errors), shifted(low, -away), low - tolerance.share])
    upper = np.maximum.reduce([_wilson(high, n, errors), shifted(high, away), high + tolerance.share])
    return np.clip(lower, 0.0, 1.0), np.clip(upper, 0.0, 1.0)


def mean_limits(
    mean: ArrayLike,
    deviation: ArrayLike,
    n_rows: ArrayLike,
    daily: ArrayLike,
    tolerance: Tolerance,
    errors: float = ERRORS,
) -> tuple[Floats, Floats]:
    """Between which the mean of numbers in [0, 1] is no change; 0 and 1 are no limits. Of any shape (...).

    `daily` is how far its days lie from it. The widest counts: tolerance, days, or so many standard errors.
    """
    middle = np.asarray(mean, dtype=np.float64)
    unsure = errors * np.asarray(deviation, dtype=np.float64) / np.sqrt(np.maximum(n_rows, 1.0))
    away = np.maximum.reduce([tolerance.mean * middle, np.broadcast_to(daily, middle.shape), unsure])
    return np.clip(middle - away, 0.0, 1.0), np.clip(middle + away, 0.0, 1.0)


def logits(shares: ArrayLike) -> Floats:
    """ln(p / (1 - p)); of 0 and 1 what is next to them in float64."""
    inside = np.clip(np.asarray(shares, dtype=np.float64), np.finfo(np.float64).tiny, 1 - np.finfo(np.float64).epsneg)
    return np.log(inside) - np.log1p(-inside)


def shifted(shares: Floats, logit: ArrayLike) -> Floats:
    """Shares moved by so many logits; 0 and 1 stay."""
    moved = np.exp(-np.logaddexp(0.0, -(logits(shares) + np.asarray(logit, dtype=np.float64))))
    return np.where((shares > 0) & (shares < 1), moved, shares)


def _wilson(shares: Floats, n: Floats, z: float) -> Floats:
    """The end of the interval that lies z standard errors away, up or down."""
    half = z * np.sqrt(shares * (1 - shares) / n + z * z / (4 * n * n))
    end: Floats = (shares + z * z / (2 * n) + half) / (1 + z * z / n)
    return np.where(shares == (z > 0), shares, end)  # of 0 the lower end is 0, of 1 the upper is 1
