"""Outcomes under retention: what belongs to no decision that is there goes once it is old, and nothing that is held."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from shipping import DAY_NS, NOON_NS, decided, opened, ship_all, signer
from sqlalchemy import func, select

from scoreline.core.decision import Decisions
from scoreline.core.outcome import Outcome
from scoreline.records import forgetting
from scoreline.records.database import Database
from scoreline.records.forgetting import remove_outcomes
from scoreline.records.holds import Hold, place, release
from scoreline.records.outcomes import add_outcomes, known_of
from scoreline.records.ship import Shipper
from scoreline.records.tables import OUTCOMES
from scoreline.records.upkeep import Upkeep
from scoreline.records.writer import SpoolWriter
from somedecisions import author_of

FRAUD, CHURN = author_of("fraud"), author_of("churn")
MARIE, PAUL = b"m" * 16, b"p" * 16
DAYS = 30


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    with opened(database_url) as found:
        yield found


def keep(database: Database, folder: Path, *many: Decisions) -> None:
    writer = SpoolWriter(folder, 1 << 20)
    for decisions in many:
        writer.write(decisions)
    writer.close()
    ship_all(Shipper(folder, database, "here"))


def on_day(number: float, entity: bytes = b"") -> Decisions:
    return decided(1, NOON_NS + int(number * DAY_NS), FRAUD, entities=[entity])


def of_id(decisions: Decisions) -> tuple[Outcome, bytes]:
    return Outcome(1.0, prediction=decisions.base.to_bytes(16, "big")), b""


def of_entity(entity: bytes, day: float, model: str = "fraud") -> tuple[Outcome, bytes]:
    return Outcome(1.0, model=model, entity="told", event_ns=NOON_NS + int(day * DAY_NS)), entity


def report(database: Database, *outcomes: tuple[Outcome, bytes], day: float = 0) -> None:
    add_outcomes(database, outcomes, "ops", NOON_NS + int(day * DAY_NS))


def upkeep(database: Database, today: float, kept: Upkeep | None = None) -> int:
    """How many outcomes are left once all that may go has gone."""
    steps = 0
    while (kept or Upkeep(signer(), retention_days=DAYS)).step(database, NOON_NS + int(today * DAY_NS)):
        steps += 1
        assert steps < 100
    with database.reading() as connection:
        return connection.scalar(select(func.count()).select_from(OUTCOMES)) or 0


def test_an_outcome_goes_after_its_decision_and_not_before(database: Database, tmp_path: Path) -> None:
    one, other = on_day(0), on_day(0, MARIE)
    keep(database, tmp_path, one, other)
    report(database, of_id(one), of_entity(MARIE, 1))
    assert upkeep(database, today=29) == 2
    assert upkeep(database, today=30.5) == 1, "the event was a day after the decision"
    assert upkeep(database, today=31.5) == 0


def test_what_never_matched_goes_when_it_is_old_by_its_own_time_and_by_its_receipt(database: Database) -> None:
    report(database, of_id(on_day(0)), of_entity(PAUL, 0), day=0)
    report(database, of_id(on_day(-90)), of_entity(PAUL, -90), day=10)
    report(database, of_id(on_day(20)), of_entity(PAUL, 20), day=0)
    assert upkeep(database, today=29) == 6
    assert upkeep(database, today=31) == 4
    assert upkeep(database, today=41) == 2
    assert upkeep(database, today=51) == 0


def test_outcomes_of_archived_decisions_stay_until_their_file_goes(database: Database, tmp_path: Path) -> None:
    one, other = on_day(0), on_day(0, MARIE)
    keep(database, tmp_path / "spool", one, other)
    report(database, of_id(one), of_entity(MARIE, 0.5))
    kept = Upkeep(signer(), retention_days=DAYS, archive=str(tmp_path / "archive"), archive_days=2)
    assert upkeep(database, 29, kept) == 2
    assert len(list((tmp_path / "archive").iterdir())) == 1
    assert upkeep(database, 31, kept) == 0


def test_an_old_outcome_of_a_decision_that_is_held_stays(database: Database, tmp_path: Path) -> None:
    one, other = on_day(0, MARIE), on_day(0, PAUL)
    keep(database, tmp_path, one, other)
    report(database, of_id(one), of_entity(MARIE, 1), of_id(other), of_entity(PAUL, 1))
    number = place(database, Hold(entity=MARIE))
    assert upkeep(database, today=99) == 2
    with database.reading() as connection:
        (known,) = known_of(connection, {one.base.to_bytes(16, "big"): MARIE}).values()
    assert len(known.history) == 1
    release(database, number, "a judge")
    assert upkeep(database, today=99) == 0


@pytest.mark.parametrize(
    ("hold", "left"),
    (
        (Hold(model="fraud"), 2),
        (Hold(model="churn"), 1),
        (Hold(entity=MARIE), 2),
        (Hold(model="fraud", entity=MARIE), 1),
        (Hold(model="nobody's"), 0),
        (Hold(from_ns=NOON_NS, until_ns=NOON_NS + 1), 3),
        (Hold(from_ns=NOON_NS + 1_000_000), 1),
        (Hold(until_ns=NOON_NS), 0),
        (Hold(), 4),
    ),
    ids=str,
)
def test_a_hold_covers_outcomes_whose_decisions_are_not_there(database: Database, hold: Hold, left: int) -> None:
    report(database, of_entity(MARIE, 0), of_entity(MARIE, 0, "churn"), of_entity(PAUL, 1), of_id(on_day(0)))
    number = place(database, hold)
    assert upkeep(database, today=99) == left
    release(database, number, "a judge")
    assert upkeep(database, today=99) == 0


def test_it_goes_in_slices_past_what_stays(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forgetting, "SLICE_ROWS", 2)
    held = [on_day(0, MARIE) for _ in range(3)]
    keep(database, tmp_path, *held)
    place(database, Hold(entity=MARIE))
    report(database, *map(of_id, held), *(of_id(on_day(0)) for _ in range(5)))
    report(database, of_id(on_day(0)), day=90)
    steps = 0
    while remove_outcomes(database, DAYS, NOON_NS + 99 * DAY_NS):
        steps += 1
    assert steps >= 3
    assert upkeep(database, today=99) == 4
