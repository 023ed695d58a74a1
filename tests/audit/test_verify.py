"""Whatever was altered, removed, inserted or reordered is found; what was done by right is not."""

import random
import shutil
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from logs import DAY_NS, MARIE, NOON_NS, PAUL, Log, audited, every, sample, signer
from sqlalchemy import func, select, text

from scoreline.audit.report import Report
from scoreline.records import archive as archiving
from scoreline.records import retention
from scoreline.records.archive import Archive
from scoreline.records.chain import Checkpoint, hash_of, head, sign_pending
from scoreline.records.database import Database, open_database
from scoreline.records.erase import Eraser
from scoreline.records.holds import Hold, place
from scoreline.records.tables import CHECKPOINTS, DECISIONS, METADATA, SEGMENTS
from scoreline.records.upkeep import Upkeep

PAYLOAD = ("caller", "request_id", "trace", "values", "margins", "scores", "defaulted", "degraded", "salt")
STRUCTURE = {"time_ns": 1, "outcome": 1, "model_ns": 1, "author": 1, "segment": 1, "place": 1, "score": 0.25}


@pytest.fixture
def log(database_url: str, tmp_path: Path) -> Iterator[Log]:
    with sample(tmp_path, database_url) as found:
        yield found


def execute(database: Database, statement: Any, **values: Any) -> None:
    with database.writing() as connection:
        connection.execute(text(statement) if isinstance(statement, str) else statement, values)


def count(database: Database) -> int:
    with database.reading() as connection:
        return connection.scalar(select(func.count()).select_from(DECISIONS)) or 0


def test_a_log_as_it_was_made_is_intact(log: Log) -> None:
    report = audited(log.database)
    assert report.findings == []
    assert report.verdict == "intact"
    assert report.records == sum(map(len, log.made)) == count(log.database) > 60
    assert (report.checkpoints, report.unsigned, report.open_segments) == (4, 0, 0)
    assert report.segments > 4


def test_without_a_checkpoint_there_is_nothing_to_hold_it_against(database_url: str, tmp_path: Path) -> None:
    with closing(open_database(database_url, tmp_path)) as database:
        database.prepare()
        log = Log(tmp_path, database)
        log.decide(3)
        log.end()
        assert audited(database).verdict == "nothing signed"


def test_what_came_after_the_last_checkpoint_is_counted(log: Log) -> None:
    log.begin_anew()
    log.decide(4)
    log.ship()
    report = audited(log.database)
    assert report.verdict == "intact"
    assert report.unsigned == sum(map(len, log.made[-4:]))
    assert report.open_segments == 2


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database of a sample log as one file, which is copied for each attack."""
    folder = tmp_path_factory.mktemp("sample")
    with sample(folder, f"sqlite:///{folder / 'sample.db'}") as log:
        Eraser(log.database, signer()).erase(PAUL, "asked to", "me")
        log.database.close_file()
    return folder / "sample.db"


def attacked(files: Path, *statements: Any, head: str = "") -> Report:
    """What an audit finds after somebody who can write, but not sign, was at the file."""
    copy = files.with_name("attacked.db")
    shutil.copy(files, copy)
    with closing(open_database(f"sqlite:///{copy}", copy)) as database:
        with database.writing() as connection:
            for statement in statements:
                connection.execute(text(statement) if isinstance(statement, str) else statement)
        found = audited(database, head=head)
        database.close_file()
    return found


def rows_of(files: Path, table: str) -> list[Any]:
    with closing(open_database(f"sqlite:///{files}", files)) as database:
        with database.reading() as connection:
            found = list(connection.execute(select(METADATA.tables[table])).all())
        database.close_file()
    return found


def test_every_alteration_of_every_record_is_found(files: Path) -> None:
    """Each column of each record, one at a time: the first byte, or a number one higher."""
    attacks = 0
    for row in rows_of(files, "decisions"):
        erased = row.salt is None
        this = DECISIONS.update().where(DECISIONS.c.id == row.id)
        changes: list[dict[str, Any]] = []
        for name in PAYLOAD:
            old = getattr(row, name) or b"\1"
            changes.append({name: bytes([old[0] ^ 1]) + old[1:] if isinstance(old, bytes) else "x"})
        changes += [{name: (getattr(row, name) or 0) + add} for name, add in STRUCTURE.items()]
        changes += [{"entity": b"x" * 16}, {"unsent": not row.unsent}]
        changes += [{"leaf": b"x" * 32}] if erased else [{"salt": None, "leaf": b"x" * 32}]
        for change in changes:
            if erased and change.keys() & {"time_ns", "author"}:
                continue  # of an erased decision it is proven where it was, and that it was erased by right
            report = attacked(files, this.values(**change))
            assert report.verdict == "broken", change
            attacks += 1
    assert attacks > 1000


def test_every_removal_and_every_insertion_is_found(files: Path) -> None:
    names = ", ".join(f'"{column.name}"' for column in DECISIONS.c if column.name != "id")
    for row in rows_of(files, "decisions"):
        of_row = f"id = x'{row.id.hex()}'"
        report = attacked(files, f"DELETE FROM decisions WHERE {of_row}")
        assert [found.what for found in report.findings] == ["removed"]
        again = f"INSERT INTO decisions (id, {names}) SELECT randomblob(16), {names} FROM decisions WHERE {of_row}"
        assert attacked(files, again).verdict == "broken"
        beyond = f"UPDATE decisions SET place = 1000000 WHERE {of_row}"
        assert attacked(files, again, beyond).verdict == "broken"


def test_records_that_changed_places_are_found(files: Path) -> None:
    rows = sorted(rows_of(files, "decisions"), key=lambda row: (row.segment, row.place))
    for one, other in pairwise(rows):
        swaps = [
            DECISIONS.update().where(DECISIONS.c.id == mine.id).values(segment=its.segment, place=its.place)
            for mine, its in ((one, other), (other, one))
        ]
        assert attacked(files, *swaps).verdict == "broken"


def test_a_missing_segment_is_found_with_or_without_its_decisions(files: Path) -> None:
    segments = rows_of(files, "segments")
    assert len(segments) > 4
    for segment in segments:
        report = attacked(files, f"DELETE FROM segments WHERE id = {segment.id}")
        assert "missing segment" in {found.what for found in report.findings}
        rest = f"DELETE FROM decisions WHERE segment = {segment.id}"
        report = attacked(files, f"DELETE FROM segments WHERE id = {segment.id}", rest)
        assert {found.what for found in report.findings} == {"missing segment"}
        for change in (
            "rows = rows - 1",
            "rows = rows + 1",
            "missed = 5",
            "repeated = 5",
            "final = false",
            "number = 77",
        ):
            assert attacked(files, f"UPDATE segments SET {change} WHERE id = {segment.id}").verdict == "broken", change
        for change in ("root = x'00'", "unsent = x'00'", "tree = zeroblob(32)"):
            assert attacked(files, f"UPDATE segments SET {change} WHERE id = {segment.id}").verdict == "broken", change


def test_who_cannot_sign_cannot_change_the_chain(files: Path) -> None:
    checkpoints = rows_of(files, "checkpoints")
    assert len(checkpoints) == 6
    for row in checkpoints:
        of_row = f"seq = {row.seq}"
        last = row.seq == len(checkpoints)
        removed = attacked(files, f"DELETE FROM checkpoints WHERE {of_row}")
        assert removed.verdict == "broken" or last, "who wants to see a cut notes the head elsewhere"
        altered = row.body.replace('"missed":0', '"missed":1').replace('"kind":"erasure"', '"kind":"retention"')
        assert altered != row.body
        assert (
            attacked(files, CHECKPOINTS.update().where(CHECKPOINTS.c.seq == row.seq).values(body=altered)).verdict
            == "broken"
        )
        assert attacked(files, f"UPDATE checkpoints SET signature = x'3000' WHERE {of_row}").verdict == "broken"
        assert attacked(files, f"UPDATE checkpoints SET seq = seq + 100 WHERE {of_row}").verdict == "broken"
        forged = Checkpoint.from_body(row.body)
        body = Checkpoint(
            forged.seq,
            forged.previous,
            forged.at_ns,
            forged.host,
            signer("another").fingerprint,
            forged.segments,
            forged.act,
        ).body()
        signature = signer("another").sign("application/vnd.scoreline.checkpoint+json", body.encode())
        by_another = CHECKPOINTS.update().where(CHECKPOINTS.c.seq == row.seq).values(body=body, signature=signature)
        assert attacked(files, by_another).verdict == "broken"


def test_a_chain_that_was_cut_is_found_by_whoever_noted_its_head(files: Path) -> None:
    checkpoints = rows_of(files, "checkpoints")
    noted = f"{len(checkpoints)}:{hash_of(checkpoints[-1].body)}"
    assert attacked(files, head=noted).verdict == "intact"
    assert attacked(files, head=noted[:-1] + "z").verdict == "broken"
    report = attacked(files, f"DELETE FROM checkpoints WHERE seq = {len(checkpoints)}", head=noted)
    assert "chain" in {found.what for found in report.findings}


def test_an_author_that_says_something_else_is_found(files: Path) -> None:
    report = attacked(files, """UPDATE authors SET json = replace(json, '"version":"1"', '"version":"2"')""")
    assert {found.what for found in report.findings} == {"author"}


def test_hiding_a_removal_behind_a_hash_needs_a_signature(files: Path) -> None:
    for row in [row for row in rows_of(files, "decisions") if row.salt is not None][:20]:
        stump = f"INSERT INTO stumps VALUES ({row.segment}, {row.place}, 1, x'{'00' * 32}')"
        report = attacked(files, stump, f"DELETE FROM decisions WHERE id = x'{row.id.hex()}'")
        assert report.verdict == "broken"
    assert attacked(files, "INSERT INTO stumps VALUES (4711, 0, 1, x'00')").verdict == "broken"


@pytest.mark.parametrize("seed", range(6))
def test_what_is_done_by_right_in_any_order_leaves_it_intact(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Decisions, shipping, checkpoints, retention, archive, holds and erasures as a seed orders them."""
    monkeypatch.setattr(retention, "SLICE_ROWS", 7)
    monkeypatch.setattr(archiving, "SLICE_ROWS", 7)
    rng, place_ = random.Random(seed), str(tmp_path / "archive")
    with closing(open_database(database_url, tmp_path / "unused")) as database:
        database.prepare()
        log, day = Log(tmp_path, database, seed), 0.0
        archive, eraser = Archive(place_), Eraser(database, signer(), place_)
        place(database, Hold(model="churn", entity=MARIE, until_ns=NOON_NS + 3 * DAY_NS))
        for _ in range(25):
            act = rng.choice(("decide", "decide", "ship", "sign", "end", "expire", "archive", "erase", "day", "verify"))
            if act == "decide":
                log.decide(rng.randint(1, 8), day)
            elif act == "ship":
                log.ship()
            elif act == "sign":
                log.sign()
            elif act == "end":
                log.end()
                log.begin_anew()
            elif act in ("expire", "archive"):
                kept = Upkeep(signer(), rng.choice((2, 4)) if act == "expire" else 0, place_, rng.choice((1, 2)))
                every(lambda kept=kept, now=NOON_NS + int(day * DAY_NS): kept.step(database, now))
            elif act == "erase":
                eraser.erase(PAUL, "asked to", "me")
            elif act == "day":
                day += rng.choice((0.3, 1.0, 2.0))
            else:
                assert audited(database, archive).findings == []
        log.end()
        log.sign()
        report = audited(database, archive)
        assert report.findings == []
        assert report.verdict == "intact"
        assert report.records + report.removed == sum(map(len, log.made))


def test_retention_and_a_hold_of_the_same_days_leave_the_rest_provable(log: Log) -> None:
    log.begin_anew()
    log.decide(20, day=3)
    log.end()
    held = place(log.database, Hold(entity=MARIE, until_ns=NOON_NS + DAY_NS))
    every(lambda: Upkeep(signer(), 1).step(log.database, NOON_NS + 3 * DAY_NS))
    report = audited(log.database)
    assert (held, report.verdict) == (1, "intact")
    assert report.removed > 20
    assert report.records == count(log.database) > 20


def test_a_segment_that_is_signed_anew_with_another_root_is_found(log: Log) -> None:
    """Who alters a record, its tree and its root gets the next checkpoint signed, and not the one before it undone."""
    execute(log.database, "UPDATE decisions SET trace = 'x' WHERE place = 0")
    execute(log.database, SEGMENTS.update().where(SEGMENTS.c.id == 1).values(tree=b"\0" * 32, rows=1, signed=None))
    sign_pending(log.database, signer(), NOON_NS)
    report = audited(log.database)
    assert report.verdict == "broken"
    with log.database.reading() as connection:
        assert head(connection)[0] == 5
