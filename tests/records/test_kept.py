"""Decisions are found wherever they are by now: in the spool, in the database, in the archive."""

import time
from pathlib import Path

import pytest
from shipping import NOON_NS, decided, ids_of, opened, ship_all

from scoreline.core.errors import DatabaseDown
from scoreline.core.ids import text
from scoreline.records.archive import Archive
from scoreline.records.kept import KeptRecord
from scoreline.records.ship import Shipper
from scoreline.records.writer import SpoolWriter


def record_in(folder: Path, url: str = "", archive: str = "") -> KeptRecord:
    return KeptRecord(folder / "spool", url, folder / "scoreline.db", archive)


def test_before_anything_is_shipped_no_file_is_made(tmp_path: Path) -> None:
    made = decided(3)
    SpoolWriter(tmp_path / "spool", 1 << 20).write(made)
    record = record_in(tmp_path)
    assert record.get(made.base | 2) is not None
    assert record.get(made.base | 3) is None
    assert ids_of(list(record.iterate())) == ids_of([made])
    assert not (tmp_path / "scoreline.db").exists()


def test_what_is_shipped_is_found_and_what_waits_too(tmp_path: Path) -> None:
    """Also by a record that was opened before there was a database."""
    record, writer = record_in(tmp_path), SpoolWriter(tmp_path / "spool", 1 << 20)
    first, second = decided(3), decided(2)
    writer.write(first)
    assert record.get(first.base) is not None
    writer.close()
    with opened(f"sqlite:///{tmp_path / 'scoreline.db'}") as database:
        ship_all(Shipper(tmp_path / "spool", database, "host", lambda *_: True))
    assert list((tmp_path / "spool").glob("*.seg")) == []
    later = SpoolWriter(tmp_path / "spool", 1 << 20)
    later.write(second)
    for decision in (*first, *second):
        (found,) = record.get(int(decision.id.replace("-", ""), 16)) or ()
        assert (found.id, found.margins, found.features) == (decision.id, decision.margins, decision.features)
    assert ids_of(list(record.iterate())) == ids_of([first, second])
    assert list(record.iterate("another")) == []


def test_what_is_archived_is_found(tmp_path: Path) -> None:
    made = decided(2, NOON_NS)
    writer = SpoolWriter(tmp_path / "spool", 1 << 20)
    writer.write(made)
    writer.close()
    with opened(f"sqlite:///{tmp_path / 'scoreline.db'}") as database:
        ship_all(Shipper(tmp_path / "spool", database, "host", lambda *_: True))
        while Archive(str(tmp_path / "archive")).move(database, 1, time.time_ns()):
            pass
    record = record_in(tmp_path, archive=str(tmp_path / "archive"))
    (found,) = record.get(made.base | 1) or ()
    assert found.id == text(made.base | 1)
    assert ids_of(list(record.iterate())) == ids_of([made])


def test_while_the_database_is_down_what_is_in_the_spool_is_found_and_the_rest_is_not_denied(tmp_path: Path) -> None:
    made = decided(2)
    SpoolWriter(tmp_path / "spool", 1 << 20).write(made)
    record = record_in(tmp_path, f"sqlite:///{tmp_path}/no/such/folder/x.db")
    assert record.get(made.base | 1) is not None
    with pytest.raises(DatabaseDown):
        record.get(made.base | 2)
