"""What somebody did who can write anything anywhere, knows the trees, and waits for the next checkpoint."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from logs import DAY_NS, MARIE, NOON_NS, PAUL, Log, audited, decided, every, sample, signer
from shipping import stored
from sqlalchemy import func, select, text

from scoreline.audit.export import Filter, export
from scoreline.audit.verify import verify
from scoreline.core.errors import DatabaseRefused
from scoreline.records.actions import By
from scoreline.records.archive import Archive
from scoreline.records.asked import change_key
from scoreline.records.chain import sign_pending
from scoreline.records.database import open_database, open_file
from scoreline.records.erase import Eraser
from scoreline.records.leaves import COLUMNS, leaf_of, with_authors
from scoreline.records.merkle import Tree
from scoreline.records.tables import ARCHIVES, DECISIONS, SEGMENTS
from scoreline.records.upkeep import Upkeep
from scoreline.signing import TrustStore


@pytest.fixture
def log(database_url: str, tmp_path: Path) -> Iterator[Log]:
    with sample(tmp_path, database_url) as found:
        yield found


def execute(log: Log, *statements: Any) -> None:
    with log.database.writing() as connection:
        for statement in statements:
            connection.execute(text(statement) if isinstance(statement, str) else statement)


def whats(log: Log, archive: Archive | None = None) -> set[str]:
    return {found.what for found in audited(log.database, archive).findings}


def regrow(log: Log, segment: int) -> Any:
    """The statement that makes a segment's tree that of its decisions as they are now."""
    with log.database.reading() as connection:
        rows = connection.execute(select(*DECISIONS.c).where(DECISIONS.c.segment == segment)).all()
        tree = Tree()
        place = COLUMNS.index("place")
        tree.extend(leaf_of(*found) for found in sorted(with_authors(connection, rows), key=lambda one: one[0][place]))
    return SEGMENTS.update().where(SEGMENTS.c.id == segment).values(tree=tree.state, root=tree.root)


def open_log(log: Log) -> int:
    """A segment that is being written and signed as far as it is; its id."""
    log.begin_anew()
    for _ in range(5):
        log._writers[0].write(decided(1, entities=[PAUL]))
    log.ship()
    log.sign()
    with log.database.reading() as connection:
        return int(connection.scalar(select(func.max(SEGMENTS.c.id))) or 0)


def test_altering_what_was_signed_of_an_open_segment_stays_found_when_it_has_ended(log: Log) -> None:
    segment = open_log(log)
    execute(log, f"UPDATE decisions SET caller = 'x' WHERE segment = {segment} AND place = 1")
    execute(log, regrow(log, segment))
    log._shipper._known.clear()  # a steward that starts anew
    log.end()
    log.sign()
    execute(log, regrow(log, segment))
    assert "altered" in whats(log)


def test_what_was_signed_of_missing_answers_cannot_be_undone(log: Log) -> None:
    segment = open_log(log)
    base = decided(1)
    log._writers[0].write(base)
    log._writers[0].unsent(base)
    log.ship()
    log.sign()
    undo = f"UPDATE segments SET unsent = NULL WHERE id = {segment}"
    execute(log, undo, f"UPDATE decisions SET unsent = false WHERE segment = {segment}")
    assert whats(log) == {"altered"}
    log._shipper._known.clear()
    log.end()
    log.sign()
    assert "altered" in whats(log)


def test_a_segment_marked_as_signed_that_was_not_is_found(log: Log) -> None:
    log.begin_anew()
    log.decide(3)
    log.end()
    execute(log, "UPDATE segments SET signed = -1 WHERE signed IS NULL")
    log.sign()
    assert "altered" in whats(log)


def test_a_segment_that_is_to_be_signed_once_more_is_no_finding(log: Log) -> None:
    execute(log, "UPDATE segments SET signed = NULL")
    log.sign()
    assert whats(log) == set()


def test_what_was_erased_or_removed_cannot_be_put_back(log: Log) -> None:
    with log.database.reading() as connection:
        before = [row._asdict() for row in connection.execute(select(*DECISIONS.c))]
    Eraser(log.database, signer()).erase(MARIE, "asked to", "me")
    hers = [row for row in before if row["entity"] == MARIE]
    for row in hers:
        execute(log, DECISIONS.delete().where(DECISIONS.c.id == row["id"]), DECISIONS.insert().values(**row))
    found = audited(log.database)
    assert ({one.what for one in found.findings}, found.n_findings) == ({"inserted"}, len(hers))


def test_nothing_that_was_removed_is_back_but_for_the_first_of_it(log: Log) -> None:
    log.begin_anew()
    log.decide(3, day=9)
    log.end()
    with log.database.reading() as connection:
        before = [row._asdict() for row in connection.execute(select(*DECISIONS.c).where(DECISIONS.c.place > 0))]
    every(lambda: Upkeep(signer(), 5).step(log.database, NOON_NS + 9 * DAY_NS))
    assert whats(log) == set()
    old = [row for row in before if row["time_ns"] < NOON_NS + 5 * DAY_NS]
    execute(log, "DELETE FROM stumps", *(DECISIONS.insert().values(**row) for row in old))
    assert "inserted" in whats(log)


def test_a_file_on_its_way_hides_no_alteration(log: Log, tmp_path: Path) -> None:
    archive = Archive(str(tmp_path / "archive"))
    assert archive._write(log.database, NOON_NS // DAY_NS) is not None
    assert audited(log.database, archive).verdict == "intact"
    execute(log, "UPDATE decisions SET caller = 'x'")
    assert whats(log, archive) == {"inserted"}


def test_an_empty_row_in_anothers_place_does_not_become_right_by_leaving(log: Log) -> None:
    """A recent decision gives way to a row that looks like an old, erased one; retention takes that."""
    log.begin_anew()
    log.decide(3, day=9)
    log.end()
    log.sign()
    with log.database.reading() as connection:
        rows = connection.execute(select(*DECISIONS.c).where(DECISIONS.c.time_ns > NOON_NS + 8 * DAY_NS)).all()
        ((row, author),) = with_authors(connection, rows[:1])
    old_id = (NOON_NS // 1_000_000 << 80).to_bytes(16, "big")
    names = dict(row._asdict())  # type: ignore[attr-defined]
    kept = {name: names[name] for name in ("author", "segment", "place", "unsent")}
    execute(
        log,
        DECISIONS.delete().where(DECISIONS.c.id == names["id"]),
        DECISIONS.insert().values(id=old_id, time_ns=NOON_NS, leaf=leaf_of(row, author), **kept),
    )
    every(lambda: Upkeep(signer(), 5).step(log.database, NOON_NS + 9 * DAY_NS))
    assert "erased" in whats(log)


def test_junk_in_the_place_of_a_segment_does_not_become_right_by_leaving(log: Log) -> None:
    log.begin_anew()
    log.decide(30, day=9)
    log.end()
    log.sign()
    with log.database.reading() as connection:
        segment, rows = connection.execute(
            select(DECISIONS.c.segment, func.count())
            .where(DECISIONS.c.time_ns > NOON_NS + 8 * DAY_NS)
            .group_by(DECISIONS.c.segment)
        ).first() or (0, 0)
    junk = [
        DECISIONS.insert().values(
            id=((NOON_NS // 1_000_000 << 80) + place).to_bytes(16, "big"),
            time_ns=NOON_NS, author=1, segment=segment, place=place, salt=b"s" * 16, unsent=False,
        )
        for place in range(rows)
    ]  # fmt: skip
    execute(log, DECISIONS.delete().where(DECISIONS.c.segment == segment), *junk)
    every(lambda: Upkeep(signer(), 5).step(log.database, NOON_NS + 9 * DAY_NS))
    assert "altered" in whats(log)


def test_a_file_does_not_expire_by_times_that_it_does_not_have(log: Log, tmp_path: Path) -> None:
    place = str(tmp_path / "archive")
    every(lambda: Upkeep(signer(), archive=place, archive_days=1).step(log.database, NOON_NS + 3 * DAY_NS))
    assert stored(log.database) == []
    execute(log, ARCHIVES.update().values(from_ns=0, until_ns=1))
    with pytest.raises(DatabaseRefused, match="it stays"):
        Archive(place).expire(log.database, 1, NOON_NS, signer())
    assert audited(log.database, Archive(place)).verdict == "intact"


def test_hashes_that_stand_for_nothing_are_found(log: Log) -> None:
    for place, leaves, hash_ in (
        (0, 0, "00" * 32),
        (0, -1, "00" * 32),
        (1, 2, "00" * 32),
        (0, 1, "00"),
        (10**6, 1, "00" * 32),
    ):
        as_bytes = f"x'{hash_}'" if log.database.kind == "sqlite" else f"'\\x{hash_}'"
        execute(log, "DELETE FROM stumps", f"INSERT INTO stumps VALUES (1, {place}, {leaves}, {as_bytes})")
        assert audited(log.database).verdict == "broken", (place, leaves)


def test_an_export_holds_what_its_maker_signed_for_and_is_no_database(log: Log, tmp_path: Path) -> None:
    part, all_ = tmp_path / "part.db", tmp_path / "all.db"
    for file, by in ((part, Filter(model="fraud")), (all_, Filter())):
        export(log.database, None, file, signer(), by, "me", NOON_NS)
    assert audited_file(part) == set()
    with closing(open_file(all_)) as database, database.reading() as connection:
        every_row = {row.id: row._asdict() for row in connection.execute(select(*DECISIONS.c))}
        with_keys = {
            row[0]: leaf_of(row, key) for row, key in with_authors(connection, connection.execute(select(*DECISIONS.c)))
        }
    with closing(open_database(f"sqlite:///{part}", part)) as database:
        with database.writing() as connection:
            here = [row._asdict() for row in connection.execute(select(*DECISIONS.c))]
            stumps = connection.execute(text("SELECT segment, place FROM stumps WHERE leaves = 1")).all()
            segment, place = stumps[0]
            other = next(row for row in every_row.values() if (row["segment"], row["place"]) == (segment, place))
            gone = next(row for row in here if row["segment"] == segment)
            connection.execute(DECISIONS.delete().where(DECISIONS.c.id == gone["id"]))
            connection.execute(text(f"DELETE FROM stumps WHERE segment = {segment} AND place = {place}"))
            connection.execute(DECISIONS.insert().values(**other))
            stump = {"segment": segment, "place": gone["place"], "leaves": 1, "hash": with_keys[gone["id"]]}
            connection.execute(text("INSERT INTO stumps VALUES (:segment, :place, :leaves, :hash)"), stump)
        assert {found.what for found in audited(database).findings} >= {"chain"}, "it is not the database itself"
        database.close_file()
    assert audited_file(part) == {"removed"}


def audited_file(file: Path) -> set[str]:
    with closing(open_file(file)) as database:
        return {found.what for found in audited(database, is_export=True).findings}


def test_the_head_that_an_export_tells_is_in_the_real_chain(log: Log, tmp_path: Path) -> None:
    export(log.database, None, tmp_path / "log.db", signer(), Filter(), "me", NOON_NS)
    with closing(open_file(tmp_path / "log.db")) as database:
        head = audited(database, is_export=True).head
    log.begin_anew()
    log.decide(3)
    log.end()
    log.sign()
    assert audited(log.database, head=head).verdict == "intact"


def test_another_key_is_taken_only_on_purpose(log: Log) -> None:
    log.begin_anew()
    log.decide(2)
    log.end()
    with pytest.raises(DatabaseRefused, match="scoreline audit rekey"):
        sign_pending(log.database, signer("another"), NOON_NS)
    change_key(log.database, signer("another"), NOON_NS, By("auditor"))
    sign_pending(log.database, signer("another"), NOON_NS)
    both = TrustStore([signer().public_pem, signer("another").public_pem])
    assert verify(log.database, both).verdict == "intact"
    assert "chain" in whats(log), "who trusts the old one only"


VALUES = ("NULL", "'x'", "x'00'", "-1", "1.5", "9e99", "1000000000000")
UNPROVEN = {
    "segments": {"host", "shipped_ns", "offset", "signed", "final"},
    "checkpoints": {"at_ns"},
    "decisions": {"leaf", "unsent"},
}


@pytest.mark.parametrize("table", ("authors", "segments", "decisions", "stumps", "checkpoints"))
def test_whatever_is_written_anywhere_is_a_finding_or_one_error(tmp_path: Path, table: str) -> None:
    """SQLite takes any value in any column, and without its constraints a copy takes all of them."""
    with sample(tmp_path, f"sqlite:///{tmp_path / 'sample.db'}") as log:
        log.begin_anew()
        log.decide(9, day=9)
        log.end()
        Eraser(log.database, signer()).erase(PAUL, "asked to", "me")
        every(lambda: Upkeep(signer(), 5).step(log.database, NOON_NS + 9 * DAY_NS))
        assert audited(log.database).verdict == "intact"
        with log.database.writing() as connection:
            names = [row[1] for row in connection.execute(text(f"PRAGMA table_info({table})"))]
            connection.execute(text(f"CREATE TABLE kept AS SELECT * FROM {table}"))
            connection.execute(text(f"DROP TABLE {table}"))
            loose = ", ".join(f'"{name}"' for name in names)
            connection.execute(text(f"CREATE TABLE {table} ({loose})"))
        whole = "salt IS NOT NULL" if table == "decisions" else "true"
        for name in names:
            for value in VALUES if name not in UNPROVEN.get(table, ()) else ():
                attack(
                    log,
                    table,
                    f'UPDATE {table} SET "{name}" = {value}',
                    f"SELECT min(rowid) FROM {table} WHERE {whole}",
                )
                try:
                    found = audited(log.database)
                except DatabaseRefused:
                    continue
                untold = (name, value) == ("model", "NULL")  # as a steward of before wrote it: the JSON says it
                assert found.verdict == ("intact" if untold else "broken"), (name, value)


def attack(log: Log, table: str, update: str, where: str) -> None:
    """One row is changed, and all others are as they were; where it had that value, it gets another."""
    execute(log, f"DELETE FROM {table}", f"INSERT INTO {table} SELECT * FROM kept")
    with log.database.writing() as connection:
        before = connection.execute(text(f"SELECT * FROM {table} WHERE rowid = ({where})")).one()
        connection.execute(text(f"{update} WHERE rowid = ({where})"))
        after = connection.execute(text(f"SELECT * FROM {table} WHERE rowid = ({where})")).one()
        if tuple(before) == tuple(after):
            name = update.split('"')[1]
            connection.execute(text(f'UPDATE {table} SET "{name}" = 77 WHERE rowid = ({where})'))
