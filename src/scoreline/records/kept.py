"""The whole record as one: decisions are found wherever they are by now. A `core.ports.Record`."""

import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from scoreline.core.decision import Decisions
from scoreline.core.errors import DatabaseDown
from scoreline.records.archive import Archive
from scoreline.records.database import Database, open_database
from scoreline.records.joined import Places
from scoreline.records.lookup import SpoolRecord
from scoreline.records.outcomes import Known, known_of
from scoreline.records.read import find_decision, read_record
from scoreline.records.spool import read_spool


class KeptRecord:
    """The spool of this host, the database, and the archive where there is one.

    `url` and `file` are those of `open_database`. Without either nothing has been shipped yet, and no file is made. A
    `database` that is open already is used as it is.
    """

    def __init__(self, spool: Path, url: str, file: Path, archive: str = "", database: Database | None = None) -> None:
        self._folder = spool
        self._spool = SpoolRecord(spool)
        self._place = url, file
        self._archive = Archive(archive) if archive else None
        self._database = database
        self._opening = threading.Lock()

    def get(self, decision_id: int) -> Decisions | None:
        """From the database, else from the spool; once more from the database, if it was shipped just then.

        While the database is down, what is in the spool is found all the same; the rest raises DatabaseDown.
        """
        with suppress(DatabaseDown):
            found = self._shipped(decision_id)
            if found is not None:
                return found
        return self._spool.get(decision_id) or self._shipped(decision_id)

    def iterate(self, model: str = "") -> Iterator[Decisions]:
        database = self._opened()
        found = read_record(self._folder, database, self._archive) if database else read_spool(self._folder)
        return (one for one in found if not model or one.author.model == model)

    def known(self, decisions: Decisions) -> Known | None:
        """What is known to have happened of a decision of one row; nothing before there is a database.

        Raises DatabaseDown or DatabaseRefused.
        """
        database, id_ = self._opened(), decisions.base.to_bytes(16, "big")
        if database is None:
            return None
        with database.reading() as connection:
            return known_of(connection, {id_: decisions.entities[0] if decisions.entities else b""}).get(id_)

    def places(self) -> Places:
        """Where all of it is by now. Raises DatabaseDown or DatabaseRefused."""
        return Places(self._folder, self._opened(), self._archive)

    def _shipped(self, decision_id: int) -> Decisions | None:
        database = self._opened()
        return find_decision(database, decision_id.to_bytes(16, "big"), self._archive) if database else None

    def _opened(self) -> Database | None:
        url, file = self._place
        with self._opening:
            if self._database is None and (url or file.exists()):
                self._database = open_database(url, file)
            if self._database is not None:
                self._database.prepare_once()
            return self._database
