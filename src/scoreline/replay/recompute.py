"""Recomputing: the margins of recorded decisions, from the same bundle, compared bit for bit.

Trees add numbers up in one order, which gives the same bits on any CPU. A graph, a linear model and trees whose leaves
are multiplied while summing may be computed otherwise by another class of CPU: their guarantee says so.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from typing import Any, Final, Literal

import numpy as np

from scoreline.core import ids
from scoreline.core.bundle import Bundle
from scoreline.core.decision import Decisions
from scoreline.core.errors import EngineFailed, NotFound, ScorelineError
from scoreline.core.link import LINKS, Floats
from scoreline.core.manifest import Manifest
from scoreline.core.ports import Engine
from scoreline.engines.load import load_engine
from scoreline.replay.grouped import by_author, mismatch, stacked

Result = Literal["equal", "differs", "missing", "refused"]
Guarantee = Literal["any CPU", "same CPU class"]
OpenBundle = Callable[[str], Bundle]

OPEN_BUNDLES: Final = 4
MOST_TOLD: Final = 100
SCORE_TOLERANCE: Final = 1e-12
_TREES: Final = frozenset(("xgboost", "lightgbm"))
_LINEAR_TREES: Final = b"\nis_linear=1\n"  # in LightGBM's text
_ANOTHER_SCORE: Final = "the margins are equal; the recorded score is not what they give"
_ANOTHER_OUTCOME: Final = "the margins are equal; the recorded outcome is not what the score gives"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one decision that was computed again.

    `equal`: margins bit for bit, and score and outcome follow from them. `difference` is the largest distance of a
    margin, null where there is none to compare. `guarantee`: where equal bits are promised. `recorded_with` and
    `recomputed_with` are engine and library version: where they are not the same, a difference may come from there.
    """

    id: str
    model: str
    version: str
    digest: str
    result: Result
    difference: float | None
    guarantee: Guarantee | None
    recorded_with: str
    recomputed_with: str | None
    note: str


@dataclass(frozen=True, slots=True)
class Opened:
    """A bundle and its engine; without one, `result` and `note` say why."""

    bundle: Bundle | None = None
    engine: Engine | None = None
    result: Result = "refused"
    note: str = ""


@dataclass(slots=True)
class Summary:
    """Counts of verdicts by result, the first 100 that are not equal, and pairs of library versions that differ."""

    results: Counter[str] = field(default_factory=Counter)
    guarantees: Counter[str] = field(default_factory=Counter)
    libraries: Counter[tuple[str, str]] = field(default_factory=Counter)
    told: list[Verdict] = field(default_factory=list)

    def add(self, verdict: Verdict) -> None:
        self.results[verdict.result] += 1
        if verdict.guarantee:
            self.guarantees[verdict.guarantee] += 1
        if verdict.recomputed_with not in (None, verdict.recorded_with):
            self.libraries[verdict.recorded_with, str(verdict.recomputed_with)] += 1
        if verdict.result != "equal" and len(self.told) < MOST_TOLD:
            self.told.append(verdict)

    @property
    def all_equal(self) -> bool:
        return self.results.total() == self.results["equal"]


def guarantee(bundle: Bundle) -> Guarantee:
    """On which CPUs a bundle's margins have the same bits: of trees whose leaves are only added, on any."""
    library, lineage = bundle.manifest.engines[-1], bundle.manifest.lineage
    trees = library.kind in _TREES and not library.prepare
    only_added = lineage.get("booster", "gbtree") == "gbtree" and _LINEAR_TREES not in bundle.files[library.file]
    return "any CPU" if trees and only_added else "same CPU class"


def recompute(decisions: Iterable[Decisions], open_bundle: OpenBundle) -> Iterator[Verdict]:
    """One verdict per decision, in groups of one author; the rows of many requests go through an engine at once.

    `open_bundle` gives the verified bundle of a digest, or raises NotFound or BundleError. At most four stay open.
    """
    opened = lru_cache(OPEN_BUNDLES)(lambda digest: _open(digest, open_bundle))
    for author, group in by_author(decisions):
        yield from _judged(group, opened(author.digest))


def _open(digest: str, open_bundle: OpenBundle) -> Opened:
    try:
        bundle = open_bundle(digest)
    except NotFound:
        return Opened(result="missing", note="the bundle of this digest is not here: bring it with `scoreline pull`")
    except ScorelineError as error:
        return Opened(note=str(error))
    try:
        return Opened(bundle, load_engine(bundle), "equal")
    except ScorelineError as error:
        return Opened(note=str(error))


def _judged(group: Sequence[Decisions], opened: Opened) -> Iterator[Verdict]:
    bundle, engine = opened.bundle, opened.engine
    if bundle is None or engine is None:
        yield from chain.from_iterable(_without(found, opened.result, opened.note) for found in group)
        return
    notes = [mismatch(found, bundle.manifest) for found in group]
    promised = guarantee(bundle)
    sound = [found for found, note in zip(group, notes, strict=True) if not note]
    again = iter(_margins(engine, sound))
    for found, note in zip(group, notes, strict=True):
        margins = note or next(again)
        if isinstance(margins, str):
            yield from _without(found, "refused", margins)
        else:
            yield from _compared(found, margins, bundle.manifest, engine, promised)


def _margins(engine: Engine, group: Sequence[Decisions]) -> Iterator[Floats | str]:
    """The margins of every request, or why there are none: what the engine refuses together it is given apart."""
    if not group:
        return
    try:
        together = engine.predict(stacked(found.values for found in group))
    except EngineFailed as error:
        if len(group) == 1:
            yield str(error)
            return
        for found in group:
            yield from _margins(engine, [found])
        return
    start = 0
    for found in group:
        yield together[start : start + len(found)]
        start += len(found)


def _compared(
    found: Decisions, margins: Floats, manifest: Manifest, engine: Engine, promised: Guarantee
) -> Iterator[Verdict]:
    author, recorded = found.author, np.ascontiguousarray(found.margins)
    same = (np.ascontiguousarray(margins).view(np.int64) == recorded.view(np.int64)).all(axis=1).tolist()
    follow = _what_does_not_follow(found, margins, manifest)
    note = "" if author.engine == engine.name else "recorded with another version of the library"
    distances = np.abs(margins - recorded).max(axis=1).tolist()
    for row, (equal, distance, wrong) in enumerate(zip(same, distances, follow, strict=True)):
        yield Verdict(
            id=ids.text(found.base | row),
            model=author.model,
            version=author.version,
            digest=author.digest,
            result="equal" if equal and not wrong else "differs",
            difference=distance if math.isfinite(distance) else None,
            guarantee=promised,
            recorded_with=author.engine,
            recomputed_with=engine.name,
            note=wrong if equal and wrong else note,
        )


def _what_does_not_follow(found: Decisions, margins: Floats, manifest: Manifest) -> Sequence[str]:
    """Per row, what is wrong with the recorded score or outcome if the margins are right; empty where nothing is."""
    scores = LINKS[manifest.link](margins)
    apart = np.abs(scores - found.scores) / np.maximum(1.0, np.abs(scores))
    is_score: list[bool] = np.all(apart <= SCORE_TOLERANCE, axis=1).tolist()
    codes, outcomes = manifest.policy.codes(found.scores), found.outcomes
    if len(outcomes) != len(codes):
        return [_ANOTHER_OUTCOME] * len(found)
    is_outcome = [code == outcome for code, outcome in zip(codes, outcomes, strict=True)] or [True] * len(found)
    return [
        _ANOTHER_SCORE if not right else "" if follows else _ANOTHER_OUTCOME
        for right, follows in zip(is_score, is_outcome, strict=True)
    ]


def _without(found: Decisions, result: Result, note: str) -> Iterator[Verdict]:
    author = found.author
    known: dict[str, Any] = {"model": author.model, "version": author.version, "digest": author.digest}
    known |= {"difference": None, "guarantee": None, "recorded_with": author.engine, "recomputed_with": None}
    for row in range(len(found)):
        yield Verdict(id=ids.text(found.base | row), result=result, note=note, **known)
