"""`--record`: every decision of a job, once, as the record has them, and computed again bit for bit."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scoreline.core.decision import Decision
from scoreline.core.errors import BatchRefused, SettingError
from scoreline.doors.batch import partial, run
from scoreline.operations.files import commit
from scoreline.records.parquet import SCHEMA
from scoreline.records.read import read_files
from scoreline.replay.recompute import recompute

ROWS = 1000
SIZES = {"rows_per_chunk": 50, "rows_per_part": 100}


class Ended(BaseException):
    """Stands for whatever ends a process in the middle."""


@pytest.fixture(params=["parquet", "csv", "jsonl", "folder"])
def source(request: pytest.FixtureRequest, files: Any, tmp_path: Path) -> Path:
    """Inputs with a rejected row in every hundred."""
    kinds = ["parquet", "csv", "jsonl"] if request.param == "folder" else [request.param]
    folder = tmp_path / "in"
    folder.mkdir()
    for number, kind in enumerate(kinds):
        table = files.good_rows(ROWS, number)
        amount = [-1.0 if row % 100 == 7 else value for row, value in enumerate(table["amount"].to_pylist())]
        files.write(table.set_column(1, "amount", pa.array(amount)), folder / f"{number}.{kind}")
    return folder if request.param == "folder" else folder / f"0.{request.param}"


def places(tmp_path: Path, source: Path) -> tuple[Path, Path]:
    suffix = "" if source.is_dir() else ".parquet"
    return tmp_path / f"out{suffix}", tmp_path / f"decided{suffix}"


def decisions_in(record: Path) -> list[Decision]:
    return [decision for found in read_files(record) for decision in found]


def check(model: Any, files: Any, source: Path, target: Path, record: Path) -> None:
    """As many decisions as answers, in their order, each with an id of its own; all of them follow from the bundle."""
    outputs = sorted(target.iterdir()) if target.is_dir() else [target]
    tables = [pq.read_table(path) for path in (sorted(record.iterdir()) if record.is_dir() else [record])]
    answers = [row for output in outputs for row in files.read(output)]
    rows = [row for table in tables for row in table.to_pylist()]
    made = decisions_in(record)
    assert len(answers) == len(made) == len(rows) == (ROWS - 10) * len(outputs)
    assert [row["place"] for row in rows] == [answer["row"] for answer in answers]
    names = [path.name for path in outputs] if source.is_dir() else [source.name]
    assert [row["request_id"] for row in rows] == [name for name in names for _ in range(ROWS - 10)]
    name = model.manifest.output
    assert [decision.scores[0] for decision in made] == [answer[name] for answer in answers]
    assert len({decision.id for decision in made}) == len(made)
    assert {decision.context.caller for decision in made} == {"batch"}
    verdicts = list(recompute(read_files(record), lambda _: model.bundle))
    assert {verdict.result for verdict in verdicts} == {"equal"} and len(verdicts) == len(made)


def test_every_decision_is_kept_as_the_record_has_it(model: Any, files: Any, source: Path, tmp_path: Path) -> None:
    target, record = places(tmp_path, source)
    report = model.run(source, target, record=record, **SIZES)
    assert report.record == record
    check(model, files, source, target, record)
    if source.is_dir():
        assert [path.name for path in sorted(record.iterdir())] == ["0.parquet", "1.csv.parquet", "2.jsonl.parquet"]
    table = pq.read_table(next(record.iterdir()) if record.is_dir() else record)
    assert table.schema.remove_metadata() == SCHEMA
    for name in ("segment", "salt", "leaf", "entity"):
        assert table[name].null_count == len(table), "it was never in the log"
    (first, *_) = decisions_in(record)
    assert set(first.defaulted) | set(first.degraded) == {"visits"}
    assert first.author == model.scorer.author
    assert not list(tmp_path.glob(".*"))


def test_the_record_is_the_same_as_that_of_the_service(model: Any, files: Any, tmp_path: Path) -> None:
    """Values as used, margins and scores bit for bit, whatever way the row came."""
    table = files.good_rows(30)
    model.run(files.write(table, tmp_path / "in.parquet"), tmp_path / "out.parquet", record=tmp_path / "kept.parquet")
    for row, found in zip(table.to_pylist(), decisions_in(tmp_path / "kept.parquet"), strict=True):
        wanted = model.decide({name: value for name, value in row.items() if name != "id"})
        same = ("margins", "scores", "outcome", "author")
        assert [getattr(found, name) for name in same] == [getattr(wanted, name) for name in same]
        assert np.array_equal(list(found.features.values()), list(wanted.features.values()), equal_nan=True)


def test_wherever_a_run_ends_the_next_one_neither_loses_nor_repeats(
    model: Any, files: Any, source: Path, tmp_path: Path
) -> None:
    """Also between the two files of a part, and between their last steps."""
    target, record = places(tmp_path, source)

    def ending(sign: int) -> Any:
        left = iter(range(sign))

        def counted(real: Callable[..., Any]) -> Callable[..., Any]:
            def call(*given: Any) -> Any:
                if next(left, None) is None:
                    raise Ended
                return real(*given)

            return call

        return counted

    ended = 0
    for sign in range(0, 1000, 7 if source.is_dir() else 3):
        with pytest.MonkeyPatch.context() as patched:
            counted = ending(sign)
            for where in (partial, run):
                patched.setattr(where, "put", counted(partial.put))
            for name in ("join_records", "write_output", "write_json", "concatenate", "put_anywhere"):
                patched.setattr(run, name, counted(getattr(run, name)))
            patched.setattr("scoreline.doors.batch.parts.commit", counted(commit))
            try:
                model.run(source, target, record=record, **SIZES)
                break
            except Ended:
                ended += 1
                assert not target.exists()
    assert ended >= 3
    check(model, files, source, target, record)
    assert not list(tmp_path.glob(".*"))


def test_a_job_with_a_record_is_another_job(model: Any, files: Any, tmp_path: Path) -> None:
    source, target = files.write(files.good_rows(500), tmp_path / "in.csv"), tmp_path / "out.csv"

    def progress(now: Any) -> None:
        if now.rows_done > 300:
            raise Ended

    with pytest.raises(Ended):
        model.run(source, target, progress=progress, **SIZES)
    with pytest.raises(BatchRefused, match="differs in: record"):
        model.run(source, target, record=tmp_path / "kept.parquet")
    partial.remove(tmp_path / ".out.csv.partial")
    with pytest.raises(Ended):
        model.run(source, target, record=tmp_path / "kept.parquet", progress=progress, **SIZES)
    with pytest.raises(BatchRefused, match="differs in: record"):
        model.run(source, target)
    assert model.run(source, target, record=tmp_path / "kept.parquet").resumed_rows == 300
    assert len(decisions_in(tmp_path / "kept.parquet")) == 500


def test_where_decisions_cannot_go_is_said_before_anything_is_scored(model: Any, files: Any, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    source = files.write(files.good_rows(5), tmp_path / "in" / "a.csv")
    files.write(files.good_rows(5), tmp_path / "in" / "a.csv.parquet")
    (tmp_path / "there.parquet").write_text("mine")
    for given, target, record, said in (
        (source, "out.csv", "kept.csv", "must end in .parquet"),
        (source, "out.csv", "there.parquet", "exists; nothing is overwritten"),
        (source, "out.parquet", "out.parquet", "choose a place outside"),
        (tmp_path / "in", "out", "in/kept", "choose a place outside"),
        (tmp_path / "in", "out", "out/kept", "choose a place outside"),
        (tmp_path / "in", "out", "kept", "two inputs would have their decisions in"),
    ):
        with pytest.raises(BatchRefused, match=said):
            model.run(given, tmp_path / target, record=tmp_path / record)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "there.parquet"]


def test_all_rejected_is_an_empty_record(model: Any, files: Any, tmp_path: Path) -> None:
    table = files.good_rows(10).set_column(1, "amount", pa.array([-1.0] * 10))
    source = files.write(table, tmp_path / "in.parquet")
    model.run(source, tmp_path / "out.parquet", record=tmp_path / "kept.parquet", rows_per_chunk=4)
    assert decisions_in(tmp_path / "kept.parquet") == []


def test_two_versions_of_a_library_in_one_job_are_told_apart(model: Any, files: Any, tmp_path: Path) -> None:
    source, target = files.write(files.good_rows(300), tmp_path / "in.csv"), tmp_path / "out.csv"
    older = replace(model.scorer.author, engine="an older one")

    def progress(now: Any) -> None:
        if now.rows_done > 100:
            raise Ended

    def before(batch: Any) -> Any:
        return replace(model.scorer(batch), author=older)

    record = tmp_path / "kept.parquet"
    with pytest.raises(Ended):
        run.run_batch(before, model.manifest, source, target, record=record, progress=progress, **SIZES)
    model.run(source, target, record=record)
    assert [one.author.engine for one in decisions_in(record)] == ["an older one"] * 100 + [
        model.scorer.author.engine
    ] * 200


@pytest.mark.parametrize("kind", ("file", "folder"))
def test_a_record_may_lie_on_another_disk(
    model: Any, files: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    (tmp_path / "in").mkdir()
    source = files.write(files.good_rows(20), tmp_path / "in" / "a.parquet")
    source = source if kind == "file" else tmp_path / "in"
    target, record = places(tmp_path, source)
    monkeypatch.setattr(partial, "_is_elsewhere", lambda *_: True)
    model.run(source, target, record=tmp_path / "far" / record.name)
    assert len(decisions_in(tmp_path / "far" / record.name)) == 20
    assert [path.name for path in (tmp_path / "far").iterdir()] == [record.name]


def test_a_file_without_decisions_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
    (tmp_path / "broken.parquet").write_text("no Parquet")
    for name, said in (("other", "holds no decisions"), ("broken", "cannot be read as Parquet")):
        with pytest.raises(SettingError, match=said):
            decisions_in(tmp_path / f"{name}.parquet")
