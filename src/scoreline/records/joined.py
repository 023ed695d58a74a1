"""Decisions with what is known to have happened, from the whole record: spool, database and archive.

The spool is looked at first, so that what is shipped meanwhile is not missed; what is found in both counts once. Of it
only what is to be kept is held in memory; all else is read a page at a time. An outcome by entity finds its decision
once that is shipped.
"""

import heapq
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

from scoreline.core.decision import Author
from scoreline.records.archive import Archive
from scoreline.records.database import Database
from scoreline.records.outcomes import Known, known_of
from scoreline.records.rows import Row, rows_of
from scoreline.records.spool import read_spool
from scoreline.records.walk import Found, Wanted, authors_in, order_of, walk

PAGE_ROWS: Final = 5000


class Joined(NamedTuple):
    """A decision and what is known of it."""

    row: Row
    author: Author
    known: Known | None


Keep = Callable[[Joined], bool]


@dataclass(frozen=True, slots=True)
class Places:
    """Where decisions are: a spool, the database and the archive, where there are any, or where they are to be read."""

    spool: Path | None
    database: Database | None = None
    archive: Archive | None = None

    def authors(self, wanted: Wanted) -> list[Author]:
        """The authors whose decisions may be wanted, as they first came."""
        shipped = authors_in(self.database, wanted) if self.database else []
        waiting = (decisions.author for decisions in read_spool(self.spool)) if self.spool else ()
        return list(dict.fromkeys((*shipped, *filter(wanted.by, waiting))))


def joined(
    places: Places, wanted: Wanted, keep: Keep, *, newest: bool = False, limit: int | None = None
) -> Iterator[Joined]:
    """The decisions wanted that are to be kept, the oldest first, or the newest; at most so many.

    Raises DatabaseDown, DatabaseRefused or OSError.
    """
    held = _waiting(places, wanted, keep, newest=newest, limit=limit)
    also = {found.row.id for found in held}
    shipped: Iterable[Joined] = ()
    if places.database:
        page_rows = PAGE_ROWS if limit is None else min(PAGE_ROWS, max(limit, 100))
        found = walk(places.database, places.archive, wanted, newest=newest, page_rows=page_rows)
        there = (one for one in found if one.row.id not in also)
        shipped = filter(keep, _known(places.database, there, page_rows))
    yield from islice(heapq.merge(held, shipped, key=_order, reverse=newest), limit)


def _waiting(places: Places, wanted: Wanted, keep: Keep, *, newest: bool, limit: int | None) -> list[Joined]:
    """What is kept of the spool, in order."""
    if places.spool is None:
        return []
    requests = (found for found in read_spool(places.spool) if wanted.by(found.author))
    rows = (Found(row, found.author) for found in requests for row in rows_of(found))
    taken = (found for found in rows if wanted.takes(*found))
    known = filter(keep, _known(places.database, taken, PAGE_ROWS))
    if limit is None:
        return sorted(known, key=_order, reverse=newest)
    return (heapq.nlargest if newest else heapq.nsmallest)(limit, known, key=_order)


def _known(database: Database | None, many: Iterable[Found], page_rows: int) -> Iterator[Joined]:
    """Each with what is known of it, asked for a page at a time."""
    left = iter(many)
    while page := list(islice(left, page_rows)):
        known: dict[bytes, Known] = {}
        if database:
            with database.reading() as connection:
                known = known_of(connection, {found.row.id: found.row.entity for found in page})
        yield from (Joined(row, author, known.get(row.id)) for row, author in page)


def _order(found: Joined) -> int:
    return order_of(Found(found.row, found.author))
