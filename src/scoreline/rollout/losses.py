"""What an answer costs once it is known what happened: the losses that champion and challenger are compared by.

A paired difference is the champion's loss less the challenger's, so that more is better; its bound is the most that
either can lose. Whatever a challenger answers, no loss is beyond it: a chance below 0 or above 1 counts as 0 or 1, and
chances that do not add up to 1 lose no more than all.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from scoreline.core.errors import RolloutRefused
from scoreline.core.manifest import Manifest

EPS: Final = 1e-3  # log loss takes probabilities for at least this much away from 0 and 1
_BOOLEANS: Final[Mapping[str, int]] = {"true": 1, "false": 0, "1": 1, "0": 0, "1.0": 1, "0.0": 0}


@dataclass(frozen=True, slots=True)
class Loss:
    """A loss for the versions of one model. `kind` is brier, log or cost; `bound` the largest difference."""

    kind: str
    classes: tuple[str, ...]
    costs: Mapping[tuple[str, str], float]

    @property
    def bound(self) -> float:
        return bound_of(self.kind, self.costs)

    def label(self, value: float | str) -> int | None:
        """What happened, as the position of a class, or 0 and 1; None where it is neither."""
        if not self.classes:
            return _BOOLEANS.get(str(value).lower())
        names = (str(int(value)), str(value)) if isinstance(value, float) and value.is_integer() else (str(value),)
        return next((self.classes.index(name) for name in names if name in self.classes), None)

    def of(self, scores: Sequence[float], outcome: str | None, label: int) -> float:
        """The loss of one answer: its scores, what the thresholds made of them, and what happened."""
        if self.kind == "cost":
            actual = self.classes[label] if self.classes else str(label)
            return self.costs.get((outcome or "", actual), 0.0)
        told = [min(max(score, 0.0), 1.0) for score in scores]
        chances = told if self.classes else [1 - told[0], told[0]]
        if self.kind == "log":
            return -math.log(min(max(chances[label], EPS), 1 - EPS))
        return min(sum((chance - (place == label)) ** 2 for place, chance in enumerate(chances)) / 2, 1.0)

    @property
    def labels(self) -> range:
        """Everything that can happen."""
        return range(len(self.classes) or 2)


def bound_of(kind: str, costs: Mapping[tuple[str, str], float]) -> float:
    """The largest difference of two answers in a loss."""
    if kind == "log":
        return math.log((1 - EPS) / EPS)
    return max(costs.values(), default=1.0) if kind == "cost" else 1.0


def apart(mine: Manifest, theirs: Manifest) -> str:
    """Why what one answers cannot be held beside what the other does; empty where it can."""
    if mine.classes != theirs.classes:
        return f"version {theirs.version} has other classes than the champion, or in another order"
    return ""


def loss_of(kind: str, costs: Mapping[tuple[str, str], float], mine: Manifest, theirs: Manifest | None = None) -> Loss:
    """The policy's loss for champion and challenger; raises RolloutRefused where the answers of either have none.

    Without a challenger, for the champion alone.
    """
    both = [mine] if theirs is None else [mine, theirs]
    reason = apart(mine, theirs) if theirs else ""
    for each in both:
        reason = reason or (_without_costs(costs, mine, each) if kind == "cost" else _without_chances(kind, each))
    if reason:
        raise RolloutRefused(f"{reason}: only agreement can be shown")
    return Loss(kind, mine.classes, costs)


def _without_costs(costs: Mapping[tuple[str, str], float], mine: Manifest, each: Manifest) -> str:
    """Why costs do not say what a version's answers cost. An outcome they do not know would be free of any."""
    known, words = mine.policy.outcomes, {outcome for outcome, _ in costs}
    if not each.policy.outcomes:
        return f"version {each.version} has no outcomes, so its answers have no cost"
    if not words <= set(known):
        return f"rollout.costs name outcomes that this model does not have ({_listed(words - set(known))})"
    if not set(each.policy.outcomes) <= set(known):
        new = _listed(set(each.policy.outcomes) - set(known))
        return (
            f"version {each.version} has outcomes that the champion does not have ({new}), so nobody knows their cost"
        )
    strange = {actual for _, actual in costs} - set(mine.classes or ("0", "1"))
    if strange:
        return f"rollout.costs name what never happens here ({_listed(strange)}); it is {_listed(mine.classes or '01')}"
    return ""


def _without_chances(kind: str, each: Manifest) -> str:
    if each.are_probabilities:
        return ""
    return f"scores of version {each.version} are no probabilities, so they have no {kind} loss"


def _listed(words: Iterable[str]) -> str:
    return ", ".join(sorted(words))
