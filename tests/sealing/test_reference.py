"""Reference rows: from every form they come in, or a refusal that repeats none of their values."""

import contextlib
import decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scoreline.core.errors import NotFound, SealRefused
from scoreline.sealing.reference import read_reference

ROWS = pd.DataFrame(
    {
        "number": [1.5, np.nan, -0.0],
        "integer": [1, 2, 3],
        "flag": [True, False, True],
        "word": pd.Categorical(["b", None, "a"], categories=["b", "a"]),
        "text": ["x", None, "z"],
    }
)


def test_frame_arrow_table_and_parquet_read_the_same(tmp_path: Path) -> None:
    table = pa.Table.from_pandas(ROWS)
    pq.write_table(table, tmp_path / "rows.parquet")
    found = [
        read_reference(source) for source in (ROWS, table, tmp_path / "rows.parquet", str(tmp_path / "rows.parquet"))
    ]
    for reference in found:
        assert reference.n_rows == 3
        columns = reference.columns
        assert {name: columns[name].kind for name in ROWS} == {
            "number": "number",
            "integer": "integer",
            "flag": "boolean",
            "word": "text",
            "text": "text",
        }
        assert columns["number"].values == [1.5, None, 0.0]
        assert columns["integer"].values == [1, 2, 3]
        assert columns["flag"].values == [True, False, True]
        assert columns["word"].values == ["b", None, "a"]
        assert columns["word"].categories == ("b", "a")
        assert columns["text"].categories == ()
        assert {name: columns[name].has_missing for name in ROWS} == {
            "number": True,
            "integer": False,
            "flag": False,
            "word": True,
            "text": True,
        }
    assert [reference.lineage["file"] for reference in found] == ["DataFrame", "Table", "rows.parquet", "rows.parquet"]
    assert found[2].lineage["rows"] == 3
    assert len(found[2].lineage["sha256"]) == 64


def test_csv_reads_with_the_types_its_texts_show(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("number,integer,flag,text\n1.5,1,true,x\n,2,false,\n-2,3,true,z\n")
    columns = read_reference(tmp_path / "rows.csv").columns
    assert [columns[name].kind for name in ("number", "integer", "flag", "text")] == [
        "number",
        "integer",
        "boolean",
        "text",
    ]
    assert columns["number"].values == [1.5, None, -2.0]


def test_chunks_with_dictionaries_of_their_own_keep_their_words() -> None:
    chunks = pa.chunked_array([pa.array(["b", "a"]).dictionary_encode(), pa.array(["c", "b"]).dictionary_encode()])
    column = read_reference(pa.table({"word": chunks})).columns["word"]
    assert (column.kind, column.values) == ("text", ["b", "a", "c", "b"])
    assert column.categories == ("b", "a", "c")


@pytest.mark.parametrize("kind", [pa.decimal128(10, 2), pa.decimal256(40, 2)], ids=["decimal128", "decimal256"])
def test_decimals_are_numbers(kind: pa.DataType) -> None:
    column = read_reference(pa.table({"amount": pa.array([decimal.Decimal("1.25"), None], kind)})).columns["amount"]
    assert (column.kind, column.values, column.has_missing) == ("number", [1.25, None], True)


@pytest.mark.parametrize(
    ("array", "kind"),
    [
        (pa.array([1], pa.timestamp("s")), "timestamp[s]"),
        (pa.array([[1.0]]), "list<item: double>"),
        (pa.nulls(1), "null"),
        (pa.array([b"x"]), "binary"),
        (pa.array(["x"], pa.large_string()), "text"),
        (pa.array(["x"], pa.string_view()), "text"),
        (pa.array([1.5], pa.float16()), "number"),
        (pa.array([1], pa.uint64()), "integer"),
    ],
    ids=str,
)
def test_every_other_type_is_named(array: pa.Array, kind: str) -> None:
    assert read_reference(pa.table({"x": array})).columns["x"].kind == kind


@pytest.mark.parametrize(
    ("name", "raw", "problem"),
    [
        ("rows.parquet", b"", "cannot be read as parquet"),
        ("rows.parquet", b"PAR1 not really PAR1", "cannot be read as parquet"),
        ("rows.csv", b"", "cannot be read as csv"),
        ("rows.csv", b"a,b\n1,2,3\n", "cannot be read as csv"),
        ("rows.csv", b"a,b\n", "has no rows"),
        ("rows.csv", b"a,a\n1,2\n", "two columns of the reference have the same name"),
        ("rows.xlsx", b"PK", "reference rows are a .parquet or a .csv file"),
        ("rows", b"a\n1\n", "reference rows are a .parquet or a .csv file"),
    ],
)
def test_file_that_cannot_be_read_is_refused(tmp_path: Path, name: str, raw: bytes, problem: str) -> None:
    (tmp_path / name).write_bytes(raw)
    with pytest.raises(SealRefused, match=problem):
        read_reference(tmp_path / name)


@pytest.mark.parametrize("place", range(0, 1000, 37))
def test_damaged_parquet_is_refused_or_read(tmp_path: Path, place: int) -> None:
    pq.write_table(pa.Table.from_pandas(ROWS), tmp_path / "rows.parquet")
    raw = bytearray((tmp_path / "rows.parquet").read_bytes())
    place = len(raw) - 1 - place
    raw[place] ^= 0xFF
    (tmp_path / "rows.parquet").write_bytes(raw)
    with contextlib.suppress(SealRefused):
        read_reference(tmp_path / "rows.parquet")


def test_file_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no reference rows at"):
        read_reference(tmp_path / "none.parquet")
    with pytest.raises(NotFound, match="no reference rows at"):
        read_reference(tmp_path)


@pytest.mark.parametrize("source", [np.array([[4242.0]]), [[4242.0]], {"a": [4242.0]}, 4242, None], ids=type)
def test_rows_without_named_columns_are_refused_and_not_repeated(source: Any) -> None:
    with pytest.raises(SealRefused, match="has no named columns") as refused:
        read_reference(source)
    assert "4242" not in str(refused.value)


def test_no_rows_are_refused() -> None:
    with pytest.raises(SealRefused, match="the reference has no rows"):
        read_reference(ROWS[:0])
    with pytest.raises(SealRefused, match="two columns of the reference have the same name"):
        read_reference(pa.table([pa.array([1.0]), pa.array([1.0])], names=["a", "a"]))
