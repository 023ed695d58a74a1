"""What stays in the database of decisions that are in the archive: a stub of each, so that outcomes still find it.

A shipped decision is in `decisions` or in `moved`, never in both and never in neither, until it is removed.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Table, and_, literal, select
from sqlalchemy.dialects import postgresql, sqlite

from scoreline.records.database import POSTGRESQL
from scoreline.records.partitions import bounds
from scoreline.records.tables import DECISIONS, MOVED

# In this order a decision that is just being moved is not missed.
SHIPPED: Final[tuple[Table, ...]] = (DECISIONS, MOVED)
_ASKED: Final = 500
_STUB: Final = ("id", "time_ns", "entity", "author")


def move(connection: Connection, ids: Sequence[bytes], archive: int) -> None:
    """Takes decisions out of the database that are in a file, and leaves their stubs."""
    these = DECISIONS.c.id.in_(ids)
    found = select(*(DECISIONS.c[name] for name in _STUB), literal(archive)).where(these)
    insert: Any = postgresql.insert if connection.dialect.name == POSTGRESQL else sqlite.insert
    connection.execute(insert(MOVED).from_select([*_STUB, "archive"], found).on_conflict_do_nothing())
    connection.execute(DECISIONS.delete().where(these))


def forget(connection: Connection, archive: int, day: int) -> None:
    """Takes the stubs of a file away, which has the decisions of a day."""
    first, last = (bound.bytes for bound in bounds(day))
    of_file: ColumnElement[bool] = and_(MOVED.c.id >= first, MOVED.c.id < last, MOVED.c.archive == archive)
    connection.execute(MOVED.delete().where(of_file))


def shipped(connection: Connection, ids: Sequence[bytes]) -> set[bytes]:
    """Those of some ids whose decisions are in the database or in the archive."""
    found: set[bytes] = set()
    for start in range(0, len(ids), _ASKED):
        asked = ids[start : start + _ASKED]
        for table in SHIPPED:
            found.update(connection.scalars(select(table.c.id).where(table.c.id.in_(asked))))
    return found


def any_moved(connection: Connection, ids: Iterable[bytes]) -> bool:
    """Whether one of some ids is of a decision in the archive. New ones are mostly beyond all that is there."""
    asked = sorted(ids)
    if not asked:
        return False
    within = select(MOVED.c.id).where(MOVED.c.id.between(asked[0], asked[-1])).limit(1)
    if connection.scalar(within) is None:
        return False
    pieces = (asked[start : start + _ASKED] for start in range(0, len(asked), _ASKED))
    return any(connection.scalar(select(MOVED.c.id).where(MOVED.c.id.in_(piece)).limit(1)) for piece in pieces)
