"""What a shipped piece says of drift, counted in the transaction that ships it: so exactly once, as decisions are.

A version's own decisions count against its own reference, and only those it answered as champion: a canary's share of
the traffic is no less representative, but its evidence would begin with the few rows of its first step. A row for which
the feature store has failed counts for nothing: it would say that the world has changed while a store is down. Nor does
one that was asked about of late.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from sqlalchemy import Connection

from scoreline.core.link import Floats
from scoreline.drift.counts import packed
from scoreline.drift.fold import Fold
from scoreline.drift.repeats import Repeats
from scoreline.records.drift import put
from scoreline.records.pieces import Piece
from scoreline.records.rows import Cells

_VALUES, _SCORES, _DEFAULTED, _DEGRADED = 6, 8, 10, 11
_CHAMPION: Final = "champion"
MOST_VERSIONS: Final = 64
log = logging.getLogger("scoreline.records.drift")


class Folding:
    """Counts pieces into the inbox. `folds` gives the fold of a bundle by its digest; None: it is not known here."""

    def __init__(self, folds: Callable[[str], Fold | None]) -> None:
        self._folds = folds
        self._repeats: dict[str, Repeats] = {}
        self._said: set[str] = set()

    def count(self, connection: Connection, piece: Piece, writer: str, now_ns: int) -> None:
        """Adds what is counted of a piece, in the transaction that ships it."""
        versions = {
            place: (author.model, author.digest) for place, author in piece.authors.items() if author.role == _CHAMPION
        }
        found: dict[tuple[str, str], list[Cells]] = defaultdict(list)
        for place, row in zip(piece.by, piece.rows, strict=True):
            if place in versions and not row[_DEGRADED]:
                found[versions[place]].append(row)
        for (model, digest), rows in sorted(found.items()):
            fold = self._folds(digest)
            counts = None if fold is None else self._counted(model, fold, rows, (writer, piece.rows[0][0]), now_ns)
            if fold is not None and counts is not None:
                put(connection, model, digest, fold.reference.basis, now_ns, packed(counts))

    def _counted(self, model: str, fold: Fold, rows: Sequence[Cells], piece: object, now_ns: int) -> Floats | None:
        """Never raises: whatever is wrong with a reference, the record does not wait for it."""
        try:
            return counted(fold, self._repeats_of(fold).without(rows, piece, now_ns))
        except Exception:
            if model not in self._said:
                log.exception("decisions of %s cannot be counted for drift", model)
            self._said.add(model)
            return None

    def _repeats_of(self, fold: Fold) -> Repeats:
        digest = fold.reference.manifest.digest
        if digest not in self._repeats:
            if len(self._repeats) >= MOST_VERSIONS:
                self._repeats.clear()
            self._repeats[digest] = Repeats(has_distinct_rows=fold.reference.has_distinct_rows)
        return self._repeats[digest]


def counted(fold: Fold, rows: Sequence[Cells]) -> Floats | None:
    """The counts of rows as the record has them; None where none of them is of this version's shape."""
    layout = fold.reference.layout
    sizes = 8 * layout.fields, 8 * layout.outputs
    if any(len(row[_VALUES]) != sizes[0] or len(row[_SCORES]) != sizes[1] for row in rows):
        rows = [row for row in rows if (len(row[_VALUES]), len(row[_SCORES])) == sizes]
    if not rows:
        return None
    values = np.frombuffer(b"".join([row[_VALUES] for row in rows]), dtype="<f8").reshape(len(rows), -1)
    scores = np.frombuffer(b"".join([row[_SCORES] for row in rows]), dtype="<f8").reshape(len(rows), -1)
    return fold(_without_defaults(values, [row[_DEFAULTED] for row in rows]), scores)


def _without_defaults(values: Floats, defaulted: Sequence[bytes]) -> Floats:
    """The same values, NaN where a default was taken; `defaulted` has positions of fields as little-endian uint16."""
    joined = b"".join(defaulted)
    if not joined:
        return values
    n_of_row = np.array([len(each) // 2 for each in defaulted])
    places = np.frombuffer(joined, dtype="<u2")
    found = values.copy()
    is_field = places < values.shape[1]
    found[np.repeat(np.arange(len(values)), n_of_row)[is_field], places[is_field]] = np.nan
    return found
