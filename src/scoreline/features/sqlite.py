"""Features in a file of SQLite's, with their history: the store of one host, with nothing beside it."""

import asyncio
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from scoreline.core.errors import StoreDown
from scoreline.core.ports import FeatureRow, Looked, Views, ViewStats
from scoreline.features.values import decode_row, encode_row

AT_ONCE: Final = 16  # entities that are looked up without a thread: it takes less time than to start one
BULK_PATIENCE_S: Final = 10.0
_TABLE: Final = """
CREATE TABLE IF NOT EXISTS features (
    view TEXT NOT NULL, entity TEXT NOT NULL, time_ns INTEGER NOT NULL, row BLOB NOT NULL,
    PRIMARY KEY (view, entity, time_ns)
) WITHOUT ROWID
"""
_PUT: Final = "INSERT INTO features VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET row = excluded.row"
_LATEST: Final = "SELECT time_ns, row FROM features WHERE view = ? AND entity = ? ORDER BY time_ns DESC LIMIT 1"
_STATS: Final = """
SELECT view, count(*), min(latest), max(latest)
FROM (SELECT view, entity, max(time_ns) AS latest FROM features GROUP BY view, entity) GROUP BY view ORDER BY view
"""
_HISTORY: Final = "SELECT entity, time_ns, row FROM features WHERE view = ? AND time_ns <= ? ORDER BY entity, time_ns"


class SqliteStore:
    """A `core.ports.FeatureStore` and `FeatureSink`. Readers and one writer do not wait for one another.

    The file is made when it is first written; while there is none the store is down.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._reader: sqlite3.Connection | None = None

    def get(self, views: Views, entities: Sequence[str]) -> Looked:
        with self._lock, self._said():
            reader = self._reading()
            return [[_latest(reader, view, entity) for view in views] for entity in entities]

    async def aget(self, views: Views, entities: Sequence[str]) -> Looked:
        if len(entities) <= AT_ONCE:
            return self.get(views, entities)
        return await asyncio.to_thread(self.get, views, entities)

    async def aclose(self) -> None:
        with self._lock:
            self._close()

    def put(self, view: str, rows: Sequence[FeatureRow]) -> None:
        found = [(view, row.entity, row.time_ns, encode_row(row.values)) for row in rows]
        with self._said():
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self._file, timeout=BULK_PATIENCE_S)) as writer:
                writer.execute("PRAGMA journal_mode = WAL")
                writer.execute("PRAGMA synchronous = FULL")
                with writer:
                    writer.execute(_TABLE)
                    writer.executemany(_PUT, found)

    def views(self) -> Iterator[ViewStats]:
        with self._said(), self._lock:
            found = self._reading().execute(_STATS).fetchall()
        return map(ViewStats._make, found)

    def history(self, view: str, until_ns: int) -> Iterator[FeatureRow]:
        """Every row of a view up to a time, by entity and time; raises StoreDown."""
        with self._said(), closing(self._open()) as reader:
            for entity, time_ns, row in reader.execute(_HISTORY, (view, until_ns)):
                yield FeatureRow(entity, time_ns, decode_row(row))

    def _reading(self) -> sqlite3.Connection:
        if self._reader is None:
            self._reader = self._open()
        return self._reader

    def _open(self) -> sqlite3.Connection:
        if not self._file.exists():
            raise StoreDown(f"no features are loaded yet into {self._file.name}: `scoreline features load` does it")
        return sqlite3.connect(
            f"{self._file.absolute().as_uri()}?mode=ro", uri=True, timeout=0, check_same_thread=False
        )

    def _close(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    @contextmanager
    def _said(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreDown(f"{self._file.name}: {error}") from None


def _latest(reader: sqlite3.Connection, view: str, entity: str) -> FeatureRow | None:
    found = reader.execute(_LATEST, (view, entity)).fetchone()
    return FeatureRow(entity, found[0], decode_row(found[1])) if found else None
