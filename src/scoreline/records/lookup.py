"""Looking decisions up in a spool, before they are shipped. A `core.ports.Record`.

One decision costs a search for the bytes of its id through every segment, the newest writer's first: a second for some
gigabytes.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from scoreline.core.decision import Decisions
from scoreline.core.ids import MAX_ROWS
from scoreline.records.frames import MAGIC, read_frames
from scoreline.records.rows import decisions_of, rows_of
from scoreline.records.segments import Segment, segments
from scoreline.records.spool import read_spool


class SpoolRecord:
    """The decisions in a folder of segments."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, decision_id: int) -> Decisions | None:
        base, row = decision_id & -MAX_ROWS, decision_id % MAX_ROWS
        for segment in reversed(segments(self._folder)):
            found = _find(segment, base)
            if found is not None and row < len(found):
                return one_row(found, row)
        return None

    def iterate(self, model: str = "") -> Iterator[Decisions]:
        return (found for found in read_spool(self._folder) if not model or found.author.model == model)


def one_row(decisions: Decisions, row: int) -> Decisions:
    """One of some decisions as decisions of one row; its id is the base."""
    return decisions_of(next(islice(rows_of(decisions), row, None)), decisions.author)


def _find(segment: Segment, base: int) -> Decisions | None:
    raw = segment.path.read_bytes()
    if base.to_bytes(16, "big") not in raw:
        return None
    for found, _ in read_frames(raw[len(MAGIC) :], {}):
        if isinstance(found, Decisions) and found.base == base:
            return found
    return None
