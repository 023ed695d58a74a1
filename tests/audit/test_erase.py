"""What is erased is gone from everything the service keeps, and what is left is proven as before."""

import logging
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from logs import DAY_NS, MARIE, NOON_NS, PAUL, Log, audited, decided, every, signer
from shipping import ids_of, stored
from sqlalchemy import insert, select

from scoreline.core.errors import DatabaseRefused, ErasureRefused
from scoreline.core.outcome import Outcome
from scoreline.records import archive as archiving
from scoreline.records import erase
from scoreline.records.archive import Archive
from scoreline.records.asked import erasures
from scoreline.records.chain import Checkpoint, links
from scoreline.records.database import Database, open_database
from scoreline.records.erase import Eraser
from scoreline.records.holds import Hold, place, release
from scoreline.records.outcomes import add_outcomes
from scoreline.records.read import find_decision, read_decisions
from scoreline.records.tables import ARCHIVES, DECISIONS, ERASURES, EXPORTS, OUTCOMES
from scoreline.records.upkeep import Upkeep

SECRET = 1234.56789
MARK = np.float64(SECRET).tobytes()


@pytest.fixture
def log(database_url: str, tmp_path: Path) -> Iterator[Log]:
    with closing(open_database(database_url, tmp_path / "unused")) as database:
        database.prepare()
        yield Log(tmp_path, database)


def tell(log: Log, entity: bytes, n_rows: int = 2, day: float = 0.0) -> Any:
    """A request whose every value is the secret."""
    made = decided(n_rows, NOON_NS + int(day * DAY_NS), entities=[entity] * n_rows)
    made.values = np.full_like(made.values, SECRET)
    log._writers[0].write(made)
    log.made.append(made)
    return made


def outcomes(database: Database) -> int:
    with database.reading() as connection:
        return len(connection.execute(select(OUTCOMES)).all())


def report_outcome(log: Log, made: Any, entity: bytes) -> None:
    by_id = Outcome(1.0, prediction=made.base.to_bytes(16, "big"))
    by_entity = Outcome(0.0, model=made.author.model, entity="x", event_ns=made.context.time_ns + 1)
    add_outcomes(log.database, [(by_id, b""), (by_entity, entity)], "me", NOON_NS)


def test_an_entity_goes_and_all_others_stay_and_are_proven(log: Log) -> None:
    log.decide(10, entity=MARIE)
    hers = log.made[:]
    log.decide(10, entity=PAUL)
    log.end()
    log.sign()
    for made, entity in ((hers[0], MARIE), (log.made[-1], PAUL)):
        report_outcome(log, made, entity)
    number, left = Eraser(log.database, signer()).erase(MARIE, "asked to", "me")
    assert left == []
    (found,) = erasures(log.database)
    assert (found.number, found.decisions, found.outcomes, found.waiting) == (number, sum(map(len, hers)), 2, 0)
    assert ids_of(stored(log.database)) == ids_of(log.made[10:])
    assert outcomes(log.database) == 2, "his"
    assert find_decision(log.database, hers[0].base.to_bytes(16, "big")) is None
    report = audited(log.database)
    assert (report.verdict, report.erased, report.unsigned) == ("intact", found.decisions, 0)


def test_nothing_of_it_is_left_in_the_row_or_in_a_file_of_sqlite(log: Log, tmp_path: Path) -> None:
    made = tell(log, MARIE)
    log.end()
    files = [path for path in tmp_path.rglob("decisions.db*") if path.is_file()]
    assert not files or any(MARK in path.read_bytes() for path in files), "else this would prove nothing"
    Eraser(log.database, signer()).erase(MARIE, "asked to", "me")
    with log.database.reading() as connection:
        rows = connection.execute(select(DECISIONS)).all()
    assert len(rows) == len(made)
    for row in rows:
        told = {name for name, value in row._asdict().items() if value is not None}
        assert told == {"id", "time_ns", "author", "segment", "place", "unsent", "leaf"}
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or MARK not in path.read_bytes(), path


def test_what_waits_in_a_spool_goes_once_it_is_shipped_and_its_segment_has_ended(log: Log, tmp_path: Path) -> None:
    tell(log, MARIE)
    log.ship()
    tell(log, MARIE)  # not shipped yet
    eraser = Eraser(log.database, signer())
    eraser.erase(MARIE, "asked to", "me")
    assert erasures(log.database)[0].waiting == 1
    log.ship()
    assert len(stored(log.database)) == 1
    eraser.again(every=False)
    assert stored(log.database) == []
    assert erasures(log.database)[0].waiting == 1, "its segment is being written still"
    log.end()
    eraser.again(every=False)
    (found,) = erasures(log.database)
    assert (found.waiting, found.decisions) == (0, 4)
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or MARK not in path.read_bytes(), path
    log.sign()
    assert audited(log.database).verdict == "intact"


def test_what_comes_up_long_after_goes_too_and_what_is_decided_later_stays(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.end()
    eraser = Eraser(log.database, signer())
    eraser.erase(MARIE, "asked to", "me")
    eraser.again(every=False)
    (found,) = erasures(log.database)
    assert (found.waiting, found.done) == (0, False), "for an hour it is looked for"
    monkeypatch.setattr(erase, "WATCH_NS", 0)
    eraser.again(every=False)
    assert erasures(log.database)[0].done
    log.begin_anew()
    tell(log, MARIE)  # of a host that was cut off
    log._writers[0].write(decided(1, entities=[MARIE], time_ns=2**62))
    log.end()
    eraser.again(every=False)
    assert len(stored(log.database)) == 2
    eraser.again(every=True)
    assert [found.context.time_ns for found in stored(log.database)] == [2**62]


def test_a_hold_goes_before(log: Log) -> None:
    tell(log, MARIE)
    log.end()
    number = place(log.database, Hold(entity=MARIE, reason="a court"))
    with pytest.raises(ErasureRefused, match="hold"):
        Eraser(log.database, signer()).erase(MARIE, "asked to", "me")
    assert erasures(log.database) == []
    assert len(stored(log.database)) == 1
    release(log.database, number, "a judge")
    Eraser(log.database, signer()).erase(MARIE, "asked to", "me")
    assert stored(log.database) == []


def test_the_archive_is_written_anew_without_it(log: Log, tmp_path: Path) -> None:
    folder = str(tmp_path / "archive")
    tell(log, MARIE)
    tell(log, PAUL)
    tell(log, MARIE, day=30)
    log.end()
    every(lambda: Upkeep(signer(), archive=folder, archive_days=1).step(log.database, NOON_NS + 3 * DAY_NS))
    assert len(stored(log.database)) == 1
    (before,) = (tmp_path / "archive").iterdir()
    Eraser(log.database, signer(), folder).erase(MARIE, "asked to", "me")
    (after,) = (tmp_path / "archive").iterdir()
    assert before.name != after.name
    archive = Archive(folder)
    assert ids_of(list(read_decisions(log.database, archive))) == ids_of([log.made[1]])
    report = audited(log.database, archive)
    assert (report.verdict, report.erased, report.records) == ("intact", 4, 6)
    assert erasures(log.database)[0].decisions == 4


def test_what_left_before_is_listed(log: Log) -> None:
    tell(log, MARIE, day=2)
    log.end()
    about = {"kind": "decisions", "digest": "d" * 64, "rows": 5, "who": "me", "at_ns": NOON_NS + 9 * DAY_NS}
    times = {"from_ns": NOON_NS, "until_ns": NOON_NS + 5 * DAY_NS}
    with log.database.writing() as connection:
        for name, filter_, more in (
            ("all", "{}", {}),
            ("hers", f'{{"entity":"{MARIE.hex()}"}}', {}),
            ("his", f'{{"entity":"{PAUL.hex()}"}}', {}),
            ("model", '{"model":"fraud"}', {}),
            ("other model", '{"model":"churn"}', {}),
            ("before", "{}", {"until_ns": NOON_NS + DAY_NS}),
            ("nothing", "{}", {"rows": 0}),
        ):
            connection.execute(insert(EXPORTS).values(**about | times | more, name=name, filter=filter_))
    _, left = Eraser(log.database, signer()).erase(MARIE, "asked to", "me")
    assert [one.name for one in left] == ["all", "hers", "model"]


def test_the_chain_says_where_something_was_erased_and_not_whom(log: Log) -> None:
    tell(log, MARIE)
    log.end()
    Eraser(log.database, signer()).erase(MARIE, "she asked to", "me")
    with log.database.reading() as connection:
        bodies = [body for _, body, _ in links(connection)]
    acts = [act for act in (Checkpoint.from_body(body).act for body in bodies) if act]
    request, done = acts
    assert (request.kind, request.facts["erasure"], len(request.facts["request"]), request.taken) == (
        "erasure",
        1,
        64,
        (),
    )
    assert (done.kind, done.facts, [one.ranges for one in done.taken]) == ("erasure", {"erasure": 1}, [[(0, 2)]])
    assert MARIE.hex() not in "".join(bodies)
    assert "asked" not in "".join(bodies)


def nowhere(folder: Path) -> bool:
    """Whether the secret is in no file of a folder."""
    return not any(MARK in path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_what_nobody_signed_for_is_not_erased(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    for entity in (MARIE, PAUL):
        tell(log, entity)
    log.end()
    Eraser(log.database, signer()).erase(PAUL, "asked to", "me")
    with log.database.writing() as connection:
        (true,) = connection.execute(select(ERASURES)).all()
        forged = true._asdict() | {"id": 2, "entity": MARIE}
        for more in ({}, {"id": 3, "link": 4711}, {"id": 4, "link": 0}):
            connection.execute(insert(ERASURES).values(**forged | more))
    eraser = Eraser(log.database, signer())
    for _ in range(3):
        eraser.again(every=True)
    assert ids_of(stored(log.database)) == ids_of(log.made[:1])
    assert len([one for one in caplog.records if one.levelno == logging.ERROR]) == 3, "each is said once"
    with log.database.writing() as connection:
        connection.execute(ERASURES.delete().where(ERASURES.c.id > 1))
        connection.execute(ERASURES.update().values(entity=MARIE))
    eraser.again(every=True)
    assert ids_of(stored(log.database)) == ids_of(log.made[:1])
    assert audited(log.database).findings == []


def test_what_another_key_signed_for_is_left_alone(log: Log) -> None:
    tell(log, MARIE)
    Eraser(log.database, signer("another")).erase(MARIE, "asked to", "me")
    log.end()
    Eraser(log.database, signer()).again(every=True)
    assert len(stored(log.database)) == 1
    Eraser(log.database, signer("another")).again(every=True)
    assert stored(log.database) == []


@pytest.mark.parametrize("step", ("before the slices", "before the files", "before it is taken up"))
def test_a_file_that_is_put_down_meanwhile_keeps_nothing(
    log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    folder = tmp_path / "archive"
    for entity in (MARIE, PAUL):
        tell(log, entity)
    log.decide(3, entity=PAUL)
    log.end()
    log.sign()
    archive, eraser = Archive(str(folder)), Eraser(log.database, signer(), str(folder))
    now_ns = NOON_NS + 30 * DAY_NS
    if step == "before it is taken up":
        remove = Archive._remove

        def late(self: Archive, *given: Any) -> None:
            monkeypatch.setattr(Archive, "_remove", remove)
            eraser.erase(MARIE, "asked to", "me")
            remove(self, *given)

        monkeypatch.setattr(Archive, "_remove", late)
    else:
        name = "_erase_slices" if step == "before the slices" else "_erase_archived"
        real = getattr(Eraser, name)

        def meanwhile(self: Eraser, *given: Any) -> Any:
            monkeypatch.setattr(Eraser, name, real)
            day = archiving._first_day(log.database)
            assert day is not None and archive._write(log.database, day)
            return real(self, *given)

        monkeypatch.setattr(Eraser, name, meanwhile)
        eraser.erase(MARIE, "asked to", "me")
    every(lambda: archive.move(log.database, 1, now_ns))
    eraser.again(every=True)
    with log.database.reading() as connection:
        assert connection.scalars(select(ARCHIVES.c.done)).all() == [True]
        assert connection.scalars(select(DECISIONS.c.id)).all() == []
    hers = list(archive.read(connection_name(log)))
    assert [row for _, row in hers if row[2] == MARIE] == []
    report = audited(log.database, archive)
    assert (report.findings, report.erased) == ([], 2)
    assert erasures(log.database)[0].decisions == 2


def connection_name(log: Log) -> str:
    """The one file of the archive."""
    with log.database.reading() as connection:
        return connection.execute(select(ARCHIVES.c.name)).scalar_one()


def test_an_unreadable_file_does_not_keep_the_others(log: Log, tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    for day in range(3):
        tell(log, MARIE, day=day)
    log.end()
    every(lambda: Archive(str(folder)).move(log.database, 1, NOON_NS + 30 * DAY_NS))
    first, *_ = sorted(folder.iterdir())
    whole = first.read_bytes()
    first.write_bytes(whole[:200])
    eraser = Eraser(log.database, signer(), str(folder))
    with pytest.raises(DatabaseRefused, match=f"{first.name} cannot be read as Parquet"):
        eraser.erase(MARIE, "asked to", "me")
    assert erasures(log.database)[0].decisions == 4
    first.write_bytes(whole)
    eraser.again(every=False)
    assert erasures(log.database)[0].decisions == 6
    assert nowhere(folder)


def test_a_reader_that_was_open_leaves_nothing_in_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erase, "WATCH_NS", 0)
    with closing(open_database(f"sqlite:///{tmp_path / 'decisions.db'}", tmp_path / "unused")) as database:
        database.prepare()
        log = Log(tmp_path, database)
        tell(log, MARIE, 4)
        log.end()
        eraser = Eraser(database, signer())
        with database.reading() as connection:
            connection.execute(select(DECISIONS.c.id)).all()
            eraser.erase(MARIE, "asked to", "me")
            eraser.again(every=False)
            assert not erasures(database)[0].done and not nowhere(tmp_path)
        eraser.again(every=False)
        assert erasures(database)[0].done and nowhere(tmp_path)


def test_what_left_is_not_forgotten_once_the_decisions_are_gone(log: Log) -> None:
    tell(log, MARIE)
    tell(log, MARIE, day=20)
    log.end()
    about = {"kind": "decisions", "digest": "d" * 64, "rows": 5, "who": "me", "at_ns": NOON_NS, "filter": "{}"}
    with log.database.writing() as connection:
        until_ns = NOON_NS + DAY_NS
        connection.execute(insert(EXPORTS).values(**about, name="early", from_ns=NOON_NS, until_ns=until_ns))
    every(lambda: Upkeep(signer(), 15).step(log.database, NOON_NS + 30 * DAY_NS))
    for _ in range(2):
        _, left = Eraser(log.database, signer()).erase(MARIE, "asked to", "me")
        assert [one.name for one in left] == ["early"]


def test_what_left_is_listed_a_second_time_too(log: Log) -> None:
    tell(log, MARIE)
    log.end()
    about = {"kind": "decisions", "digest": "d" * 64, "rows": 5, "who": "me", "at_ns": NOON_NS, "filter": "{}"}
    with log.database.writing() as connection:
        connection.execute(insert(EXPORTS).values(**about, name="all", from_ns=NOON_NS, until_ns=NOON_NS + DAY_NS))
    for _ in range(2):
        assert [one.name for one in Eraser(log.database, signer()).erase(MARIE, "asked to", "me")[1]] == ["all"]


def test_erasing_and_shipping_wait_for_each_other_in_one_order(
    postgres: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shipper has its segment and wants decisions, which the eraser would have before that segment."""
    from scoreline.records import ship

    with closing(open_database(postgres.new_schema(), tmp_path / "unused")) as database:
        database.prepare()
        log = Log(tmp_path, database)
        eraser = Eraser(database, signer())
        eraser.erase(MARIE, "asked to", "me")
        made = tell(log, MARIE)
        log.ship()
        log._writers[0].unsent(made)
        shipping, erasing, mark = threading.Event(), threading.Event(), ship.mark_unsent

        def marks(base: bytes) -> Any:
            shipping.set()
            erasing.wait(1)
            return mark(base)

        slice_ = erase._erase_slice

        def slices(*given: Any) -> Any:
            found = slice_(*given)
            erasing.set()
            return found

        monkeypatch.setattr(ship, "mark_unsent", marks)
        monkeypatch.setattr(erase, "_erase_slice", slices)
        done: list[bool] = []
        thread = threading.Thread(target=lambda: done.append(log.ship() is None))
        thread.start()
        assert shipping.wait(10)
        eraser.again(every=False)
        thread.join(30)
        assert done == [True], "nobody was the victim of a deadlock"
        assert not log._shipper.refused and stored(database) == []
        log.end()
        log.sign()
        assert audited(database).findings == []
