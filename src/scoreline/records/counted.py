"""Forgetting whom rollouts have counted. Their counts stay, which name nobody."""

from typing import Final

from sqlalchemy import delete, select

from scoreline.records.database import Database
from scoreline.records.ledger import history
from scoreline.records.rollout_tables import UNITS

KEPT_NS: Final = 30 * 86_400_000_000_000
ENTRIES: Final = 10_000


def forget_units(database: Database, now_ns: int) -> None:
    """Forgets whom rollouts have counted that ended 30 days ago; their counts stay, which name nobody.

    Raises DatabaseDown or DatabaseRefused.
    """
    with database.reading() as connection:
        found = connection.execute(select(UNITS.c.model, UNITS.c.rollout).distinct()).all()
    for model, rollout in found:
        ended_ns = _ended_ns(database, model, rollout)
        if ended_ns is not None and ended_ns + KEPT_NS <= now_ns:
            with database.writing() as connection:
                connection.execute(delete(UNITS).where(UNITS.c.model == model, UNITS.c.rollout == rollout))


def _ended_ns(database: Database, model: str, rollout: int) -> int | None:
    """When a rollout ended; None while it goes on."""
    ended_ns = None
    for entry in history(database, model, ENTRIES):
        if entry.seq <= rollout or entry.stage.get("rollout") == rollout:
            return ended_ns
        ended_ns = entry.at_ns
    return ended_ns
