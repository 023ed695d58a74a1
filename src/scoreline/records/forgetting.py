"""Retention of outcomes: those that belong to no decision any more, or never did, go as decisions do.

An outcome goes where no decision is there that it belongs to, neither in the database nor in the archive, and both its
own time (of its event, or that in the prediction's id) and its receipt are older than the retention. A hold covers an
outcome by entity as it covers a decision of the time of the event; one by id names neither model nor entity, so only a
hold that names neither covers it.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, and_, exists, false, not_, or_, select, true

from scoreline.records.authors import numbers_by_model
from scoreline.records.database import Database
from scoreline.records.holds import Hold, active_holds
from scoreline.records.moved import SHIPPED
from scoreline.records.partitions import DAY_MS
from scoreline.records.tables import OUTCOMES

SLICE_ROWS: Final = 5000
_MS: Final = 1_000_000
_ROW: Final = OUTCOMES.c
_BY_ID: Final[ColumnElement[bool]] = _ROW.prediction.is_not(None)


def remove_outcomes(database: Database, days: int, now_ns: int) -> bool:
    """One step: removes what may go of the first slice that has something; whether there may be more.

    Outcomes lie as they were received, so that a slice without an old one is the last to be looked at. Raises
    DatabaseDown or DatabaseRefused.
    """
    cutoff_ns = now_ns - int(timedelta(days=days).total_seconds()) * 1000 * _MS
    page, after = select(_ROW.id, _ROW.received_ns).order_by(_ROW.id).limit(SLICE_ROWS), 0
    while True:
        with database.reading() as connection:
            rows = connection.execute(page.where(_ROW.id > after)).all()
        if not any(received_ns < cutoff_ns for _, received_ns in rows):
            return False
        first, after = rows[0][0], rows[-1][0]
        with database.writing() as connection:
            database.lock(connection)  # no hold is placed meanwhile
            gone = and_(_ROW.id.between(first, after), _old(cutoff_ns, now_ns), not_(_held(connection)))
            if connection.execute(OUTCOMES.delete().where(gone, not_(_matched(connection)))).rowcount:
                return True


def _old(cutoff_ns: int, now_ns: int) -> ColumnElement[bool]:
    """Those of ids of a time that is not yet, which only a stream's tell, go by their receipt."""
    told = or_(_ROW.prediction < _first_id(cutoff_ns), _ROW.prediction > _first_id(now_ns + 2 * DAY_MS * _MS))
    return and_(_ROW.received_ns < cutoff_ns, or_(and_(_BY_ID, told), and_(not_(_BY_ID), _ROW.event_ns < cutoff_ns)))


def _matched(connection: Connection) -> ColumnElement[bool]:
    """Whether a decision is there that an outcome belongs to."""
    authors = numbers_by_model(connection)
    return or_(*(_of(table, authors) for table in SHIPPED))


def _of(table: Any, authors: Mapping[str, list[int]]) -> ColumnElement[bool]:
    row = table.c
    by_model = or_(false(), *(and_(_ROW.model == model, row.author.in_(ids)) for model, ids in authors.items()))
    by_id = select(row.id).where(row.id == _ROW.prediction).correlate(OUTCOMES)
    by_entity = select(row.id).where(row.entity == _ROW.entity, row.time_ns <= _ROW.event_ns, by_model)
    return or_(exists(by_id), exists(by_entity.correlate(OUTCOMES)))


def _held(connection: Connection) -> ColumnElement[bool]:
    return or_(false(), *(_covered(hold) for hold in active_holds(connection).values()))


def _covered(hold: Hold) -> ColumnElement[bool]:
    by_entity = and_(
        not_(_BY_ID),
        true() if hold.model is None else _ROW.model == hold.model,
        true() if hold.entity is None else _ROW.entity == hold.entity,
        true() if hold.from_ns is None else _ROW.event_ns >= hold.from_ns,
        true() if hold.until_ns is None else _ROW.event_ns < hold.until_ns,
    )
    if hold.model is not None or hold.entity is not None:
        return by_entity
    by_id = and_(
        _BY_ID,
        true() if hold.from_ns is None else _ROW.prediction >= _first_id(hold.from_ns),
        true() if hold.until_ns is None else _ROW.prediction < _first_id(hold.until_ns + _MS - 1),
    )
    return or_(by_entity, by_id)


def _first_id(time_ns: int) -> bytes:
    """The first id of a millisecond."""
    return (max(0, time_ns) // _MS << 80).to_bytes(16, "big")
