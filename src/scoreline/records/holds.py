"""Legal holds: decisions that nobody may remove, whatever the retention, until the hold is released."""

from dataclasses import dataclass
from time import time_ns
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Table, and_, false, insert, or_, select, true

from scoreline.core.errors import NotFound
from scoreline.records.database import Database
from scoreline.records.rows import author_of
from scoreline.records.tables import AUTHORS, DECISIONS, HOLDS

_COLUMNS: Final = [HOLDS.c[name] for name in ("model", "entity", "from_ns", "until_ns", "reason", "who")]


@dataclass(frozen=True, slots=True)
class Hold:
    """What is held: of a model, about an entity, taken up from one time until before another; None is any of them."""

    model: str | None = None
    entity: bytes | None = None
    from_ns: int | None = None
    until_ns: int | None = None
    reason: str = ""
    who: str = ""


def place(database: Database, hold: Hold) -> int:
    """The number of the new hold; it counts for whatever is removed from here on. Raises DatabaseDown."""
    facts = {column.name: getattr(hold, column.name) for column in _COLUMNS}
    with database.writing() as connection:
        database.lock(connection)  # nothing is being removed meanwhile
        added = connection.execute(insert(HOLDS).values(**facts, at_ns=time_ns()).returning(HOLDS.c.id))
        return int(added.scalar_one())


def release(database: Database, number: int, who: str) -> None:
    """Ends a hold, which stays in the table; raises NotFound."""
    with database.writing() as connection:
        active = HOLDS.update().where(HOLDS.c.id == number, HOLDS.c.released_ns.is_(None))
        if connection.execute(active.values(released_by=who, released_ns=time_ns())).rowcount != 1:
            raise NotFound(f"there is no hold {number}, or it is released already")


def active_holds(connection: Connection) -> dict[int, Hold]:
    """Holds that count, by their numbers."""
    found = connection.execute(select(HOLDS.c.id, *_COLUMNS).where(HOLDS.c.released_ns.is_(None)))
    return {number: Hold(*facts) for number, *facts in found}


def held(connection: Connection, table: Table = DECISIONS) -> ColumnElement[bool]:
    """The condition that a decision is held now, in the table it stands in."""
    holds = active_holds(connection).values()
    if not holds:
        return false()
    models = [(id_, author_of(json).model) for id_, json in connection.execute(select(AUTHORS.c.id, AUTHORS.c.json))]
    return or_(*(_covered(hold, [id_ for id_, model in models if model == hold.model], table.c) for hold in holds))


def _covered(hold: Hold, authors: list[int], row: Any) -> ColumnElement[bool]:
    return and_(
        true() if hold.model is None else row.author.in_(authors),
        true() if hold.entity is None else row.entity.is_not_distinct_from(hold.entity),
        true() if hold.from_ns is None else row.time_ns >= hold.from_ns,
        true() if hold.until_ns is None else row.time_ns < hold.until_ns,
    )
