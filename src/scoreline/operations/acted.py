"""What admins did, as people see it."""

import time
from collections.abc import Mapping
from typing import Any

from scoreline.operations.maturity import utc
from scoreline.records.actions import Action, By, actions, put_down
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


def note(database: Database, by: By, action: str, facts: Mapping[str, Any]) -> None:
    """Keeps an action whose effects are not in the database, before it has them; raises DatabaseDown."""
    with database.writing() as connection:
        put_down(connection, Action(time.time_ns(), by, action, facts))
