"""What admins did, as people see it."""

from typing import Any

from scoreline.operations.maturity import utc
from scoreline.records.actions import actions
from scoreline.records.database import Database


def acted(database: Database, limit: int) -> list[dict[str, Any]]:
    """The newest so many actions, the newest first; raises DatabaseDown or DatabaseRefused."""
    return [
        {
            "at": utc(found.at_ns),
            "who": found.by.who,
            "address": found.by.address,
            "action": found.action,
            "facts": dict(found.facts),
        }
        for found in actions(database, limit)
    ]
