"""A job that cannot end well does not begin: the word says why, and nothing is left behind."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scoreline.core.decision import Decisions
from scoreline.core.errors import BatchRefused, EngineFailed, NotFound
from scoreline.doors.batch import run_batch

FORMATS = ["parquet", "csv", "jsonl"]


def refused(model: Any, source: Path, target: Path, **options: Any) -> str:
    """The word of the refusal, once it is sure that it left nothing behind."""
    before = sorted(target.parent.iterdir())
    with pytest.raises((BatchRefused, NotFound)) as caught:
        model.run(source, target, **options)
    assert sorted(target.parent.iterdir()) == before
    return str(caught.value)


def test_the_target_exists(model: Any, files: Any, tmp_path: Path) -> None:
    source = files.write(files.good_rows(3), tmp_path / "in.parquet")
    target = tmp_path / "out.csv"
    for make in (Path.touch, Path.mkdir, lambda path: path.symlink_to("nowhere")):
        make(target)
        assert "out.csv exists; nothing is overwritten" in refused(model, source, target)
        target.rmdir() if target.is_dir() else target.unlink()


def test_the_rejects_file_exists(model: Any, files: Any, tmp_path: Path) -> None:
    source = files.write(files.good_rows(3), tmp_path / "in.parquet")
    (tmp_path / "out.rejects.jsonl").write_text("of another job\n")
    assert "out.rejects.jsonl exists" in refused(model, source, tmp_path / "out.parquet")


@pytest.mark.parametrize("source", ["parquet", "csv"])
def test_missing_columns_are_all_listed(model: Any, files: Any, tmp_path: Path, source: str) -> None:
    path = files.write(files.good_rows(3).drop_columns(["age", "plan"]), tmp_path / f"in.{source}")
    word = refused(model, path, tmp_path / "out.parquet")
    assert word == f"in.{source} lacks columns 'age', 'plan'; the model needs them and has no default for them"


def test_columns_of_the_wrong_type_are_named_with_both_types(model: Any, files: Any, tmp_path: Path) -> None:
    table = files.good_rows(3).set_column(1, "amount", pa.array(["1", "2", "3"]))
    table = table.set_column(3, "member", pa.array([0, 1, 1]))
    word = refused(model, files.write(table, tmp_path / "in.parquet"), tmp_path / "out.parquet")
    assert word == (
        "in.parquet has columns of the wrong type: 'amount' is string, not a number; "
        "'member' is int64, not true or false"
    )


@pytest.mark.parametrize("source", FORMATS)
@pytest.mark.parametrize("name", ["row", "score", "outcome", "defaulted"])
def test_a_kept_column_has_the_name_of_an_output_column(
    model: Any, files: Any, tmp_path: Path, source: str, name: str
) -> None:
    path = files.write(files.good_rows(3).append_column(name, pa.array([1, 2, 3])), tmp_path / f"in.{source}")
    with pytest.raises(
        BatchRefused, match=f"column '{name}' would stand twice in the output; name the columns to keep"
    ):
        model.run(path, tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet").exists()
    assert model.run(path, tmp_path / "kept.parquet", keep=["id"]).scored == 3


@pytest.mark.parametrize("source", ["parquet", "csv"])
def test_columns_to_keep_that_are_not_there(model: Any, files: Any, tmp_path: Path, source: str) -> None:
    path = files.write(files.good_rows(3), tmp_path / f"in.{source}")
    assert "has no column 'nme' to keep" in refused(model, path, tmp_path / "out.parquet", keep=["id", "nme"])


@pytest.mark.parametrize("source", FORMATS)
def test_columns_to_keep_named_twice(model: Any, files: Any, tmp_path: Path, source: str) -> None:
    path = files.write(files.good_rows(3), tmp_path / f"in.{source}")
    assert "column 'id' is to be kept twice" in refused(model, path, tmp_path / "out.parquet", keep=["id", "id"])


def test_a_column_stands_twice_in_the_file(model: Any, tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text("amount,age,member,plan,age\n1,30,true,pro,31\n")
    assert "in.csv has column 'age' more than once" in refused(model, path, tmp_path / "out.csv")


@pytest.mark.parametrize("target", ["csv", "jsonl"])
@pytest.mark.parametrize("column", [pa.array([[1]]), pa.array([{"a": 1}]), pa.array([b"x"])])
def test_a_kept_column_without_a_form_in_the_target(
    model: Any, files: Any, tmp_path: Path, target: str, column: pa.Array
) -> None:
    path = files.write(files.good_rows(1).append_column("extra", column), tmp_path / "in.parquet")
    word = refused(model, path, tmp_path / f"out.{target}")
    assert "column 'extra'" in word
    assert f"cannot be kept in a .{target} file" in word


def test_names_and_places(model: Any, files: Any, tmp_path: Path) -> None:
    path = files.write(files.good_rows(3), tmp_path / "in.parquet")
    folder = tmp_path / "folder"
    folder.mkdir()
    assert "must end in .parquet" in refused(model, path, tmp_path / "out.xlsx")
    assert "no input at" in refused(model, tmp_path / "nothing.csv", tmp_path / "out.csv")
    assert "no file that ends in" in refused(model, folder, tmp_path / "out")
    files.write(files.good_rows(3), folder / "a.parquet")
    assert "choose a target outside" in refused(model, folder, folder / "out")
    assert "rows_per_chunk is 1 to" in refused(model, path, tmp_path / "out.csv", rows_per_chunk=1 << 21)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("in.parquet", b"PAR1 this is no Parquet PAR1"),
        ("in.csv", b""),
        ("in.csv", "amount,age,member,plan\n1,2,true,pröö\n".encode("latin-1")),
        ("in.csv", b"amount,age,member,plan\n1,2,true," + b"x" * (9 << 20)),
    ],
)
def test_a_file_that_cannot_be_read(model: Any, tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BatchRefused, match=f"{name} cannot be read as ") as caught:
        model.run(tmp_path / name, tmp_path / "out.parquet")
    assert "pr" not in str(caught.value).replace("parquet", "")
    assert not (tmp_path / "out.parquet").exists()


def test_a_parquet_file_that_breaks_off(model: Any, files: Any, tmp_path: Path) -> None:
    path = files.write(files.good_rows(500), tmp_path / "in.parquet")
    raw = bytearray(path.read_bytes())
    raw[200:-3000] = bytes(len(raw) - 3200)
    path.write_bytes(raw)
    with pytest.raises(BatchRefused, match=r"in\.parquet cannot be read as parquet"):
        model.run(path, tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet").exists()


def test_a_folder_that_cannot_be_written(model: Any, files: Any, tmp_path: Path) -> None:
    path = files.write(files.good_rows(3), tmp_path / "in.parquet")
    (tmp_path / "file").touch()
    with pytest.raises(BatchRefused, match=r"cannot write in .*what is finished is kept: run it again"):
        model.run(path, tmp_path / "file" / "out.parquet")


def answering(model: Any, change: Callable[[Decisions], Decisions]) -> Callable[[Any], Decisions]:
    return lambda batch: change(model.scorer(batch))


def test_another_bundle_answers(model: Any, three_classes: Any, files: Any, tmp_path: Path) -> None:
    path = files.write(files.good_rows(3), tmp_path / "in.parquet")
    with pytest.raises(BatchRefused, match="another version of the model answered"):
        run_batch(three_classes.scorer, model.manifest, path, tmp_path / "out.parquet")


def test_the_engine_fails(model: Any, files: Any, tmp_path: Path) -> None:
    def broken(_: Decisions) -> Decisions:
        raise EngineFailed("answered a margin that is not finite")

    path = files.write(files.good_rows(3), tmp_path / "in.parquet")
    with pytest.raises(EngineFailed):
        run_batch(answering(model, broken), model.manifest, path, tmp_path / "out.parquet")
    assert not os.path.lexists(tmp_path / "out.parquet")
    assert model.run(path, tmp_path / "out.parquet").scored == 3
    assert pq.read_table(tmp_path / "out.parquet").num_rows == 3
