"""Two arms: the Score of a model while a canary answers a share of its requests.

Nobody is refused an answer because of a canary: where it raises, has no finite margin or takes too long, the champion
answers in its place. What a worker dies of is read from its marks by whoever replaces it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from scoreline.core.assign import assigned
from scoreline.core.batch import Batch
from scoreline.core.decision import Author, Decisions
from scoreline.core.entities import entity_hash
from scoreline.core.errors import RowsRefused
from scoreline.core.fitting import Fit
from scoreline.core.marks import Marks
from scoreline.core.ports import Score
from scoreline.core.scorer import Scorer

CHAMPION: Final = "champion"
CANARY: Final = "canary"
CANARY_FAILED: Final = "canary_failed"  # the champion, in the place of a canary that failed
MIXED: Final = "mixed"  # whoever answers a request about several entities
LAPSED: Final = "lapsed"  # the champion, while the canary has no lease: neither arm's, or one would count alone
PINNED: Final = "pinned"  # the version that the request asked for

RAISED: Final = "raised"
NOT_FINITE: Final = "not_finite"
OVERRAN: Final = "overran"
DIED: Final = "died"
DEGRADED: Final = "degraded"  # any of them, but that of a death, where features were missing


Tell = Callable[[Author, str, Exception | None], None]


class Lease(Protocol):
    """Until when a canary may answer, in nanoseconds since 1970."""

    until_ns: int


class Failed(Protocol):
    """The `failed` of a `core.ports.Sink`."""

    def __call__(self, author: Author, base: int, time_ns: int, kind: str, entities: Sequence[bytes], /) -> None: ...


@dataclass(frozen=True, slots=True)
class Guard:
    """What a worker watches its arms with.

    `entity_key` is the one of its record. A canary that takes more than `over_ns` of its model for a request has
    overrun. `tell` is told of each failure of a canary and what it raised, for people.
    """

    lease: Lease
    marks: Marks
    failed: Failed
    tell: Tell
    entity_key: bytes
    over_ns: Callable[[str], int]


class Arm:
    """A version in one role, marked while it scores. A `Score` of requests whose units do not matter."""

    def __init__(self, scorer: Scorer, marks: Marks, *, may_end: bool = False) -> None:
        self.author = scorer.author
        self.new_base = scorer.new_base
        self._scorer = scorer
        self._marks = marks
        self._may_end = may_end

    def kind_of(self, kind: str, batch: Batch) -> str:
        """How a failure of this kind counts: not at all where its features are missing, as an answer would not either.

        Fields behind its own are other versions'.
        """
        n_fields = len(self.author.fields)
        return DEGRADED if any(at < n_fields for found in batch.degraded.values() for at in found) else kind

    def __call__(self, batch: Batch) -> Decisions:
        return self.score(batch, self.new_base(batch.context.time_ns), ())

    def score(self, batch: Batch, base: int, units: Sequence[bytes]) -> Decisions:
        """As the scorer does, under this id; raises as it."""
        marks = self._marks
        marks.set(self.author, base, batch.context.time_ns, units, len(batch), may_end=self._may_end)
        try:
            return self._scorer(batch, base)
        finally:
            marks.clear()


class Arms:
    """A `Score` that gives each unit to one of two versions, always to the same. Entities are hashed in its decisions.

    A row's unit is its entity, else the request. A request about several goes to the canary if all of them do; whoever
    answers it, it counts for neither arm: few of them would be the canary's. `salt` is the rollout's, in hex.
    """

    def __init__(
        self, champion: Scorer, canary: Scorer, fit: Fit | None, guard: Guard, *, salt: str, share: float
    ) -> None:
        marks = guard.marks
        self._champion = Arm(champion, marks)
        self._mixed = Arm(champion.in_role(MIXED), marks)
        self._stand_in = Arm(champion.in_role(CANARY_FAILED), marks)
        self._canary = Arm(canary, marks, may_end=True)
        self._mixed_canary = Arm(canary.in_role(MIXED), marks, may_end=True)
        self._fit = fit
        self._guard = guard
        self._entity_key = guard.entity_key
        self._over_ns = guard.over_ns(champion.author.model)
        self._salt = bytes.fromhex(salt)
        self._share = share
        self._new_base = champion.new_base

    @property
    def authors(self) -> list[Author]:
        """Every author that its decisions and marks may have."""
        arms = self._champion, self._canary, self._stand_in, self._mixed, self._mixed_canary
        return [arm.author for arm in arms]

    def __call__(self, batch: Batch) -> Decisions:
        base, key, about = self._new_base(batch.context.time_ns), self._entity_key, batch.entities
        if len(about) <= 1:  # as nearly every request is
            entities = units = [entity_hash(about[0], key)] if about else []
        else:
            entities = [entity_hash(entity, key) for entity in about]
            units = list(dict.fromkeys(entities))
        if len(units) <= 1:
            canary, champion = self._canary, self._champion
            is_canarys = self._is_canarys(units[0] if units and units[0] else base.to_bytes(16, "big"))
        else:
            canary, champion = self._mixed_canary, self._mixed
            is_canarys = all(self._is_canarys(unit or base.to_bytes(16, "big")) for unit in units)
        if is_canarys:
            decisions = self._by_canary(canary, batch, base, units)
        else:
            decisions = self._scored(champion, batch, base, units)
        decisions.entities = entities
        return decisions

    def _is_canarys(self, unit: bytes) -> bool:
        return assigned(unit, self._salt, self._share)

    def _by_canary(self, canary: Arm, batch: Batch, base: int, units: Sequence[bytes]) -> Decisions:
        """The canary's decisions, or else the champion's, with an id of their own: the other is the failure's."""
        guard, raised, theirs = self._guard, None, batch
        try:
            theirs = self._fit(batch) if self._fit else batch
            decisions = canary.score(theirs, base, units)
        except RowsRefused:
            kind = NOT_FINITE
        except Exception as error:
            kind, raised = RAISED, error
        else:
            if decisions.model_ns <= self._over_ns:
                return decisions
            kind = OVERRAN
        time_ns = batch.context.time_ns
        guard.failed(canary.author, base, time_ns, canary.kind_of(kind, theirs), told(units))
        guard.tell(canary.author, kind, raised)
        return self._scored(self._stand_in, batch, self._stand_in.new_base(time_ns), units)

    def _scored(self, arm: Arm, batch: Batch, base: int, units: Sequence[bytes]) -> Decisions:
        try:
            return arm.score(batch, base, units)
        except Exception as error:
            kind = NOT_FINITE if isinstance(error, RowsRefused) else RAISED
            self._guard.failed(arm.author, base, batch.context.time_ns, arm.kind_of(kind, batch), told(units))
            raise


class Leased:
    """A `Score` that has another one answer while there is no lease."""

    def __init__(self, score: Score, otherwise: Score, lease: Lease) -> None:
        self._score = score
        self._otherwise = otherwise
        self._lease = lease

    def __call__(self, batch: Batch) -> Decisions:
        live = batch.context.time_ns < self._lease.until_ns
        return self._score(batch) if live else self._otherwise(batch)


class Pinned:
    """A `Score` that has the version answer that a request is pinned to, by digest, where it is loaded."""

    def __init__(self, score: Score, versions: Mapping[str, Score]) -> None:
        self._score = score
        self._versions = versions

    def __call__(self, batch: Batch) -> Decisions:
        pin = batch.context.pin
        version = self._versions.get(pin) if pin else None
        return self._score(batch) if version is None else version(batch)


def fitted(score: Score, fit: Fit | None) -> Score:
    """The score of a version for batches that another version's schema has read."""
    if fit is None:
        return score
    return lambda batch: score(fit(batch))


def told(units: Sequence[bytes]) -> list[bytes]:
    """The entities among the units of a request."""
    return [unit for unit in units if unit]
