"""What an answer costs once it is known what happened: the losses that champion and challenger are compared by.

A paired difference is the champion's loss less the challenger's, so that more is better; its bound is the most that
either can lose.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from scoreline.core.errors import RolloutRefused
from scoreline.core.manifest import Manifest

EPS: Final = 1e-3  # log loss takes probabilities for at least this much away from 0 and 1
PROBABILITIES: Final = ("sigmoid", "sigmoid64", "softmax", "softmax64")
_BOOLEANS: Final[Mapping[str, int]] = {"true": 1, "false": 0, "1": 1, "0": 0, "1.0": 1, "0.0": 0}


@dataclass(frozen=True, slots=True)
class Loss:
    """A loss for the versions of one model. `kind` is brier, log or cost; `bound` the largest difference."""

    kind: str
    classes: tuple[str, ...]
    costs: Mapping[tuple[str, str], float]

    @property
    def bound(self) -> float:
        if self.kind == "log":
            return math.log((1 - EPS) / EPS)
        return max(self.costs.values(), default=1.0) if self.kind == "cost" else 1.0

    def label(self, value: float | str) -> int | None:
        """What happened, as the position of a class, or 0 and 1; None where it is neither."""
        if not self.classes:
            return _BOOLEANS.get(str(value).lower())
        text = str(int(value)) if isinstance(value, float) and value == int(value) else str(value)
        return self.classes.index(text) if text in self.classes else None

    def of(self, scores: Sequence[float], outcome: str | None, label: int) -> float:
        """The loss of one answer: its scores, what the thresholds made of them, and what happened."""
        if self.kind == "cost":
            actual = self.classes[label] if self.classes else str(label)
            return self.costs.get((outcome or "", actual), 0.0)
        one = min(max(scores[0], 0.0), 1.0)
        chances = list(scores) if self.classes else [1 - one, one]
        if self.kind == "log":
            return -math.log(min(max(chances[label], EPS), 1 - EPS))
        return sum((chance - (place == label)) ** 2 for place, chance in enumerate(chances)) / 2

    @property
    def labels(self) -> range:
        """Everything that can happen."""
        return range(len(self.classes) or 2)


def loss_of(kind: str, costs: Mapping[tuple[str, str], float], manifest: Manifest) -> Loss:
    """The policy's loss for a model; raises RolloutRefused where its answers have none."""
    if kind == "cost":
        words = {outcome for outcome, _ in costs}
        if not manifest.policy.outcomes or not words <= set(manifest.policy.outcomes):
            raise RolloutRefused("rollout.costs name outcomes that this model does not have; agreement can be shown")
    elif not _are_probabilities(manifest):
        raise RolloutRefused(
            f"scores of this model are no probabilities, so they have no {kind} loss: only agreement can be shown"
        )
    return Loss(kind, manifest.classes, costs)


def _are_probabilities(manifest: Manifest) -> bool:
    """By the link; a graph has none and may still answer them, as its classes or its thresholds say."""
    thresholds = manifest.policy.thresholds
    may_be = bool(manifest.classes) or (bool(thresholds) and all(0 < one < 1 for one in thresholds))
    return manifest.link in PROBABILITIES or (manifest.link == "identity" and may_be)
