"""How far people were notified: the last entry of each model's ledger that was told."""

from typing import Final

from sqlalchemy import func, select, text, update

from scoreline.records.database import Database
from scoreline.records.ledger import heads
from scoreline.records.rollout_tables import LEDGER, NOTIFIED

_ADD: Final = text("INSERT INTO notified (model, seq) VALUES (:model, :seq) ON CONFLICT DO NOTHING")


def told_up_to(database: Database, since_ns: int) -> dict[str, int]:
    """The last number told, of every model with a ledger. What happened before `since_ns` is no news to begin with."""
    with database.reading() as connection:
        known = {row.model: row.seq for row in connection.execute(select(NOTIFIED))}
    for model in heads(database).keys() - known.keys():
        known[model] = _begin(database, model, since_ns)
    return known


def tell_up_to(database: Database, model: str, seq: int) -> None:
    """An entry, and all before it, are told."""
    behind = update(NOTIFIED).where(NOTIFIED.c.model == model, NOTIFIED.c.seq < seq)
    with database.writing(durable=True) as connection:
        connection.execute(behind.values(seq=seq))


def _begin(database: Database, model: str, since_ns: int) -> int:
    old = select(func.max(LEDGER.c.seq)).where(LEDGER.c.model == model, LEDGER.c.at_ns < since_ns)
    with database.writing(durable=True) as connection:
        connection.execute(_ADD, {"model": model, "seq": connection.scalar(old) or 0})
        return int(connection.scalar(select(NOTIFIED.c.seq).where(NOTIFIED.c.model == model)) or 0)
