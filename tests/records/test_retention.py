"""What is older than the retention leaves the database, and nothing that a hold covers does."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from shipping import DAY_NS, NOON_NS, decided, ids_of, opened, ship_all, signer, stored

from scoreline.core.decision import Decisions
from scoreline.core.errors import NotFound
from scoreline.records import retention
from scoreline.records.database import Database
from scoreline.records.holds import Hold, active_holds, place, release
from scoreline.records.partitions import existing_days
from scoreline.records.retention import remove_expired
from scoreline.records.ship import Shipper
from scoreline.records.writer import SpoolWriter
from somedecisions import author_of

FRAUD, CHURN = author_of("fraud"), author_of("churn")
MARIE, PAUL = b"m" * 16, b"p" * 16
FIRST = NOON_NS // DAY_NS


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    with opened(database_url) as found:
        yield found


def on_day(number: int, author: Any = FRAUD, entity: bytes = b"", n_rows: int = 2) -> Decisions:
    return decided(n_rows, NOON_NS + number * DAY_NS, author, entities=[entity] * n_rows)


def keep(database: Database, folder: Path, *many: Decisions) -> None:
    writer = SpoolWriter(folder, 1 << 20)
    for decisions in many:
        writer.write(decisions)
    writer.close()
    ship_all(Shipper(folder, database, "here"))


def remove(database: Database, days: int, today: float) -> None:
    """Everything that has expired by a moment of a day; every step may be the last of a process."""
    steps = 0
    while remove_expired(database, days, NOON_NS + int(today * DAY_NS), signer()):
        steps += 1
        assert steps < 100


def days_there(database: Database) -> list[int]:
    with database.reading() as connection:
        return [day - FIRST for day in existing_days(connection)]


def test_what_is_older_goes_and_the_rest_stays(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "SLICE_ROWS", 3)
    many = [on_day(number, n_rows=4) for number in range(6)]
    keep(database, tmp_path, *many)
    remove(database, 30, today=30)
    assert ids_of(stored(database)) == ids_of(many), "nothing is older than 30 days"
    remove(database, 3, today=5.25)
    assert ids_of(stored(database)) == ids_of(many[3:]), "2.25 days and less"
    if database.kind == "postgresql":
        assert days_there(database) == [2, 3, 4, 5, 6], "the day of the cutoff is not over"
    remove(database, 3, today=50)
    assert stored(database) == []


@pytest.mark.parametrize(
    ("hold", "kept"),
    (
        (Hold(model="fraud"), {"fraud, Marie", "fraud, Paul", "fraud, day 3"}),
        (Hold(model="nobody's"), set()),
        (Hold(entity=MARIE), {"fraud, Marie", "churn, Marie"}),
        (Hold(model="churn", entity=MARIE), {"churn, Marie"}),
        (Hold(from_ns=NOON_NS + 2 * DAY_NS), {"fraud, day 3"}),
        (Hold(until_ns=NOON_NS), set()),
        (Hold(from_ns=NOON_NS, until_ns=NOON_NS + 1), {"fraud, Marie", "fraud, Paul", "churn, Marie"}),
        (Hold(), {"fraud, Marie", "fraud, Paul", "churn, Marie", "fraud, day 3"}),
    ),
    ids=lambda given: str(given) if isinstance(given, Hold) else "",
)
def test_a_hold_keeps_what_it_covers_until_it_is_released(
    database: Database, tmp_path: Path, hold: Hold, kept: set[str]
) -> None:
    many = {
        "fraud, Marie": on_day(0, FRAUD, MARIE),
        "fraud, Paul": on_day(0, FRAUD, PAUL),
        "churn, Marie": on_day(0, CHURN, MARIE),
        "fraud, day 3": on_day(3, FRAUD),
    }
    keep(database, tmp_path, *many.values())
    number = place(database, hold)
    remove(database, 1, today=10)
    assert ids_of(stored(database)) == ids_of([many[name] for name in kept])
    release(database, number, "a judge")
    remove(database, 1, today=10)
    assert stored(database) == []


def test_a_hold_is_released_once_and_by_somebody(database: Database) -> None:
    one, other = place(database, Hold(model="fraud", reason="4711", who="me")), place(database, Hold())
    with database.reading() as connection:
        assert active_holds(connection) == {one: Hold(model="fraud", reason="4711", who="me"), other: Hold()}
    release(database, one, "me")
    with pytest.raises(NotFound):
        release(database, one, "me")
    with database.reading() as connection:
        assert list(active_holds(connection)) == [other]


@pytest.mark.parametrize("id_day", (-3000, -3, 0, 9000))
def test_ids_of_any_time_expire_by_the_time_of_their_decision(database: Database, tmp_path: Path, id_day: int) -> None:
    """A message of a stream tells its own time, whatever that is."""
    decisions = on_day(0)
    decisions.base = (NOON_NS + id_day * DAY_NS) // 1_000_000 << 80
    keep(database, tmp_path, decisions)
    remove(database, 5, today=4)
    assert len(stored(database)) == 1
    remove(database, 5, today=6)
    assert stored(database) == []


def test_what_arrives_late_for_a_day_that_is_gone_is_kept_and_expires_too(database: Database, tmp_path: Path) -> None:
    writer, shipper = SpoolWriter(tmp_path, 1 << 20), Shipper(tmp_path, database, "here")
    writer.write(on_day(0))
    ship_all(shipper)
    remove(database, 5, today=9)
    writer.write(on_day(0))
    ship_all(shipper)
    assert len(stored(database)) == 1
    remove(database, 5, today=9)
    assert stored(database) == []


def test_now_nothing_of_today_expires(database: Database, tmp_path: Path) -> None:
    keep(database, tmp_path, decided())
    assert not remove_expired(database, 1, time.time_ns(), signer())
    assert len(stored(database)) == 1
