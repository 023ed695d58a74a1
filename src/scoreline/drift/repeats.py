"""Whom or what was asked about already of late: who sends a row a hundred times has seen one row.

Evidence takes each row for news, given all before (docs/drift.md, what is assumed); a row that is sent again is none.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from scoreline.records.rows import Cells

LEAST_NS: Final = 1800 * 1_000_000_000  # that a key is remembered for once it has counted; twice that at most
MOST: Final = 65536  # keys that are remembered of a version; of more, the older half is forgotten
_ENTITY, _VALUES = 2, 6
Keys = np.ndarray[Any, np.dtype[np.int64]]
_NONE: Final[Keys] = np.empty(0, np.int64)


class Repeats:
    """The keys of late of one version: the entities, and of rows that name none the values.

    These are keys only where rows of the reference are distinct: of three booleans there are only eight rows.
    """

    def __init__(self, *, has_distinct_rows: bool) -> None:
        self._has_distinct_rows = has_distinct_rows
        self._older = self._newer = self._waiting = _NONE
        self._piece: object = None
        self._turned_ns = 0

    def without(self, rows: Sequence[Cells], piece: object, now_ns: int) -> list[Cells]:
        """The first row of each key that is new, and rows without a key.

        `piece` names where they come from: what could not be shipped comes again under the same name, and is as new.
        """
        if piece != self._piece:
            self._remember(now_ns)
            self._piece = piece
        is_keyed = [bool(row[_ENTITY]) or self._has_distinct_rows for row in rows]
        keys = [hash(row[_ENTITY] or row[_VALUES]) for row, has_key in zip(rows, is_keyed, strict=True) if has_key]
        found, first = np.unique(np.array(keys, np.int64), return_index=True)
        is_known = np.isin(found, self._older) | np.isin(found, self._newer)
        self._waiting = found[~is_known]
        is_new = ~np.array(is_keyed, bool)
        is_new[np.flatnonzero(is_keyed)[first[~is_known]]] = True
        return [row for row, new in zip(rows, is_new.tolist(), strict=True) if new]

    def _remember(self, now_ns: int) -> None:
        self._newer = np.union1d(self._newer, self._waiting)
        if now_ns - self._turned_ns >= LEAST_NS or len(self._newer) >= MOST // 2:
            self._older, self._newer, self._turned_ns = self._newer, _NONE, now_ns
