"""Whole or not at all: wherever a run is ended, there is no target, and the next one ends with the very same bytes."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from scoreline.core.errors import BatchRefused
from scoreline.doors.batch import Progress, run

ROWS = 1000
SIZES = {"rows_per_chunk": 50, "rows_per_part": 100}

# Scores slowly enough to be caught at it, and says when so many rows are done.
SCRIPT = """
import sys, time
from pathlib import Path
from scoreline.core.bundle import read_bundle
from scoreline.core.scorer import Scorer
from scoreline.doors.batch import run_batch
from scoreline.engines.load import load_engine
from scoreline.signing import TrustStore

folder, key, source, target, stop = map(Path, sys.argv[1:])
bundle = read_bundle(folder, TrustStore.from_files([key]))

def progress(seen):
    if seen.rows_done >= int(stop.name):
        print("reached", flush=True)
        time.sleep(60)

run_batch(Scorer(bundle.manifest, load_engine(bundle)), bundle.manifest, source, target,
          rows_per_chunk=50, rows_per_part=100, progress=progress)
"""


class Ended(BaseException):
    """Stands for whatever ends a process in the middle."""


def some_rows(files: Any, path: Path, seed: int = 0) -> Path:
    """An input with a rejected row in every hundred."""
    table = files.good_rows(ROWS, seed)
    amount = [-1.0 if row % 100 == 7 else value for row, value in enumerate(table["amount"].to_pylist())]
    written: Path = files.write(table.set_column(1, "amount", pa.array(amount)), path)
    return written


@pytest.fixture(params=["parquet", "csv", "jsonl", "folder"])
def source(request: pytest.FixtureRequest, files: Any, tmp_path: Path) -> Path:
    if request.param != "folder":
        return some_rows(files, tmp_path / f"in.{request.param}")
    (tmp_path / "in").mkdir()
    for number, kind in enumerate(["parquet", "csv", "jsonl"]):
        some_rows(files, tmp_path / "in" / f"{number}.{kind}", seed=number)
    return tmp_path / "in"


def target_in(folder: Path, source: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder / ("out" if source.is_dir() else f"out{source.suffix}")


def contents(target: Path) -> dict[str, bytes]:
    """Everything in the target's folder: the outputs, the rejects, and nothing else when all went well."""
    return {
        path.relative_to(target.parent).as_posix(): path.read_bytes()
        for path in sorted(target.parent.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def wanted(model: Any, source: Path, tmp_path: Path) -> dict[str, bytes]:
    """What a run without interruption leaves."""
    target = target_in(tmp_path / "wanted", source)
    model.run(source, target)
    return contents(target)


def started(model: Any, source: Path, target: Path, stop: int) -> subprocess.Popen[str]:
    """A run in a process of its own that has come to row `stop` and waits there."""
    arguments = [str(path) for path in (model.folder, model.public_key, source, target, Path(str(stop)))]
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout
    assert process.stdout.readline() == "reached\n", process.stderr and process.stderr.read()
    return process


def finish(process: subprocess.Popen[str], signal_number: int) -> int:
    process.send_signal(signal_number)
    process.communicate(timeout=20)
    return process.returncode


def test_a_killed_run_resumes_to_the_same_bytes(
    model: Any, source: Path, tmp_path: Path, wanted: dict[str, bytes]
) -> None:
    target = target_in(tmp_path / "found", source)
    assert finish(started(model, source, target, 750), signal.SIGKILL) == -signal.SIGKILL
    assert [path.name for path in target.parent.iterdir()] == [f".{target.name}.partial"]

    report = model.run(source, target, **SIZES)

    assert report.resumed_rows == 700
    assert contents(target) == wanted


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_asked_to_end_resumes_too(model: Any, files: Any, tmp_path: Path, signal_number: int) -> None:
    source, target = some_rows(files, tmp_path / "in.parquet"), tmp_path / "out.parquet"
    assert finish(started(model, source, target, 300), signal_number) == -signal_number
    assert not target.exists()
    report = model.run(source, target)
    assert (report.rows, report.scored, report.resumed_rows) == (ROWS, ROWS - 10, 200)


def test_wherever_a_run_ends_the_next_ones_finish_it(
    model: Any, source: Path, tmp_path: Path, wanted: dict[str, bytes]
) -> None:
    """The run is ended at its first sign of progress, the next at its second, and so on until one comes through."""
    target = target_in(tmp_path / "found", source)

    def ends_at(sign: int) -> Callable[[Progress], None]:
        left = iter(range(sign))

        def progress(_: Progress) -> None:
            if next(left, None) is None:
                raise Ended

        return progress

    ended = 0
    for sign in range(1000):
        try:
            report = model.run(source, target, progress=ends_at(sign), **SIZES)
            break
        except Ended:
            ended += 1
            assert not target.exists()
    assert ended >= 3
    assert 0 < report.resumed_rows <= report.rows
    assert contents(target) == wanted


@pytest.mark.parametrize("call", range(8))
def test_the_last_steps_can_be_interrupted_too(
    model: Any, source: Path, tmp_path: Path, wanted: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    """Ends the run before one of the calls that put files in their places, and goes on."""
    target = target_in(tmp_path / "found", source)
    calls = iter(range(call, -1, -1))
    steps: dict[str, Any] = {name: getattr(run, name) for name in ("concatenate", "write_json", "put")}

    def ending(step: Callable[..., Any]) -> Callable[..., Any]:
        def ends(*arguments: Any) -> Any:
            if next(calls, None) == 0:
                raise Ended
            return step(*arguments)

        return ends

    with monkeypatch.context() as patched:
        for name, step in steps.items():
            patched.setattr(run, name, ending(step))
        try:
            model.run(source, target, **SIZES)
        except Ended:
            assert not target.exists()
    if not target.exists():
        model.run(source, target, **SIZES)
    assert contents(target) == wanted


@pytest.mark.parametrize("left", ["everything", "all but the job", "parts of another job"])
def test_what_a_finished_run_could_not_remove_does_no_harm(
    model: Any, source: Path, tmp_path: Path, wanted: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, left: str
) -> None:
    target = target_in(tmp_path / "found", source)

    def ends(folder: Path) -> None:
        if left != "everything":
            (folder / "job.json").unlink()
        raise Ended

    with monkeypatch.context() as patched:
        patched.setattr(run, "remove", ends)
        with pytest.raises(Ended):
            model.run(source, target, **SIZES, **({"keep": []} if left == "parts of another job" else {}))
    for path in target.parent.iterdir():
        if not path.name.startswith("."):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    model.run(source, target)
    assert contents(target) == wanted


def test_no_target_until_the_end(model: Any, source: Path, tmp_path: Path) -> None:
    target = target_in(tmp_path / "found", source)
    seen: list[Progress] = []

    def progress(now: Progress) -> None:
        seen.append(now)
        assert [path.name for path in target.parent.iterdir()] == [f".{target.name}.partial"]

    report = model.run(source, target, progress=progress, **SIZES)
    assert target.exists()
    rows = [now.rows_done for now in seen]
    assert rows == sorted(rows)
    assert (rows[-1], seen[-1].bytes_done) == (report.rows, seen[-1].bytes_total)
    assert seen[-1].rows_written == report.scored
    assert seen[-1].rows_total == (report.rows if source.suffix == ".parquet" else None)
    assert {now.phase for now in seen} == {"scoring", "writing"}
    assert all(now.left_s is None or now.left_s >= 0 for now in seen)
    assert seen[-1].rows_per_s > 0


def test_a_second_run_on_the_same_target_is_refused(model: Any, files: Any, tmp_path: Path) -> None:
    source = some_rows(files, tmp_path / "in.parquet")
    target = tmp_path / "out.parquet"
    process = started(model, source, target, 300)
    with pytest.raises(BatchRefused, match="another run is at work"):
        model.run(source, target)
    finish(process, signal.SIGKILL)
    assert model.run(source, target).resumed_rows == 200


@pytest.fixture
def unfinished(model: Any, files: Any, tmp_path: Path) -> tuple[Path, Path]:
    """An input and a target on which a run was ended."""
    source, target = some_rows(files, tmp_path / "in.csv"), tmp_path / "out.csv"

    def progress(now: Progress) -> None:
        if now.rows_done > 500:
            raise Ended

    with pytest.raises(Ended):
        model.run(source, target, progress=progress, **SIZES)
    return source, target


def test_a_changed_input_is_not_resumed(model: Any, unfinished: tuple[Path, Path]) -> None:
    source, target = unfinished
    status = source.stat()
    os.utime(source, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    with pytest.raises(BatchRefused, match=r"unfinished job that differs in: inputs; delete that folder"):
        model.run(source, target)
    assert (target.parent / ".out.csv.partial" / "job.json").exists()


def test_another_model_or_other_columns_to_keep_are_not_resumed(
    model: Any, three_classes: Any, unfinished: tuple[Path, Path]
) -> None:
    with pytest.raises(BatchRefused, match="differs in: bundle;"):
        three_classes.run(*unfinished)
    with pytest.raises(BatchRefused, match="differs in: columns to keep;"):
        model.run(*unfinished, keep=["id"])
    assert model.run(*unfinished, rows_per_chunk=7).resumed_rows == 500


def test_an_input_that_changes_while_it_is_scored_is_refused(model: Any, files: Any, tmp_path: Path) -> None:
    source, target = some_rows(files, tmp_path / "in.jsonl"), tmp_path / "out.jsonl"

    def progress(now: Progress) -> None:
        if now.rows_done == 500:
            with source.open("a") as more:
                more.write('{"amount":1}\n')

    with pytest.raises(BatchRefused, match="changed while it was scored"):
        model.run(source, target, progress=progress, **SIZES)
    assert not target.exists()


def test_a_target_that_appears_meanwhile_is_not_overwritten(model: Any, files: Any, tmp_path: Path) -> None:
    source, target = some_rows(files, tmp_path / "in.parquet"), tmp_path / "out.parquet"

    def progress(now: Progress) -> None:
        if now.phase == "writing":
            target.write_text("of somebody else")

    with pytest.raises(BatchRefused, match="appeared meanwhile"):
        model.run(source, target, progress=progress)
    assert target.read_text() == "of somebody else"


def test_what_is_resumed_is_not_read_again_from_parquet(model: Any, files: Any, tmp_path: Path) -> None:
    """Row groups before the first unfinished row may even be gone from the disk."""
    source, target = some_rows(files, tmp_path / "in.parquet"), tmp_path / "out.parquet"

    def progress(now: Progress) -> None:
        if now.rows_done > 800:
            raise Ended

    with pytest.raises(Ended):
        model.run(source, target, progress=progress, **SIZES)
    status = source.stat()
    raw = bytearray(source.read_bytes())
    raw[100 : len(raw) // 3] = bytes(len(raw) // 3 - 100)
    source.write_bytes(raw)
    os.utime(source, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert model.run(source, target).resumed_rows == 800


def test_a_chunk_in_which_every_row_is_rejected(model: Any, files: Any, tmp_path: Path) -> None:
    table = files.good_rows(10).set_column(1, "amount", pa.array([-1.0] * 10))
    report = model.run(files.write(table, tmp_path / "in.parquet"), tmp_path / "out.parquet", rows_per_chunk=4)
    assert (report.rows, report.scored, report.rejected) == (10, 0, 10)
    assert files.read(report.outputs) == []
