"""How far people were notified: the last entry of each model that was told, of the ledger and of incidents of drift."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Table, func, select, text, update

from scoreline.records.database import Database
from scoreline.records.drift_tables import INCIDENTS, NOTIFIED_OF_DRIFT
from scoreline.records.ledger import heads
from scoreline.records.rollout_tables import LEDGER, NOTIFIED


@dataclass(frozen=True, slots=True)
class Cursor:
    """A log of entries by model and number, and the table that says how far it was told."""

    log: Table
    told: Table


OF_LEDGER: Final = Cursor(LEDGER, NOTIFIED)
OF_DRIFT: Final = Cursor(INCIDENTS, NOTIFIED_OF_DRIFT)


def told_up_to(database: Database, since_ns: int, cursor: Cursor = OF_LEDGER) -> dict[str, int]:
    """The last number told, of every model with a ledger. What happened before `since_ns` is no news to begin with."""
    with database.reading() as connection:
        known = {row.model: row.seq for row in connection.execute(select(cursor.told))}
    for model in heads(database).keys() - known.keys():
        known[model] = _begin(database, model, since_ns, cursor)
    return known


def tell_up_to(database: Database, model: str, seq: int, cursor: Cursor = OF_LEDGER) -> None:
    """An entry, and all before it, are told."""
    told = cursor.told
    behind = update(told).where(told.c.model == model, told.c.seq < seq)
    with database.writing(durable=True) as connection:
        connection.execute(behind.values(seq=seq))


def _begin(database: Database, model: str, since_ns: int, cursor: Cursor) -> int:
    log, told = cursor.log, cursor.told
    old = select(func.max(log.c.seq)).where(log.c.model == model, log.c.at_ns < since_ns)
    add = text(f"INSERT INTO {told.name} (model, seq) VALUES (:model, :seq) ON CONFLICT DO NOTHING")
    with database.writing(durable=True) as connection:
        connection.execute(add, {"model": model, "seq": connection.scalar(old) or 0})
        return int(connection.scalar(select(told.c.seq).where(told.c.model == model)) or 0)
