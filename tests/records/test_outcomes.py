"""Outcomes end right, with their history, whatever came first: the law of the join, on both databases."""

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shipping import opened, ship_all, signer
from sqlalchemy import select

from scoreline.core.batch import Context
from scoreline.core.decision import Decisions
from scoreline.core.outcome import Outcome
from scoreline.records import archive as archiving
from scoreline.records.archive import Archive
from scoreline.records.database import Database
from scoreline.records.outcomes import Known, add_outcomes, known_of, match, unmatched
from scoreline.records.ship import Shipper
from scoreline.records.tables import ARCHIVES, DECISIONS, MOVED, OUTCOMES, SEGMENTS
from scoreline.records.writer import SpoolWriter
from somedecisions import author_of, decisions_of

MS = 1_000_000
DAY_NS = 86_400_000 * MS
START_NS = 1_795_500_000_000 * MS
FOREVER_NS = START_NS + 100 * DAY_NS
FRAUD, FRAUD_2, CHURN = author_of("fraud"), author_of("fraud", version="2"), author_of("churn")
ENTITIES = (b"", b"a" * 16, b"b" * 16)


def at(ms: int) -> int:
    return START_NS + ms * MS


def decided(number: int, ms: int, author: Any = FRAUD, entity: bytes = b"") -> Decisions:
    """One decision whose id is of its own time."""
    decisions = decisions_of(author, 0, entities=[entity], context=Context(at(ms)))
    decisions.base = (at(ms) // MS << 80) | 0x7 << 76 | 0b10 << 62 | number << 20
    return decisions


def id_of(decisions: Decisions) -> bytes:
    return decisions.base.to_bytes(16, "big")


@pytest.fixture
def database(database_url: str) -> Any:
    with opened(database_url) as found:
        yield found


def record(folder: Path, database: Database, *many: Decisions) -> None:
    writer = SpoolWriter(folder, 1 << 20)
    for decisions in many:
        writer.write(decisions)
    writer.close()
    ship_all(Shipper(folder, database, "here"))


def known(database: Database, *many: Decisions) -> dict[bytes, Known]:
    with database.reading() as connection:
        return known_of(connection, {id_of(found): found.entities[0] for found in many})


def by_id(decisions: Decisions, value: float | str, observed: int | None = None) -> tuple[Outcome, bytes]:
    return Outcome(value, prediction=id_of(decisions), observed_ns=observed), b""


def of_entity(entity: bytes, ms: int, value: float, observed: int | None = None) -> tuple[Outcome, bytes]:
    return Outcome(value, model="fraud", entity="told", event_ns=at(ms), observed_ns=observed), entity


def test_by_id_early_late_twice_and_corrected(database: Database, tmp_path: Path) -> None:
    first, second = decided(1, 10), decided(2, 20)
    assert add_outcomes(database, [by_id(first, 1.0)], "ops", at(5))[1] == 1  # before its decision is there
    assert [report.value for report in unmatched(database)] == [1.0]
    record(tmp_path, database, first, second)
    assert list(unmatched(database)) == []
    assert add_outcomes(database, [by_id(first, 1.0)], "ops", at(100))[1] == 0  # says nothing new
    assert add_outcomes(database, [by_id(first, 0.0)], "ops", at(200))[1] == 1
    assert add_outcomes(database, [by_id(first, 1.0)], "ops", at(300))[1] == 1  # and back again
    found = known(database, first, second)
    assert list(found) == [id_of(first)]
    assert found[id_of(first)].current.value == 1.0
    assert [report.value for report in found[id_of(first)].history] == [1.0, 0.0]


def test_a_correction_that_arrives_before_what_it_corrects_still_counts(database: Database, tmp_path: Path) -> None:
    decision = decided(1, 10)
    record(tmp_path, database, decision)
    add_outcomes(database, [by_id(decision, 0.0, observed=at(900))], "ops", at(1000))
    add_outcomes(database, [by_id(decision, 1.0, observed=at(500))], "ops", at(1001))
    (found,) = known(database, decision).values()
    assert (found.current.value, [report.value for report in found.history]) == (0.0, [1.0])


def test_of_several_in_one_call_the_later_counts_and_a_class_is_a_value(database: Database, tmp_path: Path) -> None:
    decision = decided(1, 10)
    record(tmp_path, database, decision)
    kept, added = add_outcomes(database, [by_id(decision, value) for value in (1.0, 1.0, "gold")], "ops", at(50))
    assert added == 2
    assert [report.caller for report in kept] == ["ops"] * 3
    (found,) = known(database, decision).values()
    assert found.current.value == "gold"


def test_an_event_belongs_to_the_last_decision_about_its_entity(database: Database, tmp_path: Path) -> None:
    a, b = ENTITIES[1:]
    mine = [decided(1, 10, entity=a), decided(2, 20, FRAUD_2, a), decided(3, 30, entity=a)]
    others = [decided(4, 24, CHURN, a), decided(5, 24, entity=b), decided(6, 24)]
    record(tmp_path, database, *mine, *others)
    kept, _ = add_outcomes(database, [of_entity(a, ms, 1.0) for ms in (9, 10, 25, 99)], "ops", at(100))
    with database.reading() as connection:
        found = [(one.prediction, one.others) for one in match(connection, kept)]
    assert found == [(b"", 0), (id_of(mine[0]), 0), (id_of(mine[1]), 1), (id_of(mine[2]), 2)]
    assert {key: one.current.target[3] for key, one in known(database, *mine, *others).items()} == {
        id_of(mine[0]): at(10),
        id_of(mine[1]): at(25),
        id_of(mine[2]): at(99),
    }
    assert [report.target[3] for report in unmatched(database)] == [at(9)]


@dataclass
class World:
    """What is true, by the plain definition of the join."""

    decisions: list[Decisions] = field(default_factory=list)
    outcomes: list[tuple[Outcome, bytes]] = field(default_factory=list)

    def joined(self) -> dict[bytes, set[tuple[float, int]]]:
        found: dict[bytes, set[tuple[float, int]]] = {}
        for outcome, entity in self.outcomes:
            target = outcome.prediction
            if not target:
                before = [
                    (decisions.context.time_ns, id_of(decisions))
                    for decisions in self.decisions
                    if decisions.entities[0] == entity
                    and decisions.author.model == outcome.model
                    and decisions.context.time_ns <= outcome.event_ns
                ]
                target = max(before, default=(0, b""))[1]
            if target in {id_of(decisions) for decisions in self.decisions}:
                found.setdefault(target, set()).add((outcome.value, outcome.observed_ns))
        return found


class Crash(Exception):
    """A death, as far as a test in one process can play it."""


def archived(database: Database, folder: Path, dies_at: int = 1000) -> None:
    """Moves all there is into files; dies before the transaction of this number."""
    left, real = dies_at, type(database).writing

    def writing(*given: Any, **named: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise Crash
        return real(*given, **named)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(archiving, "SLICE_ROWS", 1)
        patched.setattr(type(database), "writing", writing)
        with suppress(Crash):
            while Archive(str(folder)).move(database, 1, FOREVER_NS):
                pass


def shipped_ids(database: Database) -> list[bytes]:
    with database.reading() as connection:
        return sorted(id_ for table in (DECISIONS, MOVED) for id_ in connection.scalars(select(table.c.id)))


def test_what_is_archived_keeps_its_outcomes(database: Database, tmp_path: Path) -> None:
    """Those by id, and those by entity, which go to no earlier decision because the last one is in a file."""
    a = ENTITIES[1]
    first, last = decided(1, 10, entity=a), decided(2, 20, FRAUD_2, a)
    first.base -= 3 * DAY_NS // MS << 80
    first.context = Context(first.context.time_ns - 3 * DAY_NS)
    record(tmp_path / "spool", database, first, last)
    add_outcomes(database, [by_id(first, 1.0), of_entity(a, 30, 0.0)], "ops", at(100))
    before = known(database, first, last)
    assert set(before) == {id_of(first), id_of(last)}
    archived(database, tmp_path / "archive")
    assert known(database, first, last) == before
    assert list(unmatched(database)) == []
    kept, _ = add_outcomes(database, [of_entity(a, 40, 1.0)], "ops", at(100))
    with database.reading() as connection:
        assert [(one.prediction, one.others) for one in match(connection, kept)] == [(id_of(last), 1)]


def test_what_is_shipped_again_after_its_day_was_archived_is_counted_and_not_there_twice(
    database: Database, tmp_path: Path
) -> None:
    many, new = [decided(number, number) for number in range(5)], decided(9, 9)
    record(tmp_path / "spool", database, *many)
    archived(database, tmp_path / "archive")
    record(tmp_path / "copied", database, *many, new)
    assert shipped_ids(database) == sorted(map(id_of, [*many, new]))
    with database.reading() as connection:
        assert sum(connection.scalars(select(SEGMENTS.c.repeated))) == 5
        assert connection.scalars(select(DECISIONS.c.id)).all() == [id_of(new)]


def test_stubs_go_with_their_file(database: Database, tmp_path: Path) -> None:
    early, late = decided(1, 10), decided(2, 20)
    for found in (early, late):  # two files of one day
        record(tmp_path / "spool", database, found)
        archived(database, tmp_path / "archive")
    add_outcomes(database, [by_id(found, 1.0) for found in (early, late)], "ops", at(100))
    assert len(known(database, early, late)) == 2
    assert Archive(str(tmp_path / "archive")).expire(database, 1, FOREVER_NS, signer())
    assert len(shipped_ids(database)) == 1 and len(list(unmatched(database))) == 1
    assert Archive(str(tmp_path / "archive")).expire(database, 1, FOREVER_NS, signer())
    assert shipped_ids(database) == [] and len(list(unmatched(database))) == 2


def test_stubs_stay_where_the_transaction_of_their_file_fails(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, archive = decided(1, 10), Archive(str(tmp_path / "archive"))
    record(tmp_path / "spool", database, made)
    archived(database, tmp_path / "archive")

    def dies(*_: Any) -> Any:
        raise OSError

    with monkeypatch.context() as patched:
        patched.setattr("scoreline.records.archive.sign_away", dies)
        with pytest.raises(OSError):
            archive.expire(database, 1, FOREVER_NS, signer())
    assert shipped_ids(database) == [id_of(made)]
    assert archive.expire(database, 1, FOREVER_NS, signer())
    assert shipped_ids(database) == []


@st.composite
def worlds(draw: st.DrawFn) -> tuple[World, list[Any]]:
    """Decisions and timed outcomes, and their parts in any order, some of them twice; between them everything goes to
    the archive, or as far as it comes before it dies in its transaction of some number."""
    models, times = st.sampled_from((FRAUD, FRAUD_2, CHURN)), st.integers(0, 9)
    decisions = [
        decided(number, draw(times), draw(models), draw(st.sampled_from(ENTITIES)))
        for number in range(draw(st.integers(1, 5)))
    ]
    outcomes = []
    for _ in range(draw(st.integers(0, 6))):
        value, observed = float(draw(st.integers(0, 1))), at(draw(st.integers(20, 24)))
        if draw(st.booleans()):
            outcomes.append(by_id(draw(st.sampled_from([*decisions, decided(99, 5)])), value, observed))
        else:
            entity = draw(st.sampled_from(ENTITIES[1:]))
            outcomes.append(of_entity(entity, draw(st.integers(0, 12)), value, observed))
    again = draw(st.lists(st.sampled_from([*decisions, *outcomes]), max_size=3))
    archivings = draw(st.lists(st.sampled_from((1000, *range(6))), max_size=3))
    steps = draw(st.permutations([*decisions, *outcomes, *again, *archivings]))
    return World(decisions, outcomes), steps


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(worlds())
def test_whatever_the_order_the_joined_table_is_the_same(
    database: Database, tmp_path_factory: pytest.TempPathFactory, case: tuple[World, list[Any]]
) -> None:
    world, steps = case
    with database.writing() as connection:
        for table in (DECISIONS, MOVED, ARCHIVES, SEGMENTS, OUTCOMES):
            connection.execute(table.delete())
    folder, files = tmp_path_factory.mktemp("spool"), tmp_path_factory.mktemp("archive")
    for step in steps:
        if isinstance(step, Decisions):
            record(folder, database, step)
        elif isinstance(step, int):
            archived(database, files, dies_at=step)
        else:
            add_outcomes(database, [step], "ops", at(1000))
    assert shipped_ids(database) == sorted(map(id_of, world.decisions)), "each once, in one place"
    found = known(database, *world.decisions)
    reports = {key: (each.current, *each.history) for key, each in found.items()}
    joined = {key: {(one.value, one.observed_ns) for one in several} for key, several in reports.items()}
    assert joined == world.joined()
    for key, several in reports.items():
        assert found[key].current.observed_ns == max(one.observed_ns for one in several)
