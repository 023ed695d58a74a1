"""The database opens for every steward that may use it, whatever its age, and tells nobody its URL."""

import logging
import multiprocessing
import stat
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from shipping import decided, ids_of, opened, ship_all, stored
from sqlalchemy import inspect, select, text

from scoreline.core.errors import DatabaseDown, DatabaseRefused, SettingError
from scoreline.records.database import VERSION_TABLE, open_database
from scoreline.records.migrate import MIGRATIONS
from scoreline.records.migrations import HEAD
from scoreline.records.ship import Shipper
from scoreline.records.tables import COMPATIBLE, METADATA, SEGMENTS
from scoreline.records.writer import SpoolWriter

fork = multiprocessing.get_context("fork")


def test_the_migrations_make_the_tables_as_they_are_declared(database_url: str) -> None:
    with opened(database_url) as database, database.reading() as connection:
        made = set(inspect(connection).get_table_names())
        assert made >= METADATA.tables.keys() | {VERSION_TABLE}

        def ours(thing: Any, name: str | None, kind: str, *_: Any) -> bool:
            return getattr(thing, "table", thing).name in METADATA.tables

        context = MigrationContext.configure(connection, opts={"include_object": ours, "compare_type": True})
        assert compare_metadata(context, METADATA) == []


def test_the_steps_are_numbered_without_a_gap_and_the_last_is_known() -> None:
    script = ScriptDirectory(str(MIGRATIONS), version_locations=[str(MIGRATIONS)])
    found = [step.revision for step in script.walk_revisions()]
    assert found == [f"{number:04}" for number in range(HEAD, 0, -1)]


def test_preparing_twice_changes_nothing_and_nobodys_logging(database_url: str) -> None:
    before = (logging.root.level, list(logging.root.handlers), logging.getLogger("alembic").level)
    with opened(database_url) as database:
        database.prepare()
        with database.reading() as connection:
            assert connection.scalar(select(COMPATIBLE.c.since)) == 6
            assert connection.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}")) == f"{HEAD:04}"
    assert before == (logging.root.level, list(logging.root.handlers), logging.getLogger("alembic").level)


def prepare(url: str, begin: Any, ended: Any) -> None:
    begin.wait()
    with opened(url):
        ended.put(True)


def test_stewards_that_start_at_once_make_the_tables_once(database_url: str) -> None:
    begin, ended = fork.Event(), fork.Queue()
    stewards = [fork.Process(target=prepare, args=(database_url, begin, ended)) for _ in range(6)]
    for steward in stewards:
        steward.start()
    begin.set()
    for steward in stewards:
        steward.join(60)
    assert [steward.exitcode for steward in stewards] == [0] * 6
    with opened(database_url) as database, database.reading() as connection:
        assert connection.scalars(text(f"SELECT version_num FROM {VERSION_TABLE}")).all() == [f"{HEAD:04}"]
        assert connection.scalars(select(COMPATIBLE.c.since)).all() == [6]


def newer(url: str, *statements: str) -> None:
    """The database as a steward of the future leaves it."""
    with opened(url) as database, database.writing() as connection:
        for statement in (*statements, f"UPDATE {VERSION_TABLE} SET version_num = '{HEAD + 7:04}'"):
            connection.execute(text(statement))


def test_a_schema_that_a_newer_version_expanded_is_used_as_it_is(database_url: str, tmp_path: Path) -> None:
    newer(
        database_url,
        "ALTER TABLE decisions ADD COLUMN mood TEXT",
        "ALTER TABLE segments ADD COLUMN weather INTEGER",
        "CREATE TABLE from_the_future (id INTEGER)",
    )
    writer, written = SpoolWriter(tmp_path / "spool", 1 << 20), decided(3)
    writer.write(written)
    writer.close()
    with opened(database_url) as database:
        ship_all(Shipper(tmp_path / "spool", database, "here"))
        assert ids_of(stored(database)) == ids_of([written])
        with database.reading() as connection:
            assert connection.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}")) == f"{HEAD + 7:04}"


def test_a_schema_that_a_newer_version_contracted_is_refused(database_url: str) -> None:
    newer(database_url, f"UPDATE schema_compatible SET since = {HEAD + 1}")
    with pytest.raises(DatabaseRefused, match="newer Scoreline"), opened(database_url):
        pass


def test_what_fails_in_a_transaction_is_not_written(database_url: str) -> None:
    with opened(database_url) as database:
        with pytest.raises(ZeroDivisionError), database.writing() as connection:
            connection.execute(COMPATIBLE.update().values(since=99))
            raise ZeroDivisionError
        with database.reading() as connection:
            assert connection.scalar(select(COMPATIBLE.c.since)) == 6


def test_values_of_rows_are_in_no_error(database_url: str) -> None:
    facts: dict[str, Any] = {"writer": "w", "number": 1, "host": "secret-4711", "offset": 8, "rows": 0, "missed": 0}
    with opened(database_url) as database:
        with pytest.raises(DatabaseRefused) as refused, database.writing() as connection:
            for _ in range(2):
                connection.execute(SEGMENTS.insert().values(**facts, tree=b"", shipped_ns=0))
        assert "4711" not in str(refused.value)
        assert refused.value.__cause__ is None


def test_a_reader_holds_up_no_writer(database_url: str) -> None:
    with opened(database_url) as database, database.reading() as connection:
        before = connection.scalar(select(COMPATIBLE.c.since))
        with database.writing() as other:
            other.execute(COMPATIBLE.update().values(since=0))
        assert connection.scalar(select(COMPATIBLE.c.since)) == before == 6


def test_the_password_is_never_shown(postgres: Any) -> None:
    url = f"postgresql+psycopg://scoreline:hunter-2@127.0.0.1:{postgres.port}/postgres"
    with closing(open_database(url, Path("unused"))) as database:
        with pytest.raises(DatabaseDown) as down:
            database.prepare()
        for shown in (repr(database), str(down.value), repr(vars(database))):
            assert "hunter" not in shown


@pytest.mark.parametrize(
    "url", ("postgres", "mysql://u:hunter-2@h/d", "oracle://x", "postgresql+psycopg2://u:hunter-2@h/d")
)
def test_a_url_of_no_known_database_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(SettingError, match=r"records\.database") as refused:
        open_database(url, Path("unused"))
    assert "hunter" not in str(refused.value)


def test_without_a_url_the_file_is_for_this_user_only(tmp_path: Path) -> None:
    file = tmp_path / "state" / "scoreline.db"
    with closing(open_database("", file)) as database:
        database.prepare()
        for path in (file, file.with_name("scoreline.db-wal")):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with database.reading() as connection:
            assert connection.scalar(text("PRAGMA journal_mode")) == "wal"
            assert connection.scalar(text("PRAGMA page_size")) == 8192


def test_two_writers_to_sqlite_wait_for_each_other(tmp_path: Path) -> None:
    with opened(f"sqlite:///{tmp_path / 'x.db'}") as database:

        def count() -> None:
            for _ in range(50):
                with database.writing() as connection:
                    now = connection.scalar(select(COMPATIBLE.c.since)) or 0
                    connection.execute(COMPATIBLE.update().values(since=now + 1))

        threads = [threading.Thread(target=count) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with database.reading() as connection:
            assert connection.scalar(select(COMPATIBLE.c.since)) == 206


def test_a_database_that_does_not_keep_every_text_is_refused(postgres: Any) -> None:
    with pytest.raises(DatabaseRefused, match="UTF8"), opened(postgres.new_database("ascii", "SQL_ASCII")):
        pass
