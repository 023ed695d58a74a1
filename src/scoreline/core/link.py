"""The link functions: from recorded margin to score, in float64, in one place.

Every door uses these on arrays of any length, so a row has the same score alone and in a batch.
"""

import math
from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Link = Callable[[Floats], Floats]

# XGBoost's own bound, a float32 (common/math.h, Sigmoid), beyond which its scores stand still too; float64's for exp.
_SIGMOID_MAX: Final = float(np.float32(88.7))
_EXP_MAX: Final = 709.0


def _alone(score: float) -> Floats:
    found = np.empty((1, 1))
    found[0, 0] = score
    return found


def identity(margins: Floats) -> Floats:
    return margins


def sigmoid(margins: Floats) -> Floats:
    """1 / (1 + exp(-margin)), element by element; one margin alone goes by the same numpy `exp`, five times faster."""
    if margins.size == 1:
        return _alone(1.0 / (1.0 + float(np.exp(min(-margins.item(), _SIGMOID_MAX)))))
    return 1.0 / (1.0 + np.exp(np.minimum(-margins, _SIGMOID_MAX)))


def exponential(margins: Floats) -> Floats:
    """exp(margin), element by element."""
    return np.exp(np.minimum(margins, _EXP_MAX))


def softmax(margins: Floats) -> Floats:
    """exp(margin) over its sum along the classes; margins of shape (n_rows, n_classes).

    The distance to the greatest margin is rounded to float32 as XGBoost rounds it (common/math.h, Softmax): what that
    rounding moves, up to 20 float32 ulp of a score, is part of the trainer's answer.
    """
    distances = np.maximum(margins - margins.max(axis=1, keepdims=True), -_EXP_MAX).astype(np.float32, order="C")
    powers = np.exp(distances.astype(np.float64))
    return powers / powers.sum(axis=1, keepdims=True)  # type: ignore[no-any-return]


def softmax64(margins: Floats) -> Floats:
    """exp(margin) over its sum along the classes, all in float64; margins of shape (n_rows, n_classes)."""
    distances = np.maximum(margins - margins.max(axis=1, keepdims=True), -_EXP_MAX)
    powers = np.exp(np.ascontiguousarray(distances))
    return powers / powers.sum(axis=1, keepdims=True)  # type: ignore[no-any-return]


def all_finite(margins: Floats) -> bool:
    """Whether no margin is NaN or infinite."""
    return math.isfinite(margins.item()) if margins.size == 1 else bool(np.isfinite(margins).all())


LINKS: Final[dict[str, Link]] = {
    "identity": identity,
    "sigmoid": sigmoid,
    "exp": exponential,
    "softmax": softmax,
    "softmax64": softmax64,
}
PROBABILITY_LINKS: Final = frozenset(("sigmoid", "softmax", "softmax64"))  # links whose scores are probabilities
