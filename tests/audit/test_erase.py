"""What is erased is gone from everything the service keeps, and what is left is proven as before."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from logs import DAY_NS, MARIE, NOON_NS, PAUL, Log, audited, decided, every, signer
from shipping import ids_of, stored
from sqlalchemy import insert, select

from scoreline.core.errors import ErasureRefused
from scoreline.core.outcome import Outcome
from scoreline.records.archive import Archive
from scoreline.records.chain import Checkpoint, links
from scoreline.records.database import Database, open_database
from scoreline.records.erase import Eraser, erasures
from scoreline.records.holds import Hold, place, release
from scoreline.records.outcomes import add_outcomes
from scoreline.records.read import find_decision, read_decisions
from scoreline.records.tables import DECISIONS, EXPORTS, OUTCOMES
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


def test_what_comes_up_long_after_goes_too_and_what_is_decided_later_stays(log: Log) -> None:
    log.end()
    eraser = Eraser(log.database, signer())
    eraser.erase(MARIE, "asked to", "me")
    assert erasures(log.database)[0].waiting == 0
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
    assert [(act.kind, act.facts, [one.ranges for one in act.taken]) for act in acts] == [
        ("erasure", {"erasure": 1}, [[(0, 2)]])
    ]
    assert MARIE.hex() not in "".join(bodies)
    assert "asked" not in "".join(bodies)
