"""Exports of decisions: what is final and known, whole or not at all, and entered in the list before they are there."""

import csv
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from sqlalchemy import select

from recorded import decided, golden_rows, kept
from scoreline.cli.options import moment
from scoreline.core.decision import Decisions
from scoreline.core.errors import DatabaseRefused, SettingError
from scoreline.core.manifest import Manifest
from scoreline.core.outcome import Outcome
from scoreline.operations import export, maturity
from scoreline.operations.decisions import ForTraining, Labels, Query
from scoreline.operations.export import export_decisions
from scoreline.operations.maturity import Manifests
from scoreline.records.archive import Archive
from scoreline.records.database import Database, open_database
from scoreline.records.joined import Places
from scoreline.records.outcomes import add_outcomes
from scoreline.records.ship import Shipper
from scoreline.records.tables import ERASURES, EXPORTS
from scoreline.records.walk import Wanted
from scoreline.records.writer import SpoolWriter

FRAUD = Path(__file__).parents[1] / "formats" / "bundle-1" / "fraud-1"
DAY_NS = 86_400_000_000_000
NOW_NS = 1_800_000_000_000_000_000
MARIE = b"m" * 16


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = open_database(database_url, Path("unused"))
    database.prepare()
    yield database
    database.close()


@pytest.fixture(autouse=True)
def thirty_days(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outcomes may change for 30 days."""
    of: Callable[..., Manifest] = maturity.manifest_of
    monkeypatch.setattr(maturity, "manifest_of", lambda *given: replace(of(*given), maturity_s=30 * 86_400))


@pytest.fixture
def places(database: Database, tmp_path: Path) -> Places:
    kept(FRAUD, tmp_path)
    return Places(tmp_path / "spool", database, Archive(str(tmp_path / "archive")))


def aged(found: Decisions, days: float, **more: Any) -> Decisions:
    """The same decisions, made so many days ago."""
    context = replace(found.context, time_ns=NOW_NS - int(days * DAY_NS))
    base = context.time_ns // 1_000_000 << 80 | found.base % (1 << 80)
    return replace(found, context=context, base=base, **more)


def shipped(places: Places, ages: tuple[float, ...]) -> list[Decisions]:
    rows = golden_rows(FRAUD)[: len(ages)]
    many = [aged(found, days) for found, days in zip(decided(FRAUD, rows), ages, strict=True)]
    writer = SpoolWriter(places.spool, 1 << 20)
    for found in many:
        writer.write(found)
    writer.close()
    assert places.database
    shipper = Shipper(places.spool, places.database, "here")
    while shipper.ship():
        pass
    return many


def know(places: Places, value: float | str, *many: Decisions) -> None:
    assert places.database
    by_id = [(Outcome(value, prediction=found.base.to_bytes(16, "big")), b"") for found in many]
    add_outcomes(places.database, by_id, "ops", NOW_NS)


def query(places: Places, state_dir: Path, labels: Labels | None = None, **wanted: Any) -> Query:
    return Query(places, Wanted(**wanted), labels or ForTraining(), Manifests(state_dir), NOW_NS)


def exports(database: Database) -> list[dict[str, Any]]:
    with database.reading() as connection:
        return [dict(row._mapping) for row in connection.execute(select(EXPORTS).order_by(EXPORTS.c.id))]


def ids(many: list[Decisions]) -> list[str]:
    return [decision.id for found in many for decision in found]


@pytest.mark.parametrize(
    ("labels", "taken"),
    (
        (ForTraining(), [0, 1]),
        (ForTraining(unlabelled=True), [0, 1, 2]),
        (ForTraining(immature=True), [0, 1, 3]),
        (ForTraining(immature=True, unlabelled=True), [0, 1, 2, 3, 4]),
    ),
    ids=str,
)
def test_matured_pairs_unless_asked_and_never_a_guess(
    places: Places, database: Database, tmp_path: Path, labels: ForTraining, taken: list[int]
) -> None:
    """One is archived, the last two are too young, the third and the last have no outcome."""
    many = shipped(places, (90, 31, 30.1, 29.9, 1))
    assert places.archive and places.archive.move(database, 60, NOW_NS)
    know(places, 1.0, many[0], many[3])
    know(places, 0.0, many[1])
    made = export_decisions(database, query(places, tmp_path, labels), tmp_path / "out.parquet", "me")
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert [row["prediction_id"] for row in rows] == ids([many[number] for number in taken])
    assert made.rows == len(taken)
    told = [(1.0, "matured"), (0.0, "matured"), (None, "unknown"), (1.0, "immature"), (None, "unknown")]
    assert [(row["label"], row["label_status"]) for row in rows] == [told[number] for number in taken]


def test_what_is_listed_shows_labels_that_are_final_unless_asked(places: Places, tmp_path: Path) -> None:
    many = shipped(places, (90, 40, 1))
    know(places, 1.0, many[0], many[2])

    def labels(**how: bool) -> list[Any]:
        found = query(places, tmp_path, Labels(**how)).run(newest=True)
        return [(seen.label.value if seen.label else None, seen.status) for seen in found]

    young, none, old = (None, "immature"), (None, "unknown"), (1.0, "matured")
    assert labels() == [young, none, old]
    assert labels(immature=True) == [(1.0, "immature"), none, old]
    assert labels(labelled=True) == [old]
    assert labels(unlabelled=True) == [young, none]
    assert labels(unlabelled=True, immature=True) == [none]


def test_every_format_has_the_same_rows(places: Places, database: Database, tmp_path: Path) -> None:
    many = shipped(places, tuple(range(40, 52)))
    know(places, 1.0, *many)
    for kind in ("parquet", "csv", "jsonl"):
        export_decisions(database, query(places, tmp_path), tmp_path / f"out.{kind}", "me", sensitive=True)
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist()
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    with (tmp_path / "out.csv").open(newline="") as text:
        cells = list(csv.DictReader(text))
    assert [row["prediction_id"] for row in rows] == ids(many[::-1]), "the oldest first"
    own = (
        "prediction_id",
        "amount",
        "age_days",
        "country",
        "repeat",
        "distance",
        "visits",
        "score",
        "decision",
        "label",
    )
    for row, line, cell in zip(rows, lines, cells, strict=True):
        assert {name: row[name] for name in own} == {name: line[name] for name in own}
        shown = [None if cell[name] == "" else cell[name] for name in ("age_days", "country", "repeat")]
        assert shown == [str(row["age_days"]), row["country"], str(row["repeat"]).lower()]
        assert line["time"] == cell["time"] and line["time"].startswith(f"{row['time']:%Y-%m-%d %H:%M:%S}")


def test_an_export_is_entered_with_its_digest_and_filter_and_nobody_s_name(
    places: Places, database: Database, tmp_path: Path
) -> None:
    many = shipped(places, (40, 50))
    know(places, 1.0, *many)
    first = query(places, tmp_path, model="fraud", from_ns=moment("--from", "2026-01-02"))
    export_decisions(database, first, tmp_path / "one.csv", "me", sensitive=True)
    export_decisions(database, query(places, tmp_path, entity=MARIE, caller=""), tmp_path / "two.csv", "you")
    one, two = exports(database)
    assert (one["kind"], one["name"], one["rows"], one["who"], one["at_ns"]) == (
        "decisions",
        "one.csv",
        2,
        "me",
        NOW_NS,
    )
    assert one["digest"] == hashlib.sha256((tmp_path / "one.csv").read_bytes()).hexdigest()
    assert (one["from_ns"], one["until_ns"]) == (NOW_NS - 50 * DAY_NS, NOW_NS - 40 * DAY_NS)
    assert json.loads(one["filter"]) == {
        "model": "fraud", "from": "2026-01-02T00:00:00.000000+00:00", "sensitive": True,
    }  # fmt: skip
    assert (two["rows"], two["from_ns"], two["until_ns"]) == (0, None, None), "an empty one is entered too"
    assert json.loads(two["filter"]) == {"entity": MARIE.hex(), "caller": ""}
    assert (tmp_path / "two.csv").read_text().count("\n") == 1


@pytest.mark.parametrize("step", ("sync", "enter_export", "_place"))
def test_it_is_there_whole_or_not_at_all_and_not_before_it_is_entered(
    places: Places, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    know(places, 1.0, *shipped(places, (40,)))

    def dies(*_: Any) -> Any:
        assert not (tmp_path / "out.parquet").exists()
        raise OSError(28, "no room")

    with monkeypatch.context() as patched:
        patched.setattr(export, step, dies)
        with pytest.raises(OSError):
            export_decisions(database, query(places, tmp_path), tmp_path / "out.parquet", "me")
    assert list(tmp_path.glob("*out.parquet*")) == [] and list(tmp_path.glob(".out*")) == []
    assert len(exports(database)) == (1 if step == "_place" else 0)
    export_decisions(database, query(places, tmp_path), tmp_path / "out.parquet", "me")
    assert pq.read_table(tmp_path / "out.parquet").num_rows == 1


def test_what_was_read_while_somebody_was_erased_never_leaves(
    places: Places, database: Database, tmp_path: Path
) -> None:
    """An erasure lists the files that are entered by then; this one would come after."""
    know(places, 1.0, *shipped(places, (40,)))
    asked = {"entity": MARIE, "reason": "asked", "who": "a clerk", "last_segment": 1, "link": 1}
    with database.writing() as connection:
        connection.execute(ERASURES.insert().values(**asked, at_ns=NOW_NS + 1))
    with pytest.raises(DatabaseRefused, match="export again"):
        export_decisions(database, query(places, tmp_path), tmp_path / "out.csv", "me")
    assert exports(database) == [] and list(tmp_path.glob("*out.csv*")) == []
    later = replace(query(places, tmp_path), now_ns=NOW_NS + 2)
    assert export_decisions(database, later, tmp_path / "out.csv", "me").rows == 1


def test_nothing_is_overwritten_and_what_cannot_be_is_said(places: Places, database: Database, tmp_path: Path) -> None:
    many = shipped(places, (40, 50))
    other = replace(many[0].author, model="churn")
    know(places, 1.0, *many)
    (tmp_path / "out.csv").write_text("mine")
    for name, said in (("out.csv", "exists; nothing is overwritten"), ("out.xlsx", "must end in .parquet, .csv")):
        with pytest.raises(SettingError, match=said):
            export_decisions(database, query(places, tmp_path), tmp_path / name, "me")
    assert (tmp_path / "out.csv").read_text() == "mine"
    writer = SpoolWriter(places.spool, 1 << 20)
    writer.write(aged(replace(many[0], author=other, base=many[0].base + (1 << 30)), 40))
    writer.close()
    with pytest.raises(SettingError, match="--model one of churn, fraud"):
        export_decisions(database, query(places, tmp_path), tmp_path / "new.csv", "me")
    assert export_decisions(database, query(places, tmp_path, model="fraud"), tmp_path / "new.csv", "me").rows == 2


def test_it_is_written_a_page_at_a_time(
    places: Places, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "PAGE_ROWS", 3)
    many = shipped(places, tuple(np.linspace(40, 50, 10)))
    know(places, "gold", *many[:4])
    know(places, 2.0, *many[4:])
    assert export_decisions(database, query(places, tmp_path), tmp_path / "out.parquet", "me").rows == 10
    table = pq.read_table(tmp_path / "out.parquet")
    assert table["label"].to_pylist() == ["2"] * 6 + ["gold"] * 4, "a text where any of the model is"
    assert table["prediction_id"].to_pylist() == ids(many[::-1])


@pytest.mark.parametrize(
    ("given", "ns"),
    (
        ("1970-01-02", DAY_NS),
        ("1970-01-02T00:00:01Z", DAY_NS + 1_000_000_000),
        ("1970-01-02T01:00:00+01:00", DAY_NS),
        ("1970-01-02T00:00:00", None),
        ("yesterday", None),
        ("1969-12-31", None),
        ("", None),
    ),
)
def test_a_moment_is_a_date_or_a_time_with_its_zone(given: str, ns: int | None) -> None:
    if ns is not None:
        assert moment("--from", given) == ns
        return
    with pytest.raises(SettingError, match="--until: a day as 2026-11-24"):
        moment("--until", given)
