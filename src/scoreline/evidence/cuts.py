"""Where numbers are cut, so that the shares above are what changes show in."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from scoreline.core.link import Floats

Bools = np.ndarray[Any, np.dtype[np.bool_]]


def cuts_of(deciles: ArrayLike) -> Floats:
    """The nine deciles, each once, and what lies just below each that stands there more than once: rising, at most 9.

    The share above a number that many values have does not show whether they still have it: if it is the greatest,
    nothing lies above it, whatever happens. The share above what lies just below does.
    """
    found, times = np.unique(np.asarray(deciles, dtype=np.float64), return_counts=True)
    return np.union1d(found, np.nextafter(found[times > 1], -np.inf))


def is_just_below(cuts: Floats) -> Bools:
    """Which cuts lie just below the next: above them is whatever is at least that one."""
    return np.append(np.nextafter(cuts[:-1], np.inf) == cuts[1:], [False] * bool(len(cuts)))
