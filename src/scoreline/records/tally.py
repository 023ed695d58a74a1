"""Tallies: what the steward folds decisions into. They add up over workers and hosts."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Final, Self

import numpy as np

from scoreline.core.decision import Author, Decisions
from scoreline.records.frames import Failed, Item, Missed
from scoreline.records.spent import Spent

MOST: Final = 32  # versions and roles of one model; of more, those that decided nothing for longest are given up
_AT_ONCE: Final = 1024
Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Shape:
    """How scores are counted: the bounds of their histogram, and from which on the first one is high (None: never).

    `expected` is the share of high ones in the reference, where that is known.
    """

    bounds: tuple[float, ...] = ()
    high: float | None = None
    expected: float | None = None


NO_SHAPE: Final = Shape()


@dataclass(slots=True)
class Tally:
    """Counts of the decisions of one model, version and role; `unsent` requests' answers never left.

    `digest` is the bundle's, `outputs` names what scores are of; `failed` are requests it did not score, by kind;
    `within` has a row for each output, of the decisions whose score was within each bound of the shape but not the one
    before, and those above all; `*_fields` count by field.
    """

    digest: str = ""
    outputs: tuple[str, ...] = ()
    shape: Shape = NO_SHAPE
    requests: int = 0
    decisions: int = 0
    defaulted: int = 0
    degraded: int = 0
    unsent: int = 0
    high: int = 0
    last_ns: int = 0
    score_sum: list[float] = field(default_factory=list)
    within: list[list[int]] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    defaulted_fields: Counter[str] = field(default_factory=Counter)
    degraded_fields: Counter[str] = field(default_factory=Counter)
    spent: Spent = field(default_factory=Spent)
    _waiting: list[Decisions] = field(default_factory=list)
    _n_waiting: int = 0

    def __post_init__(self) -> None:
        """There are sums and bins of every output from the beginning, before any decision."""
        n_outputs, n_bins = len(self.outputs), len(self.shape.bounds) + 1
        if len(self.score_sum) != n_outputs:
            self.score_sum = [0.0] * n_outputs
        if [len(bins) for bins in self.within] != [n_bins] * n_outputs:
            self.within = [[0] * n_bins for _ in range(n_outputs)]

    def add(self, decisions: Decisions) -> None:
        self._waiting.append(decisions)
        self._n_waiting += len(decisions)
        if self._n_waiting >= _AT_ONCE:
            self.fold()

    def fold(self) -> None:
        """Counts what waits: many decisions at once take a tenth of the time."""
        many, self._waiting, self._n_waiting = self._waiting, [], 0
        if not many:
            return
        self.spent.add(many)
        self.requests += len(many)
        self.decisions += sum(map(len, many))
        self.last_ns = max(self.last_ns, *(found.context.time_ns for found in many))
        self._count_scores(np.concatenate([found.scores for found in many]))
        author = many[0].author
        if author.outcomes:
            codes = Counter(chain.from_iterable(found.outcomes for found in many))
            self.outcomes.update({author.outcomes[code]: n for code, n in codes.items()})
        self.defaulted += _count_fields(self.defaulted_fields, author, [found.defaulted for found in many])
        self.degraded += _count_fields(self.degraded_fields, author, [found.degraded for found in many])

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; the mean score is None where there is no decision: no data is not zero."""
        self.fold()
        means = [total / self.decisions for total in self.score_sum] if self.decisions else None
        return {
            "requests": self.requests,
            "decisions": self.decisions,
            "defaulted": self.defaulted,
            "degraded": self.degraded,
            "unsent": self.unsent,
            "failed": dict(self.failed),
            "mean_score": means,
            "outcomes": dict(self.outcomes),
            "seconds": self.spent.to_json(),
        }

    def kept(self) -> dict[str, Any]:
        """All of it, for msgpack; `Tally.of(tally.kept(), shape)` is the same."""
        self.fold()
        return {name: getattr(self, name) for name in _KEPT} | {"spent": self.spent.kept()}

    @classmethod
    def of(cls, kept: Mapping[str, Any], shape: Shape) -> Self:
        """Where scores were counted by another shape, their histogram begins anew."""
        found = cls(shape=shape, **{name: kept[name] for name in _KEPT}, spent=Spent.of(kept["spent"]))
        found.outputs = tuple(found.outputs)
        for name in _COUNTERS:
            setattr(found, name, Counter(kept[name]))
        return found

    def _count_scores(self, scores: Any) -> None:
        sums = scores.sum(axis=0).tolist()
        self.score_sum = [a + b for a, b in zip(self.score_sum, sums, strict=True)]
        if self.shape.high is not None:
            self.high += int((scores[:, 0] >= self.shape.high).sum())
        found = np.array(self.within, np.int64)
        for output, column in enumerate(scores.T):
            found[output] += np.bincount(np.searchsorted(self.shape.bounds, column), minlength=found.shape[1])
        self.within = found.tolist()


_COUNTERS: Final = ("outcomes", "failed", "defaulted_fields", "degraded_fields")
_PLAIN: Final = ("digest", "requests", "decisions", "defaulted", "degraded", "unsent", "high", "last_ns")
_KEPT: Final = (*_PLAIN, *_COUNTERS, "outputs", "score_sum", "within")


class Tallies:
    """One Tally per (model, version, role); `missed` decisions were answered without a record.

    `shape_of` says, by the digest of a bundle, how its scores are counted; it is asked once for each Tally.
    """

    def __init__(self, shape_of: Callable[[str], Shape] = lambda _: NO_SHAPE) -> None:
        self.missed = 0
        self.shape_of = shape_of
        self._found: dict[Key, Tally] = {}

    def add(self, item: Item) -> None:
        if isinstance(item, Missed):
            self.missed += item.n_decisions
            return
        author = item.author
        tally = self._found.get((author.model, author.version, author.role)) or self._begin(author)
        if isinstance(item, Decisions):
            tally.add(item)
        elif isinstance(item, Failed):
            tally.failed[item.kind] += 1
        else:
            tally.unsent += 1

    def __iter__(self) -> Iterator[tuple[Key, Tally]]:
        """All, by model, version and role, with nothing that waits."""
        for key, tally in sorted(self._found.items()):
            tally.fold()
            yield key, tally

    def spent(self, model: str) -> list[Spent]:
        """Where the time of a model's requests went, by version and role."""
        return [tally.spent for (name, _, _), tally in self if name == model]

    def to_json(self) -> list[dict[str, Any]]:
        return [
            {"model": model, "version": version, "role": role, **tally.to_json()}
            for (model, version, role), tally in self
        ]

    def kept(self) -> dict[str, Any]:
        """All of them, for msgpack; `take` takes them back."""
        return {"missed": self.missed, "found": [(key, tally.kept()) for key, tally in self]}

    def take(self, kept: Mapping[str, Any]) -> None:
        self.missed = kept["missed"]
        for (model, version, role), found in kept["found"]:
            self._found[model, version, role] = Tally.of(found, self.shape_of(found["digest"]))

    def _begin(self, author: Author) -> Tally:
        of_model = {key: tally for key, tally in self if key[0] == author.model}
        if len(of_model) >= MOST:
            del self._found[min(of_model, key=lambda key: of_model[key].last_ns)]
        tally = self._found[author.model, author.version, author.role] = Tally(
            author.digest, author.classes or (author.output,), self.shape_of(author.digest)
        )
        return tally


def _count_fields(by_field: Counter[str], author: Author, many: list[Mapping[int, Any]]) -> int:
    """Adds how often each field is in these rows; returns how many rows have any."""
    found: Counter[int] = Counter()
    n_rows = 0
    for rows in many:
        if rows:
            n_rows += sum(1 for fields in rows.values() if len(fields))
            found.update(chain.from_iterable(rows.values()))
    by_field.update({author.fields[place]: n for place, n in found.items()})
    return n_rows
