"""What is in the spool arrives in the database once and as it was, whatever shippers and databases go through."""

import multiprocessing
import os
import random
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shipping import DAY_NS, NOON_NS, decided, ids_of, opened, ship_all, stored
from sqlalchemy import event, func, select, text

from scoreline.core.batch import Context
from scoreline.core.decision import Decisions
from scoreline.core.errors import DatabaseDown
from scoreline.records import ship
from scoreline.records.database import Database
from scoreline.records.partitions import existing_days
from scoreline.records.read import find_decision, read_record
from scoreline.records.segments import segment_name, segments
from scoreline.records.ship import Shipper
from scoreline.records.tables import AUTHORS, DECISIONS, SEGMENTS
from scoreline.records.tallied import Tallied
from scoreline.records.tally import NO_SHAPE
from scoreline.records.writer import SpoolWriter
from somedecisions import any_decisions, author_of, exactly
from trees import check_trees

fork = multiprocessing.get_context("fork")
DAY_MS = DAY_NS // 1_000_000


def write(folder: Path, *many: Decisions, segment_bytes: int = 1 << 20) -> SpoolWriter:
    writer = SpoolWriter(folder, segment_bytes)
    for decisions in many:
        writer.write(decisions)
    return writer


def plainly(decisions: Decisions) -> Decisions:
    """Texts as every database keeps them."""
    context = decisions.context
    texts = (text.replace("\0", "\ufffd") for text in (context.request_id, context.caller, context.trace))
    decisions.context = Context(context.time_ns, *texts)
    return decisions


def normal(decisions: Decisions) -> tuple[Any, ...]:
    """All of some decisions, absent as they are when read back."""
    decisions.defaulted = {row: found for row, found in decisions.defaulted.items() if found}
    decisions.entities = decisions.entities if any(decisions.entities) else ()
    return exactly(decisions)


@pytest.fixture
def database(database_url: str) -> Any:
    with opened(database_url) as found:
        yield found


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(many=st.lists(any_decisions(), min_size=1, max_size=6, unique_by=lambda decisions: decisions.base >> 20))
def test_what_is_shipped_is_what_was_written_bit_for_bit(database: Database, many: list[Decisions]) -> None:
    with database.writing() as connection:
        connection.execute(DECISIONS.delete())  # what the example before left
        connection.execute(SEGMENTS.delete())
    for decisions in many:
        decisions.base = decisions.base >> 20 << 20
    with TemporaryDirectory() as spool:
        write(Path(spool), *many).close()
        ship_all(Shipper(Path(spool), database, "here"))
        assert list(Path(spool).iterdir()) == []
    found = {decisions.base: normal(decisions) for decisions in stored(database)}
    assert found == {decisions.base: normal(plainly(decisions)) for decisions in many}
    check_trees(database)


def test_a_segment_is_deleted_once_it_has_ended_is_shipped_and_nobody_needs_it(
    database: Database, tmp_path: Path
) -> None:
    writer, tallied = write(tmp_path, decided(2)), Tallied(tmp_path, tmp_path / "tallies", lambda _: NO_SHAPE)
    shipper = Shipper(tmp_path, database, "here", tallied.is_past)
    ship_all(shipper)
    assert (shipper.lag_bytes, shipper.shipped, len(segments(tmp_path))) == (0, 2, 1)
    writer.write(decided(3))
    assert shipper.lag_bytes > 0
    writer.close()
    ship_all(shipper)
    assert (shipper.lag_bytes, shipper.shipped, len(segments(tmp_path))) == (0, 5, 1), "the tallies have not read it"
    assert tallied.read() == 5
    ship_all(shipper)
    assert len(segments(tmp_path)) == 1, "they are not kept yet"
    tallied.save()
    ship_all(shipper)
    assert segments(tmp_path) == []
    assert tallied.read() == 0
    with database.reading() as connection:
        (row,) = connection.execute(select(SEGMENTS))
        assert (row.host, row.number, row.rows, row.final) == ("here", 0, 5, True)
    check_trees(database)


def test_a_segment_without_decisions_is_final_too(database: Database, tmp_path: Path) -> None:
    writer = write(tmp_path, decided())
    (segment,) = segments(tmp_path)
    writer.close()
    segment.path.write_bytes(b"")
    ship_all(Shipper(tmp_path, database, "here"))
    assert segments(tmp_path) == []
    check_trees(database)


def test_authors_are_kept_once_and_found_again_after_a_restart(database: Database, tmp_path: Path) -> None:
    one, other = author_of(), author_of("churn", 4, version="7")
    writer = write(tmp_path, decided(author=one), decided(author=other))
    ship_all(Shipper(tmp_path, database, "here"))
    for decisions in (decided(author=other), decided(author=one)):
        writer.write(decisions)
    writer.close()
    ship_all(Shipper(tmp_path, database, "here"))
    assert [decisions.author for decisions in stored(database)] == [one, other, other, one]
    with database.reading() as connection:
        assert connection.scalar(select(func.count()).select_from(AUTHORS)) == 2


def test_an_answer_that_never_left_is_marked_in_whatever_segment_it_is_said(database: Database, tmp_path: Path) -> None:
    left, never, later = decided(2), decided(3), decided(2)
    writer = write(tmp_path, left, never, later, segment_bytes=1)
    writer.unsent(never)
    writer.close()
    assert len(segments(tmp_path)) == 3
    ship_all(Shipper(tmp_path, database, "here"))
    with database.reading() as connection:
        marked = connection.scalars(select(DECISIONS.c.id).where(DECISIONS.c.unsent)).all()
    assert sorted(marked) == [(never.base | row).to_bytes(16, "big") for row in range(3)]


def test_damage_in_a_segment_is_kept_and_said(database: Database, tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    write(spool, *(decided() for _ in range(4))).close()
    (segment,) = segments(spool)
    raw = bytearray(segment.path.read_bytes())
    raw[len(raw) * 3 // 5] ^= 1
    segment.path.write_bytes(raw)
    shipper = Shipper(spool, database, "here")
    ship_all(shipper)
    assert shipper.damaged == [segment.path.name]
    assert [path.name for path in spool.iterdir()] == [segment.path.name + ".damaged"]
    assert 0 < len(stored(database)) < 4
    assert Shipper(spool, database, "here").ship() == 0


def test_what_comes_again_is_counted_and_not_kept_twice(database: Database, tmp_path: Path) -> None:
    """A segment restored from a backup, a message of a stream that is read again."""
    one, two, three = decided(2), decided(3), decided()
    write(tmp_path, one, two).close()
    ship_all(Shipper(tmp_path, database, "here"))
    write(tmp_path, two, three, three).close()
    shipper = Shipper(tmp_path, database, "here")
    ship_all(shipper)
    assert ids_of(stored(database)) == ids_of([one, two, three])
    assert (shipper.refused, segments(tmp_path)) == ({}, [])
    with database.reading() as connection:
        counted = connection.execute(select(SEGMENTS.c.rows, SEGMENTS.c.repeated).order_by(SEGMENTS.c.id)).all()
    assert counted == [(5, 0), (1, 4)]
    check_trees(database)


def test_a_segment_that_cannot_be_shipped_holds_up_no_other_writer(database: Database, tmp_path: Path) -> None:
    spool, good = tmp_path / "spool", decided(3)
    (spool / segment_name("0" * 24, 0)).mkdir(parents=True)
    write(spool, good).close()
    shipper = Shipper(spool, database, "here")
    ship_all(shipper)
    assert ids_of(stored(database)) == ids_of([good])
    assert list(shipper.refused) == [segment_name("0" * 24, 0)]


def test_reading_finds_everything_once_wherever_it_is(database: Database, tmp_path: Path) -> None:
    old, new = [decided(2) for _ in range(3)], [decided() for _ in range(2)]
    writer = write(tmp_path, *old)
    ship_all(Shipper(tmp_path, database, "here"))
    for decisions in new:
        writer.write(decisions)
    assert [found.base for found in read_record(tmp_path, database)] == [made.base for made in (*old, *new)]
    found = find_decision(database, (old[1].base | 1).to_bytes(16, "big"))
    assert found is not None
    assert (found.base, exactly(found)[1:3]) == (old[1].base | 1, exactly(old[1])[1:3])
    assert find_decision(database, new[0].base.to_bytes(16, "big")) is None


def test_days_have_partitions_and_ids_without_a_day_a_place(postgres: Any, tmp_path: Path) -> None:
    with opened(postgres.new_schema()) as database:
        derived = decided(time_ns=NOON_NS - 2 * DAY_NS)
        derived.base = (NOON_NS + DAY_NS) // 1_000_000 << 80  # days after its decision
        writer = write(tmp_path, decided(time_ns=NOON_NS), derived)
        shipper = Shipper(tmp_path, database, "here")
        ship_all(shipper)
        day = NOON_NS // DAY_NS
        with database.writing() as connection:
            assert existing_days(connection) == [day, day + 1]
            connection.execute(text("DROP TABLE decisions_20231116"))  # as retention does
        writer.write(decided(time_ns=NOON_NS + 2 * DAY_NS))
        writer.write(decided(time_ns=NOON_NS))
        ship_all(shipper)
        with database.reading() as connection:
            counted = {
                name: connection.scalar(text(f"SELECT count(*) FROM {name}"))
                for name in ("decisions", "decisions_20231115", "decisions_20231117", "decisions_other")
            }
        assert counted == {"decisions": 3, "decisions_20231115": 2, "decisions_20231117": 1, "decisions_other": 0}


def test_what_waited_without_a_day_moves_to_it(postgres: Any, tmp_path: Path) -> None:
    with opened(postgres.new_schema()) as database:
        early = decided(time_ns=NOON_NS - 3 * DAY_NS)
        early.base = NOON_NS // 1_000_000 << 80
        writer = write(tmp_path, early)
        shipper = Shipper(tmp_path, database, "here")
        ship_all(shipper)
        writer.write(decided(time_ns=NOON_NS))
        ship_all(shipper)
        with database.reading() as connection:
            assert connection.scalar(text("SELECT count(*) FROM decisions_other")) == 0
            assert connection.scalar(text("SELECT count(*) FROM decisions_20231115")) == 2


def ship_for_ever(url: str, folder: Path, host: str) -> None:
    with opened(url) as database:
        shipper = Shipper(folder, database, host)
        while True:
            try:
                shipper.ship()
            except DatabaseDown:
                time.sleep(0.05)


def filled(folder: Path, n_requests: int, n_writers: int = 3) -> list[Decisions]:
    """Many small segments by several writers, all ended."""
    written = [decided(number % 3 + 1) for number in range(n_requests)]
    for number in range(n_writers):
        write(folder, *written[number::n_writers], segment_bytes=6000).close()
    return written


def test_a_shipper_killed_anywhere_loses_nothing_and_ships_nothing_twice(database_url: str, tmp_path: Path) -> None:
    written, rng = filled(tmp_path, 3000), random.Random(4)
    for _ in range(20):
        shipper = fork.Process(target=ship_for_ever, args=(database_url, tmp_path, "here"))
        shipper.start()
        time.sleep(rng.uniform(0.03, 0.25))
        os.kill(shipper.pid or 0, signal.SIGKILL)
        shipper.join()
        written += filled(tmp_path, 30)
    with opened(database_url) as database:
        ship_all(Shipper(tmp_path, database, "here"))
        assert ids_of(stored(database)) == ids_of(written)
        check_trees(database)
    assert segments(tmp_path) == []


def test_two_shippers_of_one_spool_ship_each_decision_once(database_url: str, tmp_path: Path) -> None:
    written = filled(tmp_path, 2000)
    with opened(database_url):
        pass
    shippers = [fork.Process(target=ship_for_ever, args=(database_url, tmp_path, host)) for host in ("a", "b")]
    for shipper in shippers:
        shipper.start()
    deadline_s = time.monotonic() + 60
    while segments(tmp_path) and time.monotonic() < deadline_s:
        time.sleep(0.05)
    for shipper in shippers:
        assert shipper.is_alive()
        shipper.kill()
        shipper.join()
    with opened(database_url) as database:
        assert ids_of(stored(database)) == ids_of(written)
        check_trees(database)


def test_a_server_that_dies_and_comes_back_costs_lag_only(postgres: Any, tmp_path: Path) -> None:
    written = filled(tmp_path, 3000)
    with opened(postgres.new_schema()) as database:
        shipper, outages, done = Shipper(tmp_path, database, "here"), 0, threading.Event()

        def ship() -> None:
            nonlocal outages
            while segments(tmp_path) or not done.is_set():
                try:
                    shipper.ship()
                except DatabaseDown:
                    outages += 1
                    time.sleep(0.05)

        shipping = threading.Thread(target=ship)
        shipping.start()
        for end in (postgres.kill, postgres.stop, postgres.kill):
            written += filled(tmp_path, 600)
            time.sleep(0.2)
            end()
            time.sleep(0.3)
            postgres.start()
        done.set()
        shipping.join(60)
        assert segments(tmp_path) == []
        assert outages
        assert ids_of(stored(database)) == ids_of(written)
        check_trees(database)


class Crash(Exception):
    """The death of a shipper, as far as a test in one process can play it."""


CRASHES = ("crash before commit 1", "crash before commit 2", "crash before commit 3", "crash before delete")
STEPS = st.lists(
    st.sampled_from(("write", "write", "ship", "ship", "rotate", "die", *CRASHES)),
    max_size=25,
)


@settings(max_examples=60)
@given(STEPS)
def test_whatever_the_order_of_writing_shipping_and_dying_the_record_is_whole(steps: list[str]) -> None:
    """On SQLite, where a crash is raised between the statements it may come between."""
    with TemporaryDirectory() as name, opened(f"sqlite:///{name}/x.db") as database:
        spool, written = Path(name) / "spool", list[Decisions]()
        writer, shipper = SpoolWriter(spool, 1 << 20), Shipper(spool, database, "here")
        for step in (*steps, "die", "ship"):
            if step == "write":
                written.append(decided(len(written) % 3 + 1))
                writer.write(written[-1])
            elif step == "rotate":
                writer.close()
            elif step == "die":
                writer.close()
                writer = SpoolWriter(spool, 1 << 20)
            elif step == "ship":
                ship_all(shipper)
            else:
                crash(database, shipper, step)
                shipper = Shipper(spool, database, "here")
            assert ids_of(list(read_record(spool, database))) == ids_of(written)
        assert segments(spool) == []
        check_trees(database)


def crash(database: Database, shipper: Shipper, when: str) -> None:
    left = int(when[-1]) if when[-1].isdigit() else 1

    def die(*_: Any) -> None:
        nonlocal left
        left -= 1
        if not left:
            raise Crash

    with pytest.MonkeyPatch.context() as patched, suppress(Crash):
        if when == "crash before delete":
            patched.setattr(Path, "unlink", die)
            ship_all(shipper)
        else:
            event.listen(database._engine, "commit", die)
            try:
                ship_all(shipper)
            finally:
                event.remove(database._engine, "commit", die)


def test_a_long_reader_does_not_stop_shipping_at_a_new_day(
    postgres: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows wait in `decisions_other` for their day, which is tried again once a minute."""
    many = [decided(2, NOON_NS + day * DAY_NS) for day in (0, 5, 5, 9)]
    with opened(postgres.new_schema()) as database:
        writer, shipper = SpoolWriter(tmp_path / "spool", 1 << 20), Shipper(tmp_path / "spool", database, "here")

        def put(made: Any) -> float:
            writer.write(made)
            begun_s = time.monotonic()
            ship_all(shipper)
            return time.monotonic() - begun_s

        put(many[0])
        with database.reading() as connection:
            before = existing_days(connection)
            connection.execute(text("SELECT count(*) FROM decisions")).all()
            put(many[1])
            assert put(many[2]) < 1.5, "it is not waited for again"
        assert shipper.shipped == 6
        with database.reading() as connection:
            assert existing_days(connection) == before
            assert connection.scalar(text("SELECT count(*) FROM decisions_other")) == 4
        monkeypatch.setattr(ship.time, "monotonic", lambda now=time.monotonic: now() + ship.DAYS_AGAIN_S)
        writer.write(decided(1, NOON_NS + 5 * DAY_NS))
        ship_all(shipper)
        with database.reading() as connection:
            assert connection.scalar(text("SELECT count(*) FROM decisions_other")) == 0
            assert len(existing_days(connection)) == len(before) + 2
        writer.close()
