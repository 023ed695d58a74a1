"""What is archived is read as before, is in the database no more, and expires as the rest does."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from shipping import DAY_NS, NOON_NS, decided, ids_of, opened, ship_all, signer, stored

from scoreline.core.decision import Decisions
from scoreline.core.errors import DatabaseRefused, SettingError
from scoreline.records import archive as archiving
from scoreline.records import parquet
from scoreline.records.archive import Archive
from scoreline.records.database import Database
from scoreline.records.holds import Hold, place, release
from scoreline.records.partitions import existing_days
from scoreline.records.read import find_decision, read_decisions, read_record
from scoreline.records.ship import Shipper
from scoreline.records.upkeep import Upkeep
from scoreline.records.writer import SpoolWriter
from somedecisions import author_of, exactly

CHURN = author_of("churn", 2, classes=("a", "b"))


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    with opened(database_url) as found:
        yield found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "archive"


def keep(database: Database, spool: Path, *many: Decisions) -> None:
    writer = SpoolWriter(spool, 1 << 20)
    for decisions in many:
        writer.write(decisions)
    writer.close()
    ship_all(Shipper(spool, database, "here"))


def five_days() -> list[Decisions]:
    times = [NOON_NS + number * DAY_NS for number in range(5)]
    return [
        made
        for time_ns in times
        for made in (decided(3, time_ns, entities=[b"e" * 16] * 3), decided(2, time_ns + 1_000_000, CHURN))
    ]


def upkeep(database: Database, kept: Upkeep, today: float) -> int:
    steps = 0
    while kept.step(database, NOON_NS + int(today * DAY_NS)):
        steps += 1
        assert steps < 100
    return steps


def test_days_that_are_past_become_files_that_read_the_same(
    database: Database, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archiving, "SLICE_ROWS", 2)
    monkeypatch.setattr(parquet, "GROUP_ROWS", 2)
    many = five_days()
    keep(database, tmp_path / "spool", *many)
    assert upkeep(database, Upkeep(signer(), archive=str(folder), archive_days=2), today=5) == 3
    assert sorted(path.name[:18] for path in folder.iterdir()) == [f"decisions-202311{day}" for day in (15, 16, 17)]
    assert ids_of(stored(database)) == ids_of(many[6:])
    archive = Archive(str(folder))
    assert [exactly(found) for found in read_decisions(database, archive)] == [exactly(made) for made in many]
    assert ids_of(list(read_record(tmp_path / "spool", database, archive))) == ids_of(many)
    for made in many:
        for row in range(len(made)):
            found = find_decision(database, (made.base | row).to_bytes(16, "big"), archive)
            assert found is not None
            assert repr(found[0]) == repr(made[row])
    assert find_decision(database, (many[0].base | 77).to_bytes(16, "big"), archive) is None
    if database.kind == "postgresql":
        with database.reading() as connection:
            assert len(existing_days(connection)) == 3, "of two days and the next; empty days go"


def test_a_file_can_be_read_without_the_database(database: Database, tmp_path: Path, folder: Path) -> None:
    keep(database, tmp_path / "spool", decided(2, NOON_NS, CHURN))
    upkeep(database, Upkeep(signer(), archive=str(folder), archive_days=1), today=9)
    (file,) = folder.iterdir()
    table = pq.read_table(file)
    assert table.num_rows == 2
    assert table["score"].to_pylist() == [0.5, 0.5]
    assert b'"model":"churn"' in table.schema.metadata[b"scoreline.authors"].replace(b"\\", b"")


class Crash(Exception):
    """A death, as far as a test in one process can play it."""


@pytest.mark.parametrize("step", range(10))
def test_a_death_between_any_two_steps_loses_nothing_and_shows_nothing_twice(
    database: Database, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    monkeypatch.setattr(archiving, "SLICE_ROWS", 2)
    many, kept, archive = five_days()[:4], Upkeep(signer(), archive=str(folder), archive_days=1), Archive(str(folder))
    keep(database, tmp_path / "spool", *many)
    left = step

    def counted(real: Any) -> Any:
        def call(*given: Any, **named: Any) -> Any:
            nonlocal left
            left -= 1
            if left == -1:
                raise Crash
            return real(*given, **named)

        return call

    with monkeypatch.context() as patched:
        patched.setattr(type(database), "writing", counted(type(database).writing))
        with pytest.raises(Crash):
            upkeep(database, kept, today=9)
    assert ids_of(list(read_decisions(database, archive))) == ids_of(many)
    upkeep(database, kept, today=9)
    assert stored(database) == []
    assert ids_of(list(read_decisions(database, archive))) == ids_of(many)


def test_what_arrives_late_gets_a_file_of_its_own(database: Database, tmp_path: Path, folder: Path) -> None:
    early, late = decided(2, NOON_NS), decided(3, NOON_NS)
    for made in (early, late):
        keep(database, tmp_path / "spool", made)
        upkeep(database, Upkeep(signer(), archive=str(folder), archive_days=1), today=9)
    assert len(list(folder.iterdir())) == 2
    assert ids_of(list(read_decisions(database, Archive(str(folder))))) == ids_of([early, late])


def test_files_expire_too_unless_something_in_them_may_be_held(
    database: Database, tmp_path: Path, folder: Path
) -> None:
    keep(database, tmp_path / "spool", *five_days())
    kept = Upkeep(signer(), retention_days=30, archive=str(folder), archive_days=2)
    upkeep(database, kept, today=20)
    assert len(list(folder.iterdir())) == 5
    number = place(database, Hold(model="fraud", from_ns=NOON_NS + DAY_NS, until_ns=NOON_NS + 2 * DAY_NS))
    upkeep(database, kept, today=50)
    assert [path.name[:18] for path in folder.iterdir()] == ["decisions-20231116"]
    release(database, number, "a judge")
    upkeep(database, kept, today=50)
    assert list(folder.iterdir()) == []
    assert list(read_decisions(database, Archive(str(folder)))) == []


def test_a_file_that_counts_for_nothing_any_more_is_deleted_though_its_steward_died(
    database: Database, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: Any) -> None:
        raise Crash

    keep(database, tmp_path / "spool", *five_days()[:2])
    kept = Upkeep(signer(), retention_days=30, archive=str(folder), archive_days=1)
    with monkeypatch.context() as patched:
        patched.setattr(parquet, "delete_file", dies)
        upkeep(database, kept, today=9)
        with pytest.raises(Crash):
            upkeep(database, kept, today=50)
    assert len(list(folder.iterdir())) == 1
    now_ns = time.time_ns()
    Archive(str(folder)).sweep(database, now_ns)
    assert len(list(folder.iterdir())) == 1, "whoever wrote it may be at it still"
    Archive(str(folder)).sweep(database, now_ns + 2 * DAY_NS)
    assert list(folder.iterdir()) == []


def test_without_archive_and_retention_nothing_is_done(database: Database, tmp_path: Path) -> None:
    keep(database, tmp_path / "spool", decided(2, NOON_NS))
    assert not Upkeep(signer()).step(database, NOON_NS + 10_000 * DAY_NS)
    assert len(stored(database)) == 1


def test_parquet_is_loaded_by_whoever_archives_and_missing_it_is_said(tmp_path: Path) -> None:
    program = f"""
import sys
from pathlib import Path
from scoreline.records.database import open_database
from scoreline.records.upkeep import Upkeep
database = open_database("", Path({str(tmp_path / "x.db")!r}))
database.prepare()
Upkeep(None, 3).step(database, 10**18)
assert "pyarrow" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(sys.modules, "pyarrow", None)
        patched.delitem(sys.modules, "scoreline.records.parquet")
        with pytest.raises(SettingError, match="install"):
            list(Archive(str(tmp_path)).read("x"))


def damaged(file: Path, how: str) -> None:
    raw = file.read_bytes()
    if how == "missing":
        file.unlink()
    elif how == "other columns":
        pq.write_table(pq.read_table(file).drop_columns(["leaf"]), file)
    elif how == "no authors":
        pq.write_table(pq.read_table(file).replace_schema_metadata({}), file)
    else:
        file.write_bytes({"truncated": raw[: len(raw) // 2], "empty": b"", "garbage": b"x" * 500}[how])


@pytest.mark.parametrize("how", ("missing", "truncated", "empty", "garbage", "other columns", "no authors"))
def test_a_file_that_cannot_be_read_is_named_with_what_to_do(
    database: Database, tmp_path: Path, folder: Path, how: str
) -> None:
    made = decided(2, NOON_NS)
    keep(database, tmp_path / "spool", made)
    upkeep(database, Upkeep(signer(), archive=str(folder), archive_days=1), today=9)
    (file,) = folder.iterdir()
    damaged(file, how)
    archive, id_ = Archive(str(folder)), made.base.to_bytes(16, "big")
    for act in (
        lambda: list(archive.read(file.name)),
        lambda: list(archive.rows(file.name, [id_])),
        lambda: list(archive.about(file.name, b"e" * 16)),
        lambda: archive.rewrite(database, 1, file.name, lambda row, _: row, lambda _: None),
        lambda: find_decision(database, id_, archive),
        lambda: list(read_decisions(database, archive)),
    ):
        with pytest.raises(DatabaseRefused, match=f"{file.name} .*put it back from a backup"):
            act()


def test_a_file_that_cannot_be_read_is_not_taken_up(
    database: Database, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(database, tmp_path / "spool", decided(2, NOON_NS))
    archive, remove = Archive(str(folder)), Archive._remove

    def loses(self: Archive, *given: Any) -> None:
        (file,) = folder.iterdir()
        file.rename(tmp_path / file.name)
        remove(self, *given)

    monkeypatch.setattr(Archive, "_remove", loses)
    with pytest.raises(DatabaseRefused, match="is missing"):
        archive.move(database, 1, NOON_NS + 9 * DAY_NS)
    monkeypatch.setattr(Archive, "_remove", remove)
    assert len(stored(database)) == 1
    (file,) = tmp_path.glob("*.parquet")
    file.rename(folder / file.name)
    archive.move(database, 1, NOON_NS + 9 * DAY_NS)
    assert stored(database) == []
    assert len(list(read_decisions(database, archive))) == 1


def test_a_file_that_is_written_anew_is_found_by_its_new_name(
    database: Database, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = decided(2, NOON_NS)
    keep(database, tmp_path / "spool", made)
    upkeep(database, Upkeep(signer(), archive=str(folder), archive_days=1), today=9)
    archive, read = Archive(str(folder)), Archive.read

    def renamed(self: Archive, name: str, id_: bytes | None = None) -> Any:
        monkeypatch.setattr(Archive, "read", read)
        archive.rewrite(database, 1, name, lambda row, _: row, lambda _: None)
        return read(self, name, id_)

    monkeypatch.setattr(Archive, "read", renamed)
    found = find_decision(database, made.base.to_bytes(16, "big"), archive)
    assert found is not None and ids_of([found]) == ids_of([made])[:1]
