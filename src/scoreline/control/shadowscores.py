"""One challenger's answers to decisions as they are recorded: with the features as they were used."""

import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from scoreline.core.batch import Batch, Context
from scoreline.core.decision import Decisions
from scoreline.core.errors import BundleError, NotFound, RowsRefused, SchemaError
from scoreline.core.fitting import Fit, fitting
from scoreline.core.scorer import Scorer
from scoreline.operations.bundles import manifest_of
from scoreline.records.pieces import Piece
from scoreline.records.rows import Cells, cells_of
from scoreline.records.shadowed import ANSWERED, Scored

_VALUES_AT: Final = 6
_DEFAULTED_AT: Final = 10
log = logging.getLogger("scoreline.shadow")
Rows = Mapping[str, Sequence[Cells]]  # by the digest of the version that decided


class Challenger:
    """A version that scores what others have decided. `state_dir` has their bundles."""

    def __init__(self, scorer: Scorer, state_dir: Path) -> None:
        self.author = scorer.author
        self._scorer = scorer
        self._state_dir = state_dir
        self._fits: dict[str, Fit | None] = {}
        self._unfit: set[str] = set()

    def rows_of(self, piece: Piece) -> Rows:
        """What a piece answered of this model."""
        rows = defaultdict(list)
        for by, row in zip(piece.by, piece.rows, strict=True):
            author = piece.authors[by]
            if author.model == self.author.model and author.role in ANSWERED:
                rows[author.digest].append(row)
        return rows

    def score(self, rows: Rows) -> list[Scored]:
        """Its answers; rows that it does not take, or has no number for, are left out. Raises what its engine does."""
        return [one for digest, many in rows.items() for one in self._answers(digest, many)]

    def _answers(self, digest: str, rows: Sequence[Cells]) -> Iterator[Scored]:
        fit = self._fit(digest)
        if digest in self._unfit:
            return
        left = list(rows)
        while left:
            batch = _batch(left, defaults=fit is not None)
            try:
                decisions = self._scorer(fit(batch) if fit else batch)
            except RowsRefused as refused:
                lost = {problem.row for problem in refused.problems}
                left = [row for place, row in enumerate(left) if place not in lost]
            else:
                yield from _named(left, decisions)
                return

    def _fit(self, digest: str) -> Fit | None:
        """What makes rows that a version has used into this one's; where nothing does, the version is unfit."""
        if digest not in self._fits:
            self._fits[digest] = None
            try:
                self._fits[digest] = fitting(manifest_of(self._state_dir, digest).schema, self._scorer.schema)
            except (SchemaError, NotFound, BundleError) as error:
                self._unfit.add(digest)
                version, model = self.author.version, self.author.model
                log.error("version %s of %s cannot score what %s has decided: %s", version, model, digest[:12], error)
        return self._fits[digest]


def _batch(rows: Sequence[Cells], *, defaults: bool) -> Batch:
    """Rows with the values that were used; which of these were defaults matters to another schema only."""
    width = len(rows[0][_VALUES_AT]) // 8
    values = np.frombuffer(b"".join(row[_VALUES_AT] for row in rows), "<f8").reshape(len(rows), width)
    took = {
        place: np.frombuffer(row[_DEFAULTED_AT], "<u2").tolist()
        for place, row in enumerate(rows if defaults else ())
        if row[_DEFAULTED_AT]
    }
    return Batch(values, Context(1), took)


def _named(rows: Sequence[Cells], decisions: Decisions) -> Iterator[Scored]:
    outcomes = decisions.outcomes or (-1,) * len(rows)
    for row, scores, outcome in zip(rows, cells_of(decisions.scores), outcomes, strict=True):
        yield Scored(row[0], scores, outcome)
