"""What admins did: one list of all that the record's tables tell of it, rollouts, holds, erasures and exports too."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Select, select

from scoreline.core.manifest import canonical_json
from scoreline.records.access_tables import ACTIONS
from scoreline.records.database import Database
from scoreline.records.rollout_tables import LEDGER
from scoreline.records.tables import ERASURES, EXPORTS, HOLDS


@dataclass(frozen=True, slots=True)
class By:
    """Who acts, and from which address; on the command line from none."""

    who: str
    address: str = ""


@dataclass(frozen=True, slots=True)
class Action:
    """What was done, when, by whom, and about what."""

    at_ns: int
    by: By
    action: str
    facts: Mapping[str, Any]


def put_down(connection: Connection, action: Action) -> None:
    """Keeps an action in the transaction that does it."""
    said = {"at_ns": action.at_ns, "who": action.by.who, "address": action.by.address, "action": action.action}
    connection.execute(ACTIONS.insert().values(**said, facts=canonical_json(action.facts).decode()))


def actions(database: Database, limit: int) -> list[Action]:
    """The newest so many, the newest first; whom decisions are about is their keyed hash. Raises DatabaseDown."""
    with database.reading() as connection:
        found = [action for wanted in _WANTED for action in _read(connection, *wanted, limit)]
    return sorted(found, key=lambda action: action.at_ns, reverse=True)[:limit]


def _read(connection: Connection, wanted: Select[Any], kind: str, limit: int) -> Iterator[Action]:
    """The first two columns are when and by whom, the others are facts."""
    when = wanted.selected_columns[0]
    for row in connection.execute(wanted.where(when.is_not(None)).order_by(when.desc()).limit(limit)).mappings():
        facts: dict[str, Any] = {
            name: value.hex() if isinstance(value, bytes) else value for name, value in row.items()
        }
        at_ns, who = facts.pop("at_ns"), facts.pop("who")
        given = {name: value for name, value in facts.items() if value is not None}
        if kind:
            yield Action(at_ns, By(who), kind, given)
        else:
            yield Action(at_ns, By(who, given["address"]), given["action"], json.loads(given["facts"]))


_HELD: Final = (HOLDS.c.id.label("number"), HOLDS.c.model, HOLDS.c.entity, HOLDS.c.reason)
_WANTED: Final[tuple[tuple[Select[Any], str], ...]] = (
    (select(ACTIONS.c.at_ns, ACTIONS.c.who, ACTIONS.c.address, ACTIONS.c.action, ACTIONS.c.facts), ""),
    (select(LEDGER.c.at_ns, LEDGER.c.who, LEDGER.c.model, LEDGER.c.seq, LEDGER.c.action, LEDGER.c.why), "rollout"),
    (select(HOLDS.c.at_ns, HOLDS.c.who, *_HELD), "hold placed"),
    (select(HOLDS.c.released_ns.label("at_ns"), HOLDS.c.released_by.label("who"), *_HELD), "hold released"),
    (select(ERASURES.c.at_ns, ERASURES.c.who, ERASURES.c.id.label("number"), ERASURES.c.reason), "erasure"),
    (select(EXPORTS.c.at_ns, EXPORTS.c.who, EXPORTS.c.kind, EXPORTS.c.name, EXPORTS.c.digest), "export"),
)
