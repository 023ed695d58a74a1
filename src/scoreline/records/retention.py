"""Retention: decisions older than so many days leave the database, but for those that are held.

In PostgreSQL a day goes as its partition, unless something in it must stay; all else goes in slices, each in a
transaction of its own, so that whoever writes waits for one slice at most. Every such transaction is signed for: see
`leaves`.
"""

from datetime import timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, and_, delete, exists, func, not_, or_, select

from scoreline.records.chain import RETENTION, lock_open
from scoreline.records.database import POSTGRESQL, Database
from scoreline.records.holds import held
from scoreline.records.leaves import Leaving, sign_away, with_authors
from scoreline.records.ledger import heads, last
from scoreline.records.partitions import DAY_MS, bounds, date_of, drop_day, existing_days
from scoreline.records.rollout_tables import WINDOWS
from scoreline.records.tables import DECISIONS
from scoreline.records.windows import KEPT_NS
from scoreline.signing import Signer

SLICE_ROWS: Final = 5000
_NS: Final = 1_000_000_000


def remove_expired(database: Database, days: int, now_ns: int, signer: Signer) -> bool:
    """One step: a partition or a slice of what is older than `days` days; returns whether there may be more.

    Raises DatabaseDown or DatabaseRefused.
    """
    cutoff_ns = now_ns - int(timedelta(days=days).total_seconds()) * _NS
    facts = {"days": days, "before_ns": cutoff_ns}
    if database.kind == POSTGRESQL and _drop_a_day(database, cutoff_ns, now_ns, signer, facts):
        return True
    with database.reading() as connection:  # it may take a while to see that nothing is, and nobody waits for that
        if connection.scalar(select(DECISIONS.c.id).where(_expired(connection, cutoff_ns, now_ns)).limit(1)) is None:
            return False
    with database.writing() as connection:
        database.lock(connection)  # no hold is placed meanwhile
        lock_open(connection)
        expired = select(*DECISIONS.c).where(_expired(connection, cutoff_ns, now_ns))
        rows = connection.execute(expired.order_by(DECISIONS.c.id).limit(SLICE_ROWS)).all()
        if not rows:
            return False
        connection.execute(DECISIONS.delete().where(DECISIONS.c.id.in_([row.id for row in rows])))
        sign_away(connection, Leaving(with_authors(connection, rows)), signer, now_ns, RETENTION, facts)
        return len(rows) == SLICE_ROWS


def forget_windows(database: Database, now_ns: int) -> bool:
    """One slice of what was counted a month ago for rollouts that are over; whether there may be more.

    Their evidence is in the ledger. Raises DatabaseDown or DatabaseRefused.
    """
    for model, seq in heads(database).items():
        entry = last(database, model)
        current = (entry.stage.get("rollout") if entry else 0) or seq + 1
        over = WINDOWS.c.model == model, WINDOWS.c.rollout < current, WINDOWS.c.at_ns <= now_ns - KEPT_NS
        slice_ = select(WINDOWS.c.id).where(*over).limit(SLICE_ROWS)
        with database.writing() as connection:
            gone = connection.execute(delete(WINDOWS).where(WINDOWS.c.id.in_(slice_))).rowcount
        if gone:
            return True
    return False


def _drop_a_day(database: Database, cutoff_ns: int, now_ns: int, signer: Signer, facts: dict[str, Any]) -> bool:
    """Drops the first day of which nothing must stay; whether there was one."""
    with database.reading() as connection:
        past = (day for day in existing_days(connection) if (day + 1) * DAY_MS * 1_000_000 <= cutoff_ns)
        day = next((day for day in past if not _must_stay(connection, day, cutoff_ns)), None)
        if day is None:
            return False
        rows = connection.execute(select(*DECISIONS.c).where(_on(day)).execution_options(yield_per=SLICE_ROWS))
        gone = Leaving(with_authors(connection, rows))
    with database.writing() as connection:
        database.lock(connection)  # no hold is placed meanwhile
        lock_open(connection)
        there = connection.scalar(select(func.count()).select_from(DECISIONS).where(_on(day)))
        if there == gone.rows and not _must_stay(connection, day, cutoff_ns):
            drop_day(connection, day)
            sign_away(connection, gone, signer, now_ns, RETENTION, {**facts, "day": date_of(day)})
    return True


def _must_stay(connection: Connection, day: int, cutoff_ns: int) -> bool:
    return bool(connection.scalar(select(exists().where(_on(day), _stays(connection, cutoff_ns)))))


def _expired(connection: Connection, cutoff_ns: int, now_ns: int) -> ColumnElement[bool]:
    return and_(_old(cutoff_ns, now_ns), not_(held(connection)))


def _stays(connection: Connection, cutoff_ns: int) -> ColumnElement[bool]:
    return or_(DECISIONS.c.time_ns >= cutoff_ns, held(connection))


def _on(day: int) -> ColumnElement[bool]:
    first, last = (bound.bytes for bound in bounds(day))
    return and_(DECISIONS.c.id >= first, DECISIONS.c.id < last)


def _old(cutoff_ns: int, now_ns: int) -> ColumnElement[bool]:
    """Taken up before; found by the key, because ids tell the same time, or, where they are a stream's, any.

    Those of a time that is not yet are among the last.
    """
    before, after = ((ns // 1_000_000 << 80).to_bytes(16, "big") for ns in (cutoff_ns, now_ns + 2 * DAY_MS * 1_000_000))
    return and_(or_(DECISIONS.c.id < before, DECISIONS.c.id > after), DECISIONS.c.time_ns < cutoff_ns)
