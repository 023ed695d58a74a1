"""How the versions of a model stand together: from what is assigned to one `Score`."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from scoreline.core.arms import CANARY, CHAMPION, LAPSED, PINNED, Arm, Arms, Guard, Leased, Pinned, Tell, fitted
from scoreline.core.batch import Batch
from scoreline.core.decision import Author, Decisions
from scoreline.core.errors import BundleError, NotFound, QuoteLapsed, ScorelineError
from scoreline.core.fitting import Fit, fitting, widened
from scoreline.core.manifest import Manifest
from scoreline.core.ports import Engine, Score
from scoreline.core.schema import Schema
from scoreline.core.scorer import Scorer
from scoreline.operations.state import Assignment, Canary, Pin

Recording = Callable[[Score], Score]
log = logging.getLogger("scoreline.standing")


@dataclass(frozen=True, slots=True)
class Opened:
    """A bundle that is verified, and its engine, loaded and self-tested."""

    manifest: Manifest
    engine: Engine


Opening = Callable[[str], Opened]


@dataclass(frozen=True, slots=True)
class Version:
    """A version of a model in its role. `score` answers who asks for it by its number, in rows of its own schema; None:
    nobody may, or whoever asks for the model gets it anyway.
    """

    manifest: Manifest
    role: str
    share: float = 0.0
    score: Score | None = None


@dataclass(frozen=True, slots=True)
class Model:
    """A model, ready to score: `score` takes rows of `schema`: the champion's, and behind its fields those that only
    other versions take from the feature store.

    `assignment` is what it stands for, `opened` every bundle it uses, by digest, `authors` whom marks may name.
    """

    manifest: Manifest
    score: Score
    assignment: Assignment | None = None
    opened: Mapping[str, Opened] = field(default_factory=dict)
    versions: tuple[Version, ...] = ()
    authors: tuple[Author, ...] = ()
    wide: Schema | None = None

    @property
    def schema(self) -> Schema:
        return self.wide or self.manifest.schema


def stand(assignment: Assignment, opening: Opening, record: Recording, guard: Guard) -> Model:
    """The champion alone; with a canary beside it while there is a lease; and over both whoever is pinned.

    `opening` gives the bundle of a digest, or raises; so does this where the champion's does. What cannot stand beside
    the champion is logged, and it goes without.
    """
    mine = opening(assignment.digest)
    found: list[tuple[Canary | Pin, Opened]] = []
    for beside in (assignment.canary, *assignment.pins):
        if beside is None or beside.digest == assignment.digest:
            continue
        with _told(beside, mine.manifest):
            theirs = opening(beside.digest)
            _check_form(mine.manifest, theirs.manifest)
            fitting(mine.manifest.schema, theirs.manifest.schema)
            found.append((beside, theirs))
    schema = widened(mine.manifest.schema, [theirs.manifest.schema for _, theirs in found])
    standing = _Standing(mine, schema, assignment.epoch, guard, record)
    for beside, theirs in found:
        with _told(beside, mine.manifest):
            fit = fitting(schema, theirs.manifest.schema)
            if isinstance(beside, Canary):
                standing.add_canary(beside, theirs, fit)
            else:
                standing.add_pinned(beside, theirs, fit)
    return standing.model(assignment)


@contextmanager
def _told(beside: Canary | Pin, manifest: Manifest) -> Iterator[None]:
    """Logs why a version cannot stand beside the champion."""
    try:
        yield
    except ScorelineError as error:
        log.error("version %s of %s goes without: %s", beside.version, manifest.name, error)
    except Exception:
        log.exception("version %s of %s goes without", beside.version, manifest.name)


class _Standing:
    """A model as it is put together, from the champion on; rows are read by `schema`."""

    def __init__(self, mine: Opened, schema: Schema, epoch: int, guard: Guard, record: Recording) -> None:
        fit = fitting(schema, mine.manifest.schema)
        self._schema = schema
        self._champion = champion = Scorer(mine.manifest, mine.engine, CHAMPION, epoch, fit)
        self._guard = guard
        self._record = record
        self._score: Score = champion
        self._opened = {mine.manifest.digest: mine}
        self._versions = [Version(mine.manifest, CHAMPION, 1.0)]
        self._authors: list[Author] = []
        self._pinned: dict[str, Score] = {}

    def add_canary(self, canary: Canary, theirs: Opened, fit: Fit | None) -> None:
        """Who asks for a version gets it from now on, the champion's too, and counts as neither arm's."""
        guard, epoch = self._guard, self._champion.author.epoch
        scorer = Scorer(theirs.manifest, theirs.engine, CANARY, epoch)
        arms = Arms(self._champion, scorer, fit, guard, salt=canary.salt, share=canary.share)
        ours, its = self._arm(self._champion), self._arm(scorer, may_end=True)
        lapsed = self._champion.in_role(LAPSED)
        self._score = Leased(arms, lapsed, guard.lease)
        self._pinned[self._champion.author.digest] = ours
        self._pinned[canary.digest] = Leased(fitted(its, fit), _not_kept, guard.lease)
        self._authors += arms.authors
        self._opened[canary.digest] = theirs
        numbered = self._arm(self._champion.unfitted())
        by_number = self._record(Leased(its, _not_served, guard.lease))
        self._versions = [
            Version(self._versions[0].manifest, CHAMPION, 1.0 - canary.share, self._record(numbered)),
            Version(theirs.manifest, CANARY, canary.share, by_number),
        ]

    def add_pinned(self, pin: Pin, theirs: Opened, fit: Fit | None) -> None:
        """Without a lease: the pin itself says how long."""
        scorer = Scorer(theirs.manifest, theirs.engine, PINNED, self._champion.author.epoch)
        self._pinned[pin.digest] = fitted(self._arm(scorer, may_end=True), fit)
        self._opened[pin.digest] = theirs
        if all(version.manifest.digest != pin.digest for version in self._versions):
            self._versions.append(Version(theirs.manifest, PINNED))

    def model(self, assignment: Assignment) -> Model:
        score = Pinned(self._score, self._pinned) if self._pinned else self._score
        return Model(
            self._versions[0].manifest,
            self._record(score),
            assignment,
            self._opened,
            tuple(self._versions),
            tuple(dict.fromkeys(self._authors)),
            self._schema,
        )

    def _arm(self, scorer: Scorer, *, may_end: bool = False) -> Arm:
        """The version for who is pinned to it."""
        arm = Arm(scorer.in_role(PINNED), self._guard.marks, may_end=may_end)
        self._authors.append(arm.author)
        return arm


def teller() -> Tell:
    """Logs each kind of failure of a canary once, and why; the record has every one of them."""
    said = set[tuple[str, str]]()

    def tell(author: Author, kind: str, raised: Exception | None) -> None:
        if (author.digest, kind) in said:
            return
        said.add((author.digest, kind))
        why = str(raised) if isinstance(raised, ScorelineError) else type(raised).__name__ if raised else "no more told"
        log.error("canary %s of %s %s, and the champion answers: %s", author.version, author.model, kind, why)

    return tell


def _check_form(mine: Manifest, theirs: Manifest) -> None:
    """Raises BundleError where a version's answers would have another form than the champion's."""
    if (mine.output, mine.classes, bool(mine.policy.outcomes)) != (
        theirs.output,
        theirs.classes,
        bool(theirs.policy.outcomes),
    ):
        raise BundleError("its answers have another form than the champion's: output, classes, or whether outcomes")


def _not_kept(_: Batch) -> Decisions:
    raise QuoteLapsed(
        "this host cannot tell now whether the version of this quote may still answer: try again in some seconds, or "
        "ask for a new quote"
    )


def _not_served(_: Batch) -> Decisions:
    raise NotFound("this version of the model is not served here; GET /models lists those that are")
