"""Days of decisions in PostgreSQL: a partition for each, by the time in the ids; one more for what has no such time.

An id tells its day in its first 48 bits, read as milliseconds. Those of a stream are its messages' own, and may be any:
a day that lies after the decision itself, or more than 400 days before, gets no partition. Such ids go to
`decisions_other`, as those whose partition was dropped: nothing is ever without a place.
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from sqlalchemy import Connection, text

DAY_MS: Final = 86_400_000
OLDEST_MS: Final = 400 * DAY_MS
OTHER: Final = "decisions_other"
_NAME: Final = re.compile(r"decisions_(\d{8})")
_PATIENCE: Final = text("SET LOCAL lock_timeout = '2s'")  # whoever reads all days at once holds up their change
_ATTACHED: Final = text(
    "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
    "WHERE i.inhparent = 'decisions'::regclass"
)


def days_of(times: Iterable[tuple[bytes, int]]) -> set[int]:
    """The days since 1970 told by the first 6 bytes of ids, each beside its decision's time in milliseconds."""
    told = ((int.from_bytes(id_, "big"), time_ms) for id_, time_ms in times)
    return {id_ms // DAY_MS for id_ms, time_ms in told if -DAY_MS <= time_ms - id_ms <= OLDEST_MS}


def make_days(connection: Connection, days: Iterable[int]) -> None:
    """Makes those days that have no partition yet. The caller holds the database's lock, or two would make the same.

    What already lies in `decisions_other` moves to its day; nobody puts more there meanwhile.
    """
    there = set(existing_days(connection))
    connection.execute(_PATIENCE)
    for day in sorted(set(days) - there):
        name, (first, last) = partition(day), bounds(day)
        within = f"id >= '{first}' AND id < '{last}'"
        for statement in (
            f"LOCK TABLE {OTHER} IN ACCESS EXCLUSIVE MODE",
            f"CREATE TABLE {name} (LIKE decisions INCLUDING ALL)",
            f"WITH moved AS (DELETE FROM {OTHER} WHERE {within} RETURNING *) INSERT INTO {name} SELECT * FROM moved",
            f"ALTER TABLE decisions ATTACH PARTITION {name} FOR VALUES FROM ('{first}') TO ('{last}')",
        ):
            connection.execute(text(statement))


def existing_days(connection: Connection) -> list[int]:
    """The days that have a partition, in order."""
    names = (_NAME.fullmatch(name) for name in connection.scalars(_ATTACHED))
    dates = sorted(datetime.strptime(name[1], "%Y%m%d").replace(tzinfo=UTC) for name in names if name)
    return [int(date.timestamp()) * 1000 // DAY_MS for date in dates]


def drop_day(connection: Connection, day: int) -> None:
    """Drops a day with all that is in it; the caller holds the database's lock."""
    connection.execute(_PATIENCE)
    connection.execute(text(f"DROP TABLE {partition(day)}"))


def partition(day: int) -> str:
    """The table of a day since 1970."""
    return f"decisions_{date_of(day)}"


def date_of(day: int) -> str:
    """Year, month and day of a day since 1970, in digits."""
    return f"{datetime.fromtimestamp(day * DAY_MS // 1000, UTC):%Y%m%d}"


def bounds(day: int) -> tuple[UUID, UUID]:
    """The first id of a day, and that of the next."""
    return UUID(int=day * DAY_MS << 80), UUID(int=(day + 1) * DAY_MS << 80)
