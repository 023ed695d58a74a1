"""The readers of columns agree with `Schema.row` on every row: accepted or not, values, problems."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from scoreline.core.errors import SchemaError
from scoreline.core.schema import FLOAT32_MAX, Field, Schema
from scoreline.core.texts import text_value
from scoreline.doors.batch.columns import (
    Cell,
    Numbers,
    read_columns,
    typed_cell,
    typed_numbers,
    wrong_type,
)
from scoreline.doors.batch.texts import text_cell, text_numbers

TEXTS = ["a", "b", "c", "ü", "with space", ""]
EDGES = [0.0, -0.0, 0.5, 1.0, 2.0**53, 2.0**53 - 1, -(2.0**53), 2.0**53 + 2, FLOAT32_MAX, -FLOAT32_MAX, 1e39, 5e-324]
FLOATS = st.one_of(st.none(), st.sampled_from([*EDGES, math.nan, math.inf, -math.inf]), st.floats(), st.floats(-9, 9))
SMALL = st.integers(-100, 100)


@st.composite
def fields(draw: Any, name: str) -> Field:
    kind = draw(st.sampled_from(["number", "integer", "boolean", "category"]))
    settings: dict[str, Any] = {"nullable": draw(st.booleans())}
    if kind in ("number", "integer") and draw(st.booleans()):
        bounds = sorted(draw(st.lists(st.one_of(st.sampled_from(EDGES[:8]), st.floats(-9, 9)), min_size=2, max_size=2)))
        settings |= {"minimum": draw(st.sampled_from([None, bounds[0]])), "maximum": bounds[1]}
    if kind == "category":
        some = draw(
            st.one_of(
                st.lists(st.sampled_from(TEXTS), min_size=1, unique=True), st.lists(SMALL, min_size=1, unique=True)
            )
        )
        settings |= {"categories": tuple(some), "unseen": draw(st.sampled_from(["refuse", "missing"]))}
    try:
        return Field(name, kind, **settings)
    except SchemaError:  # a range with nothing in it
        reject()


def typed_column(field: Field, n_rows: int) -> st.SearchStrategy[pa.Array]:
    """Columns of every type the field takes, with what it refuses in them."""

    def column(values: st.SearchStrategy[Any], *types: pa.DataType) -> st.SearchStrategy[pa.Array]:
        rows = st.lists(st.one_of(st.none(), values), min_size=n_rows, max_size=n_rows)
        return st.builds(lambda some, kind: pa.array(some, kind, from_pandas=False), rows, st.sampled_from(types))

    def integers() -> st.SearchStrategy[pa.Array]:
        huge = st.one_of(SMALL, st.integers(-(2**63), 2**63 - 1), st.sampled_from([2**53, 2**53 + 1, -(2**53) - 1]))
        unsigned = st.one_of(st.integers(0, 9), st.sampled_from([2**53 + 1, 2**64 - 1]))
        return st.one_of(
            column(SMALL, pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.dictionary(pa.int8(), pa.int64())),
            column(huge, pa.int64()),
            column(unsigned, pa.uint64()),
        )

    nothing = st.just(pa.nulls(n_rows))
    if field.type == "boolean":
        return st.one_of(column(st.booleans(), pa.bool_()), nothing)
    if field.type == "category" and isinstance(field.categories[0], str):
        types = (pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string()))
        return st.one_of(column(st.one_of(st.sampled_from(TEXTS), st.text(max_size=3)), *types), nothing)
    if field.type == "category":
        return st.one_of(integers(), nothing)
    halves = column(st.sampled_from([0.0, -1.0, 1.5, math.nan, math.inf]), pa.float16(), pa.float32())
    return st.one_of(column(FLOATS, pa.float64()), halves, integers(), nothing)


def text_column(field: Field, n_rows: int) -> st.SearchStrategy[pa.Array]:
    odd = [
        "",
        " 1",
        "1 ",
        "+1",
        "1_0",
        "nan",
        "NaN",
        "nan(1)",
        "inf",
        "-Infinity",
        "1e400",
        "0x1",
        "1.",
        ".5",
        "1e3",
        "\u0661",
    ]
    words = ["true", "False", "TRUE", "yes", "9007199254740993", "-9007199254740993", "3.0", "3.5", "-0", "9" * 5000]
    cell = st.one_of(
        st.sampled_from([*odd, *words, *TEXTS]),
        st.floats().map(repr),
        st.floats(-9, 9).map(repr),
        SMALL.map(str),
        st.text(max_size=3),
    )
    return st.builds(pa.array, st.lists(cell, min_size=n_rows, max_size=n_rows), st.just(pa.string()))


def agree(schema: Schema, columns: dict[str, pa.Array], n_rows: int, numbers: Numbers, cell: Cell) -> None:
    values, accepted, problems = read_columns(schema, columns, n_rows, numbers, cell)
    by_name = {field.name: field for field in schema.fields}
    for row in range(n_rows):
        given = {name: cell(by_name[name], column, row) for name, column in columns.items()}
        expected, _, wrong = schema.row(given, row)
        assert [problem for problem in problems if problem.row == row] == wrong
        assert (accepted is None or bool(accepted[row])) == (not wrong)
        if not wrong:
            assert np.array_equal(values[row], expected, equal_nan=True)
            assert np.array_equal(
                np.signbit(values[row][values[row] == 0]), np.signbit(np.array(expected)[values[row] == 0])
            )


@settings(max_examples=400, deadline=None)
@given(st.data())
@pytest.mark.parametrize("column_of", [typed_column, text_column])
def test_columns_agree_with_the_schema_row_by_row(column_of: Callable[..., Any], data: Any) -> None:
    schema = Schema(tuple(data.draw(fields(name)) for name in "xyz"[: data.draw(st.integers(1, 3))]))
    n_rows = data.draw(st.integers(1, 6))
    columns = {field.name: data.draw(column_of(field, n_rows)) for field in schema.fields}
    if column_of is text_column:
        agree(schema, columns, n_rows, text_numbers, text_cell)
    else:
        assert not any(wrong_type(field, columns[field.name].type) for field in schema.fields)
        agree(schema, columns, n_rows, typed_numbers, typed_cell)


def test_an_absent_column_takes_the_default_in_every_row() -> None:
    schema = Schema((Field("x", "number"), Field("y", "category", categories=("a", "b"), default="b")))
    values, accepted, problems = read_columns(schema, {"x": pa.array([1.0, 2.0])}, 2, typed_numbers, typed_cell)
    assert (values.tolist(), accepted, problems) == ([[1.0, 1.0], [2.0, 1.0]], None, [])


@pytest.mark.parametrize(
    ("field", "kind", "wanted"),
    [
        (Field("x", "number"), pa.string(), "a number"),
        (Field("x", "number"), pa.bool_(), "a number"),
        (Field("x", "integer"), pa.timestamp("us"), "an integer"),
        (Field("x", "boolean"), pa.int8(), "true or false"),
        (Field("x", "category", categories=("a",)), pa.int64(), "a text category"),
        (Field("x", "category", categories=(1,)), pa.dictionary(pa.int8(), pa.string()), "an integer category"),
        (Field("x", "category", categories=(1,)), pa.float64(), "an integer category"),
    ],
)
def test_a_column_of_the_wrong_type_is_named(field: Field, kind: pa.DataType, wanted: str) -> None:
    assert wrong_type(field, kind) == wanted


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("number", "1.50", 1.5),
        ("number", "1e3", 1000.0),
        ("number", "", None),
        ("number", "nan", None),
        ("number", "inf", math.inf),
        ("number", "12 EUR", "12 EUR"),
        ("integer", "9007199254740993", 9007199254740993),
        ("integer", "3.0", 3.0),
        ("boolean", "True", True),
        ("boolean", "1", "1"),
        ("category", "a", "a"),
    ],
)
def test_what_a_text_means(kind: Any, text: str, value: object) -> None:
    field = Field("x", kind, categories=("a",) if kind == "category" else ())
    found = text_value(field, text)
    assert found == value
    assert type(found) is type(value)


def test_a_dictionary_larger_than_its_rows_is_read_by_its_rows() -> None:
    field = Field("x", "category", categories=("a", "b"))
    big = pa.DictionaryArray.from_arrays(pa.array([1, 0]), pa.array(["b", "a", *map(str, range(100))]))
    numbers, doubts = typed_numbers(field, big)
    assert (numbers.tolist(), doubts) == ([0.0, 1.0], None)
