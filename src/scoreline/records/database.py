"""The decision database: SQLite beside the spool, or PostgreSQL by setting. Its URL is a secret and is never shown."""

import random
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event, exc, inspect, make_url, text

from scoreline.core.errors import DatabaseDown, DatabaseRefused, NotFound, ScorelineError, SettingError
from scoreline.core.names import load
from scoreline.records.migrations import HEAD

VERSION_TABLE: Final = "scoreline_version"  # Alembic's own name for it may be taken: MLflow has one
SQLITE: Final = "sqlite"
POSTGRESQL: Final = "postgresql"
_LOCK: Final = 0x53434F5245  # of PostgreSQL's advisory locks: one steward at a time changes tables
_CLOCK: Final = text("SELECT (extract(epoch FROM clock_timestamp()) * 1000000000)::bigint")
_PATIENCE_S: Final = 5
_SCRUB_MS: Final = 1000
# A peer that is gone without a word is noticed in seconds. Nothing is prepared: poolers hand sessions round.
_LIBPQ: Final = {
    "connect_timeout": _PATIENCE_S,
    "tcp_user_timeout": 10_000,
    "client_encoding": "UTF8",
    "prepare_threshold": None,
}


class Database:
    """Connections to one database. Nothing is asked before `prepare`, which must come first."""

    def __init__(self, url: URL, *, read_only: bool = False) -> None:
        self.kind = url.get_backend_name()
        self._preparing = threading.Lock()
        self._is_prepared = False
        connect_args = {"timeout": _PATIENCE_S, "isolation_level": None} if self.kind == SQLITE else _LIBPQ
        # An error of SQLAlchemy's would show the parameters of its statement, which are rows.
        self._engine = create_engine(url, connect_args=connect_args, hide_parameters=True, pool_pre_ping=True)
        self._driver: Any = self._engine.dialect.loaded_dbapi
        if self.kind == SQLITE:
            _set_up_sqlite(self._engine, use_wal=not read_only)

    def __repr__(self) -> str:
        return f"<Database {self.kind}>"

    def prepare(self) -> None:
        """Makes the tables or brings them up to date, one steward at a time; raises DatabaseDown or DatabaseRefused.

        A database that a newer version has expanded is used as it is; one that it has contracted is refused.
        """
        with self.writing() as connection:
            self.lock(connection)
            if self.kind == POSTGRESQL and connection.scalar(text("SHOW server_encoding")) != "UTF8":
                raise DatabaseRefused("the database keeps texts in another encoding than UTF8: create it with UTF8")
            schema = _schema(connection)
            if schema < HEAD:
                load("scoreline.records.migrate:upgrade")(connection)  # Alembic is loaded by whoever needs it
            elif schema > HEAD and (connection.scalar(text("SELECT since FROM schema_compatible")) or 0) > HEAD:
                raise DatabaseRefused("the database is of a newer Scoreline that leaves this one behind: upgrade")

    def prepare_once(self) -> None:
        """`prepare` by whoever comes first; it is not asked again after it has succeeded."""
        with self._preparing:
            if not self._is_prepared:
                self.prepare()
                self._is_prepared = True

    def lock(self, connection: Connection) -> None:
        """Until the transaction ends, nobody else changes tables; SQLite's writers are alone anyway."""
        if self.kind == POSTGRESQL:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})

    def now_ns(self, connection: Connection) -> int:
        """The time by the database's clock: those of its hosts may differ."""
        return int(connection.scalar(_CLOCK) or 0) if self.kind == POSTGRESQL else time.time_ns()

    @contextmanager
    def writing(self, *, durable: bool = False) -> Iterator[Connection]:
        """A transaction that may write; raises DatabaseDown or DatabaseRefused, and then nothing is written.

        `durable`: when it has ended, it and all before it outlive the machine's own crash.
        """
        how = "durable" if durable else "write"
        with self._border(), self._engine.execution_options(scoreline_begin=how).begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one state of everything and holds up nobody; raises as `writing`."""
        with self._border(), self._engine.connect() as connection:
            if self.kind == POSTGRESQL:
                connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            with connection.begin():
                yield connection

    def scrub(self) -> bool:
        """Takes what was deleted out of journals and old versions of rows; whether it was done, or a reader is open.

        Raises DatabaseDown or DatabaseRefused.
        """
        with self._border(), self._engine.connect() as connection:
            raw: Any = connection.connection
            if self.kind == SQLITE:
                raw.execute(f"PRAGMA busy_timeout={_SCRUB_MS}")  # writers wait meanwhile
                try:
                    is_busy, *_ = raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                finally:
                    raw.execute(f"PRAGMA busy_timeout={_PATIENCE_S * 1000}")
                return not is_busy
            autocommit = connection.execution_options(isolation_level="AUTOCOMMIT")
            autocommit.execute(text("VACUUM decisions, outcomes, moved"))
            return True

    def close_file(self) -> None:
        """Makes a file of SQLite's one file: without journals beside it."""
        with self._border(), self._engine.connect() as connection:
            raw: Any = connection.connection
            raw.execute("PRAGMA journal_mode=DELETE").fetchall()

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def _border(self) -> Iterator[None]:
        try:
            yield
        except (exc.SQLAlchemyError, self._driver.Error) as error:
            raise self._translated(error) from None

    def _translated(self, error: Exception) -> ScorelineError:
        """A driver's message may hold values of rows; only that of a failed connection or disk is shown."""
        cause = (error.orig if isinstance(error, exc.DBAPIError) else None) or error
        driver = self._driver
        refused = (driver.DataError, driver.IntegrityError, driver.ProgrammingError, driver.NotSupportedError)
        if isinstance(cause, refused):
            return DatabaseRefused(f"the database refuses what it is given: {type(cause).__name__}")
        if isinstance(cause, UnicodeDecodeError) or "decode to UTF-8" in str(cause):
            return DatabaseRefused("a text in the database is not UTF-8, as all are that are recorded: who wrote it?")
        said = str(cause).strip().partition("\n")[0] if isinstance(cause, driver.OperationalError) else ""
        return DatabaseDown(f"the database cannot be asked now: {said or type(cause).__name__}")


def open_database(url: str, file: Path) -> Database:
    """The database at a URL, or, where that is empty, SQLite in a file; raises SettingError. Nothing is asked yet."""
    if not url:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)  # its journals take its mode
        return Database(URL.create(SQLITE, database=str(file)))
    try:
        known = make_url(url)
        if known.drivername == POSTGRESQL:
            known = known.set(drivername="postgresql+psycopg")
        if known.drivername not in (SQLITE, "postgresql+psycopg"):
            raise SettingError("records.database: sqlite:///FILE or postgresql+psycopg://USER:PASSWORD@HOST/NAME")
        return Database(known)
    except exc.ArgumentError:
        raise SettingError("records.database: this is no URL of a database") from None
    except ModuleNotFoundError as error:
        raise SettingError(f"records.database needs {error.name}: install scoreline[postgres]") from None


def open_file(file: Path) -> Database:
    """A file of SQLite's as it is, to be read only; raises NotFound."""
    if not file.is_file():
        raise NotFound(f"no file at {file}")
    url = URL.create(SQLITE, database=f"file:{quote(str(file.absolute()))}", query={"mode": "ro", "uri": "true"})
    return Database(url, read_only=True)


def _schema(connection: Connection) -> int:
    """The number of the last step taken; 0 where there was none."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return 0
    return int(connection.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}")) or 0)


def _use_wal(connection: Any) -> None:
    """The journal is a property of the file, and its change does not wait for others as transactions do."""
    deadline_s = time.monotonic() + _PATIENCE_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(random.uniform(0.01, 0.05))


def _set_up_sqlite(engine: Engine, *, use_wal: bool) -> None:
    """WAL, so that readers and the one writer do not wait for each other, and transactions begun by us.

    With `synchronous=NORMAL` a commit costs no fsync: it outlives every process, and the last ones not the machine, as
    the spool itself. But a segment is deleted once it is shipped, so the transaction before that is `durable`: FULL
    syncs the WAL, and with it all commits before. Rows lie in the tree of their ids, whose pages hold more at 8 KiB.
    """

    @event.listens_for(engine, "connect")
    def connected(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA page_size=8192")  # counts for a new file only
        connection.execute("PRAGMA secure_delete=ON")  # nothing that was deleted stays in a page
        if use_wal:
            _use_wal(connection)

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        how = connection.get_execution_options().get("scoreline_begin")
        raw: Any = connection.connection
        if how:
            raw.execute(f"PRAGMA synchronous={'FULL' if how == 'durable' else 'NORMAL'}")
        raw.execute("BEGIN IMMEDIATE" if how else "BEGIN")
