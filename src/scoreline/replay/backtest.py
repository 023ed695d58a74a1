"""Backtesting: recorded decisions scored by another version, on the features as they were used.

Fields meet by name and categories by their words, because two versions may code them otherwise. A field the record does
not have takes the other version's default. What the other version would refuse is reported, not scored.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import chain, repeat
from typing import Any

import numpy as np

from scoreline.core import ids
from scoreline.core.batch import Context
from scoreline.core.bundle import Bundle
from scoreline.core.columns import read_table
from scoreline.core.decision import Author, Decisions
from scoreline.core.errors import EngineFailed, RowsRefused, ScorelineError
from scoreline.core.fitting import lenient
from scoreline.core.link import LINKS, Floats
from scoreline.core.manifest import Manifest
from scoreline.core.ports import Engine
from scoreline.core.schema import Schema
from scoreline.core.shown import shown_column
from scoreline.replay.grouped import by_author, mismatch, outcome_of, stacked

OpenManifest = Callable[[str], Manifest]
Columns = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Backtest:
    """One recorded decision beside what another version would have decided; `note` says why where there is nothing.

    Scores are by name of output or class. `defaulted` are fields that the record does not have.
    """

    id: str
    model: str
    version: str
    other_version: str
    comparable: bool
    scores: Mapping[str, float]
    other_scores: Mapping[str, float] | None
    outcome: str | None
    other_outcome: str | None
    defaulted: tuple[str, ...]
    note: str


@dataclass(slots=True)
class Changes:
    """Counts over many backtests: how many were comparable, from which outcome to which, and how far scores moved."""

    comparable: int = 0
    notes: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    moved_sum: float = 0.0
    moved_most: float = 0.0

    def add(self, found: Backtest) -> None:
        if not found.comparable or found.other_scores is None:
            self.notes[found.note] += 1
            return
        self.comparable += 1
        if found.outcome is not None and found.other_outcome is not None:
            self.outcomes[found.outcome, found.other_outcome] += 1
        shared = found.scores.keys() & found.other_scores.keys()
        moved = max((abs(found.scores[name] - found.other_scores[name]) for name in shared), default=0.0)
        self.moved_sum += moved
        self.moved_most = max(self.moved_most, moved)

    @property
    def moved_mean(self) -> float | None:
        """The mean distance of scores; None where nothing was comparable: no data is not zero."""
        return self.moved_sum / self.comparable if self.comparable else None


def backtest(
    decisions: Iterable[Decisions], open_manifest: OpenManifest, other: Bundle, engine: Engine
) -> Iterator[Backtest]:
    """One per decision, in groups of one author. `open_manifest` gives the manifest of a digest, or raises.

    The manifest of what was recorded is needed for its words: categories are recorded as codes.
    """

    @lru_cache
    def manifest_of(digest: str) -> Manifest | str:
        try:
            return open_manifest(digest)
        except ScorelineError as error:
            return f"the recorded version's manifest cannot be read: {error}"

    for author, group in by_author(decisions):
        manifest = manifest_of(author.digest)
        if isinstance(manifest, str):
            yield from chain.from_iterable(_without(found, other.manifest, manifest) for found in group)
            continue
        sound = []
        for found in group:
            wrong = mismatch(found, manifest)
            if wrong:
                yield from _without(found, other.manifest, wrong)
            else:
                sound.append(found)
        if sound:
            yield from _rescored(author, sound, manifest.schema, other.manifest, engine)


def _rescored(
    author: Author, group: Sequence[Decisions], recorded: Schema, other: Manifest, engine: Engine
) -> Iterator[Backtest]:
    values = stacked(found.values for found in group)
    columns = {
        name: shown_column(recorded.fields[position], values[:, position])
        for position, name in enumerate(recorded.names)
        if name in other.schema.index
    }
    taken, batch, notes = _taken(lenient(other.schema), columns, len(values))
    try:
        margins = engine.predict(batch)
    except EngineFailed as error:
        yield from chain.from_iterable(_without(found, other, str(error)) for found in group)
        return
    scores = LINKS[other.link](margins)
    outcomes = [other.policy.outcomes[code] for code in other.policy.codes(scores)] or repeat(None, len(taken))
    again = dict(zip(taken, zip(scores.tolist(), outcomes, strict=True), strict=True))
    defaulted = tuple(name for name in other.schema.names if name not in columns)
    names = other.classes or (author.output,)  # a score is compared with a score, whatever the versions call it
    for place, blank in enumerate(chain.from_iterable(_without(found, other, "") for found in group)):
        if place in notes:
            yield replace(blank, note=notes[place])
            continue
        rescored, outcome = again[place]
        yield replace(
            blank,
            comparable=True,
            other_scores=dict(zip(names, rescored, strict=True)),
            other_outcome=outcome,
            defaulted=defaulted,
        )


def _taken(schema: Schema, columns: Columns, n_rows: int) -> tuple[list[int], Floats, dict[int, str]]:
    """The rows the schema takes, their values, and for every other row why not."""
    left = list(range(n_rows))
    notes: dict[int, str] = {}
    while left:
        try:
            picked = {name: _picked(column, left) for name, column in columns.items()}
            return left, read_table(schema, picked, len(left), Context(0)).values, notes
        except RowsRefused as refused:
            for problem in refused.problems:
                notes.setdefault(left[problem.row], f"field {problem.field!r} of the other version {problem.problem}")
            left = [row for row in left if row not in notes]
    return [], np.empty((0, len(schema.fields))), notes


def _picked(column: Any, rows: Sequence[int]) -> Any:
    return column[rows] if isinstance(column, np.ndarray) else [column[row] for row in rows]


def _without(found: Decisions, other: Manifest, note: str) -> Iterator[Backtest]:
    author = found.author
    names = author.classes or (author.output,)
    for row, scores in enumerate(found.scores.tolist()):
        yield Backtest(
            id=ids.text(found.base | row),
            model=author.model,
            version=author.version,
            other_version=other.version,
            comparable=False,
            scores=dict(zip(names, scores, strict=False)),
            other_scores=None,
            outcome=outcome_of(found, row),
            other_outcome=None,
            defaulted=(),
            note=note,
        )
