"""Tallies: what the steward folds decisions into. They add up over workers and hosts."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from scoreline.core.decision import Decisions
from scoreline.records.frames import Missed, Unsent
from scoreline.records.spent import Spent


@dataclass(slots=True)
class Tally:
    """Counts of the decisions of one model, version and role; `unsent` requests' answers never left."""

    requests: int = 0
    decisions: int = 0
    defaulted: int = 0
    degraded: int = 0
    unsent: int = 0
    score_sum: list[float] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    spent: Spent = field(default_factory=Spent)

    def add(self, decisions: Decisions) -> None:
        author = decisions.author
        self.spent.add(decisions)
        self.requests += 1
        self.decisions += len(decisions)
        self.defaulted += len(decisions.defaulted)
        self.degraded += len(decisions.degraded)
        sums = [sum(column) for column in zip(*decisions.scores.tolist(), strict=True)]
        self.score_sum = [a + b for a, b in zip(self.score_sum, sums, strict=True)] if self.score_sum else sums
        if author.outcomes:
            self.outcomes.update(author.outcomes[code] for code in decisions.outcomes)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; the mean score is None where there is no decision: no data is not zero."""
        means = [total / self.decisions for total in self.score_sum] if self.decisions else None
        return {
            "requests": self.requests,
            "decisions": self.decisions,
            "defaulted": self.defaulted,
            "degraded": self.degraded,
            "unsent": self.unsent,
            "mean_score": means,
            "outcomes": dict(self.outcomes),
            "seconds": self.spent.to_json(),
        }


class Tallies:
    """One Tally per (model, version, role); `missed` decisions were answered without a record."""

    def __init__(self) -> None:
        self.missed = 0
        self._found: dict[tuple[str, str, str], Tally] = {}

    def add(self, item: Decisions | Unsent | Missed) -> None:
        if isinstance(item, Missed):
            self.missed += item.n_decisions
            return
        author = item.author
        tally = self._found.setdefault((author.model, author.version, author.role), Tally())
        if isinstance(item, Unsent):
            tally.unsent += 1
        else:
            tally.add(item)

    def spent(self, model: str) -> list[Spent]:
        """Where the time of a model's requests went, by version and role."""
        return [tally.spent for (name, _, _), tally in self._found.items() if name == model]

    def to_json(self) -> list[dict[str, Any]]:
        return [
            {"model": model, "version": version, "role": role, **tally.to_json()}
            for (model, version, role), tally in sorted(self._found.items())
        ]
