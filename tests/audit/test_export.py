"""An export proves itself on any machine, says what it leaves out, and cannot be thinned out afterwards."""

import shutil
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from logs import DAY_NS, MARIE, NOON_NS, Log, audited, sample, signer
from shipping import ids_of, stored
from sqlalchemy import select, text

from scoreline.audit.export import Filter, export
from scoreline.audit.report import Report
from scoreline.core.errors import SettingError
from scoreline.records.archive import Archive
from scoreline.records.database import open_database, open_file
from scoreline.records.erase import Eraser
from scoreline.records.tables import EXPORTS
from scoreline.records.upkeep import Upkeep


@pytest.fixture
def log(database_url: str, tmp_path: Path) -> Iterator[Log]:
    with sample(tmp_path, database_url) as found:
        yield found


def exported(log: Log, file: Path, by: Filter | None = None, archive: str = "") -> tuple[int, int]:
    place = Archive(archive) if archive else None
    return export(log.database, place, file, signer(), by or Filter(), "me", time.time_ns())


def offline(file: Path, head: str = "") -> Report:
    with closing(open_file(file)) as database:
        return audited(database, head=head, is_export=True)


def test_all_of_it_proves_itself_and_is_not_changed_by_that(log: Log, tmp_path: Path) -> None:
    file = tmp_path / "log.db"
    assert exported(log, file) == (sum(map(len, log.made)), 0)
    before = file.read_bytes()
    report = offline(file)
    assert (report.findings, report.verdict, report.left_out) == ([], "intact", 0)
    assert report.records == sum(map(len, log.made))
    with closing(open_file(file)) as database:
        assert ids_of(stored(database)) == ids_of(log.made)
    assert file.read_bytes() == before
    assert sorted(path.name for path in tmp_path.glob("*log.db*")) == ["log.db"]


def test_it_is_read_where_nothing_can_be_written(log: Log, tmp_path: Path) -> None:
    folder = tmp_path / "evidence ?#%41"
    folder.mkdir()
    exported(log, folder / "log.db")
    (folder / "log.db").chmod(0o400)
    folder.chmod(0o500)
    try:
        assert offline(folder / "log.db").verdict == "intact"
    finally:
        folder.chmod(0o700)


@pytest.mark.parametrize(
    "by",
    (
        Filter(model="fraud"),
        Filter(model="nobody's"),
        Filter(from_ns=NOON_NS + 10_000_000),
        Filter(until_ns=NOON_NS + 10_000_000),
        Filter("churn", NOON_NS + 5_000_000, NOON_NS + 30_000_000),
    ),
    ids=str,
)
def test_a_part_of_it_proves_itself_and_says_how_much_is_left_out(log: Log, tmp_path: Path, by: Filter) -> None:
    Eraser(log.database, signer()).erase(MARIE, "asked to", "me")
    rows, left_out = exported(log, tmp_path / "part.db", by)
    assert rows + left_out == sum(map(len, log.made))
    assert left_out > 0
    report = offline(tmp_path / "part.db")
    assert (report.findings, report.records, report.left_out) == ([], rows, left_out)
    assert report.export is not None
    assert report.export["filter"] == by.to_json()
    for name in ("decisions", "stumps", "checkpoints", "segments"):
        assert attacked(tmp_path / "part.db", f"DELETE FROM {name}").verdict != "intact" or not rows


def attacked(file: Path, *statements: str) -> Report:
    copy = file.with_name("attacked.db")
    shutil.copy(file, copy)
    with closing(open_database(f"sqlite:///{copy}", copy)) as database:
        with database.writing() as connection:
            for statement in statements:
                connection.execute(text(statement))
        database.close_file()
    return offline(copy)


def test_it_cannot_be_thinned_out_even_by_who_knows_the_trees(log: Log, tmp_path: Path) -> None:
    """A record with a stump in its place has the right roots; but how many records there were is signed."""
    exported(log, tmp_path / "part.db", Filter(model="fraud"))
    exported(log, tmp_path / "less.db", Filter(model="fraud", until_ns=NOON_NS + 20_000_000))
    less = tmp_path / "less.db"
    with closing(open_file(tmp_path / "part.db")) as database, database.reading() as connection:
        body, signature = connection.execute(
            text("SELECT body, signature FROM checkpoints ORDER BY seq DESC LIMIT 1")
        ).one()
    statement = text(
        "UPDATE checkpoints SET body = :body, signature = :signature WHERE seq = (SELECT max(seq) FROM checkpoints)"
    )
    with closing(open_database(f"sqlite:///{less}", less)) as database:
        with database.writing() as connection:
            connection.execute(statement, {"body": body, "signature": signature})
        database.close_file()
    assert "does not hold the decisions" in str(offline(less).findings)
    report = attacked(tmp_path / "part.db", "DELETE FROM checkpoints WHERE seq = (SELECT max(seq) FROM checkpoints)")
    assert report.verdict == "broken", "without its own link it would have to be whole"


def test_the_archive_and_what_retention_took_are_in_it(log: Log, tmp_path: Path) -> None:
    folder = str(tmp_path / "archive")
    log.begin_anew()
    log.decide(20, day=5)
    log.end()
    while Upkeep(signer(), archive=folder, archive_days=1).step(log.database, NOON_NS + 3 * DAY_NS):
        pass
    assert len(stored(log.database)) == 20
    assert exported(log, tmp_path / "log.db", archive=folder) == (sum(map(len, log.made)), 0)
    assert offline(tmp_path / "log.db").verdict == "intact"
    while Upkeep(signer(), 4, folder, 1).step(log.database, NOON_NS + 6 * DAY_NS):
        pass
    rows, left_out = exported(log, tmp_path / "less.db", archive=folder)
    assert (rows, left_out) == (sum(map(len, log.made[-20:])), 0)
    report = offline(tmp_path / "less.db")
    assert (report.verdict, report.removed) == ("intact", sum(map(len, log.made[:-20])))


def test_that_it_left_is_noted_and_it_is_never_overwritten(log: Log, tmp_path: Path) -> None:
    rows, _ = exported(log, tmp_path / "log.db", Filter(model="fraud"))
    with log.database.reading() as connection:
        (noted,) = connection.execute(select(EXPORTS)).all()
    assert (noted.kind, noted.name, noted.rows, noted.who) == ("audit", "log.db", rows, "me")
    with pytest.raises(SettingError, match="never overwritten"):
        exported(log, tmp_path / "log.db")


def test_an_export_that_fails_leaves_nothing(log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("scoreline.audit.export.append", full)
    with pytest.raises(OSError, match="No space"):
        exported(log, tmp_path / "log.db")
    assert list(tmp_path.glob("*log.db*")) == []
    with log.database.reading() as connection:
        assert connection.execute(select(EXPORTS)).all() == []
