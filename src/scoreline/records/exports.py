"""The list of files that decisions left in, so that it can be said later where somebody's are."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert, select

from scoreline.core.errors import DatabaseRefused
from scoreline.records.database import Database
from scoreline.records.tables import ERASURES, EXPORTS


@dataclass(frozen=True, slots=True)
class Export:
    """A file: what kind, its name without a folder, its SHA-256 in hex, and by which filter it was made, by whom.

    `from_ns` and `until_ns` are the first and the last time of its decisions, None where there are none.
    """

    kind: str
    name: str
    digest: str
    filter: Mapping[str, Any]
    rows: int
    from_ns: int | None
    until_ns: int | None
    who: str
    at_ns: int


def enter_export(database: Database, export: Export) -> int:
    """The number under which it stands from now on, even if this machine ends.

    Raises DatabaseRefused where somebody was asked to be erased since it was begun, who may be in it: an erasure lists
    what is entered by then. Raises DatabaseDown too.
    """
    facts = {name: getattr(export, name) for name in Export.__slots__}
    facts["filter"] = json.dumps(export.filter, sort_keys=True, ensure_ascii=False)
    with database.writing(durable=True) as connection:
        database.lock(connection)  # as erasures do
        if connection.scalar(select(ERASURES.c.id).where(ERASURES.c.at_ns >= export.at_ns).limit(1)) is not None:
            raise DatabaseRefused("somebody was erased while this was read, and may be in it: export again")
        return int(connection.execute(insert(EXPORTS).values(**facts).returning(EXPORTS.c.id)).scalar_one())
