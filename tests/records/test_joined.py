"""Decisions with what is known of them: each once, wherever it is, and found by filters without reading everything."""

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shipping import DAY_NS, NOON_NS, opened, ship_all
from sqlalchemy import event, select

from scoreline.core.batch import Context
from scoreline.core.decision import Decisions
from scoreline.core.ids import IdSource, derived_base
from scoreline.core.outcome import Outcome
from scoreline.records import joined as joining
from scoreline.records import parquet, walk
from scoreline.records.archive import Archive
from scoreline.records.database import Database
from scoreline.records.joined import Joined, Places, joined
from scoreline.records.outcomes import add_outcomes
from scoreline.records.ship import Shipper
from scoreline.records.tables import ARCHIVES, DECISIONS, MOVED, OUTCOMES, SEGMENTS
from scoreline.records.walk import Wanted
from scoreline.records.writer import SpoolWriter
from somedecisions import author_of, decisions_of

POLICY = {"outcomes": ("approve", "decline")}
FRAUD, FRAUD_2 = author_of("fraud", **POLICY), author_of("fraud", 3, version="2", role="challenger", **POLICY)
CHURN = author_of("churn")
AUTHORS = (FRAUD, FRAUD_2, CHURN)
MARIE, PAUL = b"m" * 16, b"p" * 16
_ids = IdSource()


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    with opened(database_url) as found:
        yield found


@pytest.fixture
def places(database: Database, tmp_path: Path) -> Places:
    return Places(tmp_path / "spool", database, Archive(str(tmp_path / "archive")))


def at(day: float) -> int:
    return NOON_NS + int(day * DAY_NS)


def made(day: float, author: Any = FRAUD, n_rows: int = 1, caller: str = "", code: int = 0, **more: Any) -> Decisions:
    facts = {"entities": more.pop("entities", [b""] * n_rows), "context": Context(at(day), caller=caller)}
    found = decisions_of(author, 0, n_rows, outcomes=[code] * n_rows if author.outcomes else (), **facts)
    found.base = more.get("base") or _ids.new_base(at(day))
    return found


def of_stream(day: float, told_day: float, **more: Any) -> Decisions:
    """A decision whose id tells another time, as a message's does."""
    return made(day, base=derived_base(at(told_day), "topic", 0, int(day * 1e6)), **more)


def spool(places: Places, *many: Decisions) -> None:
    writer = SpoolWriter(places.spool, 1 << 20)
    for decisions in many:
        writer.write(decisions)
    writer.close()


def ship(places: Places, *many: Decisions) -> None:
    spool(places, *many)
    assert places.database
    ship_all(Shipper(places.spool, places.database, "here"))


def archive(places: Places, day: float, times: int = 100) -> None:
    assert places.database and places.archive
    while times and places.archive.move(places.database, 1, at(day)):
        times -= 1


def everything(_: Joined) -> bool:
    return True


def found(places: Places, wanted: Wanted | None = None, **how: Any) -> list[bytes]:
    return [one.row.id for one in joined(places, wanted or Wanted(), how.pop("keep", everything), **how)]


def ids(*many: Decisions) -> list[bytes]:
    return [(decisions.base | row).to_bytes(16, "big") for decisions in many for row in range(len(decisions))]


def test_decisions_are_found_in_order_wherever_they_are(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining, "PAGE_ROWS", 3)
    monkeypatch.setattr(parquet, "GROUP_ROWS", 2)
    many = [made(day / 3, n_rows=1 + day % 3) for day in range(15)]
    ship(places, *many[:12])
    archive(places, 4)
    spool(places, *many[12:])
    assert found(places) == ids(*many)
    assert [one // 2**80 for one in map(int.from_bytes, found(places, newest=True))] == sorted(
        (one // 2**80 for one in map(int.from_bytes, ids(*many))), reverse=True
    )
    assert len(found(places, newest=True, limit=2)) == 2
    assert set(found(places, newest=True, limit=2)) <= set(ids(*many[-2:]))
    with_files = set(found(places)) - set(found(dataclasses.replace(places, archive=None)))
    assert with_files == set(ids(*many[:8])), "what was taken up before the third midnight"


def test_each_filter_takes_what_it_says_wherever_it_is(places: Places) -> None:
    many = {
        "old": made(0, FRAUD, caller="shop"),
        "declined": made(0.1, FRAUD, code=1, entities=[MARIE]),
        "second": made(1, FRAUD_2, code=1, caller="shop"),
        "churn": made(2, CHURN, entities=[MARIE]),
        "stream": of_stream(2.2, -80, code=1, entities=[PAUL]),
        "later": made(3, FRAUD, caller="shop", entities=[PAUL]),
        "waits": made(3.5, FRAUD, code=1, entities=[MARIE]),
    }
    ship(places, *(decisions for name, decisions in many.items() if name != "waits"))
    spool(places, many["waits"])
    expected = {
        Wanted(): set(many),
        Wanted(model="fraud"): set(many) - {"churn"},
        Wanted(model="fraud", version="2"): {"second"},
        Wanted(role="champion"): set(many) - {"second"},
        Wanted(model="nobody's"): set(),
        Wanted(caller="shop"): {"old", "second", "later"},
        Wanted(outcome="decline"): {"declined", "second", "stream", "waits"},
        Wanted(outcome="unheard of"): set(),
        Wanted(entity=MARIE): {"declined", "churn", "waits"},
        Wanted(entity=PAUL, outcome="decline"): {"stream"},
        Wanted(from_ns=at(2)): {"churn", "stream", "later", "waits"},
        Wanted(until_ns=at(2)): {"old", "declined", "second"},
        Wanted(from_ns=at(0.1), until_ns=at(0.1) + 1): {"declined"},
        Wanted(from_ns=at(2.1), until_ns=at(2.3)): {"stream"},
        Wanted(entity=MARIE, from_ns=at(1), model="churn"): {"churn"},
    }
    for _ in ("in the database", "some in the archive", "nearly all in the archive"):
        for wanted, names in expected.items():
            assert set(found(places, wanted)) == set(ids(*(many[name] for name in names))), wanted
        archive(places, 9, times=1)


def test_what_is_known_goes_with_its_decision_and_only_what_is_kept_comes(places: Places) -> None:
    assert places.database
    first, second, third = made(0), made(1, entities=[MARIE]), made(2)
    ship(places, first, second)
    archive(places, 2)
    spool(places, third)
    outcomes = [(Outcome(1.0, prediction=ids(each)[0]), b"") for each in (first, third)]
    outcomes.append((Outcome(0.0, model="fraud", entity="told", event_ns=at(5)), MARIE))
    add_outcomes(places.database, outcomes, "ops", at(6))
    add_outcomes(places.database, [(Outcome(0.0, prediction=ids(first)[0]), b"")], "ops", at(7))
    told = {one.row.id: one.known for one in joined(places, Wanted(), everything)}
    assert [told[id_].current.value for id_ in ids(first, second, third)] == [0.0, 0.0, 1.0]  # type: ignore[union-attr]
    assert [report.value for report in told[ids(first)[0]].history] == [1.0]  # type: ignore[union-attr]
    ones: Callable[[Joined], bool] = lambda one: one.known is not None and one.known.current.value == 1.0  # noqa: E731
    assert found(places, keep=ones) == ids(third)


@pytest.mark.parametrize("meanwhile", ("shipped", "archived"))
@pytest.mark.parametrize("newest", (False, True))
def test_what_moves_while_it_is_read_is_neither_missed_nor_read_twice(
    places: Places, monkeypatch: pytest.MonkeyPatch, meanwhile: str, newest: bool
) -> None:
    monkeypatch.setattr(joining, "PAGE_ROWS", 2)
    many = [made(day / 4, n_rows=2) for day in range(12)]
    if meanwhile == "shipped":
        ship(places, *many[::2])
        spool(places, *many[1::2])
    else:
        ship(places, *many)
    reading, read = joined(places, Wanted(), everything, newest=newest), []
    for number, one in enumerate(reading):
        read.append(one.row.id)
        if meanwhile == "shipped" and number == 5:
            assert places.database
            ship_all(Shipper(places.spool, places.database, "here"))
        elif meanwhile == "archived" and number % 5 == 3:
            archive(places, 99, times=1)
    assert sorted(read) == sorted(ids(*many))


def test_a_file_that_is_written_anew_while_it_is_read_is_read_again(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an erasure does: the name that was just asked for is of no file any more."""
    many, database, files, real = [made(0, n_rows=3)], places.database, places.archive, Archive.rows
    assert database and files
    ship(places, *many)
    archive(places, 9)

    def rows(self: Archive, name: str, asked: Sequence[bytes]) -> Any:
        monkeypatch.setattr(Archive, "rows", real)
        files.rewrite(database, 1, name, lambda row, _: row, lambda _: None)
        return real(self, name, asked)

    with database.reading() as connection:
        assert connection.scalars(select(ARCHIVES.c.id)).all() == [1]
    monkeypatch.setattr(Archive, "rows", rows)
    assert found(places) == ids(*many)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_where_a_filter_finds_what_a_plain_reader_would(
    places: Places, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    assert places.database
    with places.database.writing() as connection:
        for table in (DECISIONS, MOVED, ARCHIVES, SEGMENTS, OUTCOMES):
            connection.execute(table.delete())
    folder = tmp_path_factory.mktemp("places")
    places = Places(folder / "spool", places.database, Archive(str(folder / "archive")))
    days = st.integers(0, 8).map(lambda half: half / 2)
    many = []
    for number in range(data.draw(st.integers(1, 8))):
        day, author = data.draw(days), data.draw(st.sampled_from(AUTHORS))
        more = {"caller": data.draw(st.sampled_from(("", "shop"))), "code": data.draw(st.integers(0, 1))}
        more["entities"] = [data.draw(st.sampled_from((b"", MARIE, PAUL)))]
        told = data.draw(st.sampled_from((None, -50.0, 1.5, 300.0)))
        if told is not None:
            more["base"] = derived_base(at(told), "topic", 0, number)
        many.append(made(day, author, **more))
    split = data.draw(st.integers(0, len(many)))
    ship(places, *many[:split])
    archive(places, data.draw(st.integers(0, 9)), times=data.draw(st.integers(0, 3)))
    spool(places, *many[split:])
    wanted = Wanted(
        model=data.draw(st.sampled_from(("", "fraud", "churn"))),
        version=data.draw(st.sampled_from(("", "2"))),
        caller=data.draw(st.sampled_from((None, "", "shop"))),
        outcome=data.draw(st.sampled_from(("", "decline"))),
        entity=data.draw(st.sampled_from((b"", MARIE))),
        from_ns=data.draw(st.sampled_from((0, at(1), at(2)))),
        until_ns=data.draw(st.sampled_from((2**63 - 1, at(2), at(3)))),
    )
    plain = [
        each
        for each in many
        if (not wanted.model or each.author.model == wanted.model)
        and (not wanted.version or each.author.version == wanted.version)
        and (wanted.caller is None or each.context.caller == wanted.caller)
        and (not wanted.outcome or each[0].outcome == wanted.outcome)
        and (not wanted.entity or each.entities[0] == wanted.entity)
        and wanted.from_ns <= each.context.time_ns < wanted.until_ns
    ]
    newest = data.draw(st.booleans())
    seen = list(joined(places, wanted, everything, newest=newest))
    assert sorted(one.row.id for one in seen) == sorted(ids(*plain))
    times = [one.row.time_ns // 1_000_000 for one in seen]
    assert times == sorted(times, reverse=newest)
    limit = data.draw(st.integers(1, 4))
    assert [one.row.time_ns for one in joined(places, wanted, everything, newest=newest, limit=limit)] == [
        one.row.time_ns for one in seen
    ][:limit]


def plans(database: Database, wanted: Wanted) -> list[str]:
    """How the database finds the rows of each page."""
    said: list[str] = []
    asked: list[tuple[str, Any]] = []

    def before(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        if "time_ns" in statement and statement.startswith("SELECT"):
            asked.append((statement, parameters))

    event.listen(database._engine, "before_cursor_execute", before)
    try:
        list(walk.walk(database, None, wanted, newest=False, page_rows=5000))
    finally:
        event.remove(database._engine, "before_cursor_execute", before)
    with database.reading() as connection:
        raw: Any = connection.connection
        for statement, parameters in asked:
            cursor = raw.cursor()
            if database.kind == "sqlite":
                cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
                said.append("; ".join(row[-1] for row in cursor.fetchall()))
            else:
                cursor.execute("SET LOCAL enable_seqscan = off")
                cursor.execute(f"EXPLAIN (FORMAT JSON) {statement}", parameters)
                said.append(json.dumps(cursor.fetchone()[0]))
    return said


def test_one_entity_and_one_hour_are_found_by_an_index(places: Places) -> None:
    assert places.database
    ship(places, *(made(day / 10, entities=[MARIE if day % 5 else PAUL]) for day in range(40)))
    by_entity = plans(places.database, Wanted(entity=MARIE))
    assert len(by_entity) == 2 and all("_entity" in plan for plan in by_entity), by_entity
    an_hour = plans(places.database, Wanted(from_ns=at(1), until_ns=at(1) + 3_600_000_000_000))
    told, other = an_hour[:2], an_hour[2:]
    if places.database.kind == "sqlite":
        assert ["id>? AND id<?" in plan for plan in told] == [True, True], an_hour
        assert ["_time (time_ns>? AND time_ns<?" in plan for plan in other] == [True, True], an_hour
        assert not any("TEMP B-TREE" in plan for plan in (*by_entity, *an_hour))
    else:
        days = {word for plan in told for word in plan.split('"') if word.startswith("decisions_2")}
        assert len({day[:18] for day in days}) == 1, days
        assert all("time_ns" in plan and "Index" in plan for plan in other), an_hour
