"""Thresholds: from score to outcome."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from scoreline.core.errors import SchemaError
from scoreline.core.link import Floats


@dataclass(frozen=True)
class ThresholdPolicy:
    """The outcome whose threshold a score has reached: `outcomes[i + 1]` from `thresholds[i]` on, else `outcomes[0]`.

    With classes instead of thresholds the outcome is the likeliest class. No outcomes at all is a policy too.
    """

    outcomes: tuple[str, ...] = ()
    thresholds: tuple[float, ...] = ()
    likeliest: bool = False

    def __post_init__(self) -> None:
        if len(set(self.outcomes)) != len(self.outcomes) or not all(self.outcomes):
            raise SchemaError("every outcome has a name of its own")
        if len(self.thresholds) != (0 if self.likeliest else max(len(self.outcomes) - 1, 0)):
            raise SchemaError("there is one outcome more than there are thresholds")
        if any(not low < high for low, high in pairwise(self.thresholds)) or not np.isfinite(self.thresholds).all():
            raise SchemaError("thresholds are finite and rise")

    @cached_property
    def _bounds(self) -> list[float]:
        return list(self.thresholds)

    def codes(self, scores: Floats) -> Sequence[int]:
        """Positions in `outcomes`, one per row; empty without a policy. Scores of shape (n_rows, n_outputs)."""
        if not self.outcomes:
            return ()
        if self.likeliest:
            found: list[int] = scores.argmax(axis=1).tolist()
            return found
        if len(scores) == 1:
            return (bisect_right(self._bounds, scores.item()),)
        many: list[int] = np.searchsorted(self._bounds, scores[:, 0], side="right").tolist()
        return many
