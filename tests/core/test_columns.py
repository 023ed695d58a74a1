"""A table read by columns is the table read row by row: the same values, defaults and problems."""

import math
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from scoreline.core.batch import Context
from scoreline.core.columns import read_table
from scoreline.core.errors import RowsRefused
from scoreline.core.rows import read_rows
from scoreline.core.schema import Field, Schema

from .fields import some_fields

EDGES = (0.0, -0.0, 0.5, 1.0, 2.0**53, 2.0**53 + 2, 3.5e38, -1e300, 5e-324)
NUMBERS = st.sampled_from(EDGES) | st.floats(-1e4, 1e4) | st.integers(-(2**65), 2**65) | st.integers(-100, 100)
VALUES = NUMBERS | st.none() | st.booleans() | st.text(max_size=3) | st.just([1]) | st.just({"a": 1})
ENTITIES = st.sampled_from(("c-1", "c:2", 42, 42.0, None, "", "x" * 200, "x" * 201, "a\nb", "\ud800"))


def values_of(field: Field) -> st.SearchStrategy[Any]:
    """Mostly what the field takes."""
    if field.type == "category":
        return st.sampled_from(field.categories) | VALUES
    return {"boolean": st.booleans()}.get(field.type, NUMBERS) | VALUES


@st.composite
def tables(draw: st.DrawFn) -> tuple[Schema, dict[str, list[Any]], int]:
    fields = draw(st.lists(some_fields(), min_size=1, max_size=4, unique_by=lambda field: field.name))
    n_rows = draw(st.integers(1, 5))
    columns = {}
    for field in fields:
        if draw(st.integers(0, 9)):
            kinds = draw(st.sampled_from((values_of(field), NUMBERS, st.integers(-100, 100), st.floats(-9, 9))))
            columns[field.name] = draw(st.lists(kinds, min_size=n_rows, max_size=n_rows))
    if not draw(st.integers(0, 9)):
        columns["no field"] = [1] * n_rows
    entity = draw(st.sampled_from(("", "about whom")))
    if draw(st.booleans()):
        columns["about whom"] = draw(st.lists(ENTITIES | VALUES, min_size=n_rows, max_size=n_rows))
    return Schema(tuple(fields), entity), columns, n_rows


def outcome(read: Any, *given_rows: Any) -> object:
    """Values with the bits of every NaN alike, defaults by row, and problems."""
    try:
        batch = read(*given_rows, Context(0))
    except RowsRefused as refused:
        return refused.problems
    defaulted = {row: tuple(taken) for row, taken in batch.defaulted.items()}
    return np.where(np.isnan(batch.values), math.nan, batch.values).tobytes(), defaulted, list(batch.entities)


@settings(max_examples=600)
@given(tables())
def test_columns_of_json_are_their_rows(table: tuple[Schema, dict[str, list[Any]], int]) -> None:
    schema, columns, n_rows = table
    rows = [{name: values[row] for name, values in columns.items()} for row in range(n_rows)]
    assert outcome(read_table, schema, columns, n_rows) == outcome(read_rows, schema, rows)


ARRAYS = st.sampled_from(("<f4", "<f8", "<i1", "<i8", "<u1", "<u8", "?"))


@settings(max_examples=600)
@given(st.data(), some_fields(), ARRAYS)
def test_arrays_are_their_cells_and_nan_is_missing(data: st.DataObject, field: Field, dtype: str) -> None:
    kind = np.dtype(dtype)
    if kind.kind == "f":
        cells = st.floats(width=8 * kind.itemsize) | st.sampled_from((0.0, 1.0, 7.0))
    elif kind.kind == "b":
        cells = st.booleans()
    else:
        bounds = np.iinfo(kind)
        cells = st.integers(int(bounds.min), int(bounds.max)) | st.integers(0, 5)
    column = np.array(data.draw(st.lists(cells, min_size=1, max_size=5)), dtype=kind)
    rows = [{field.name: None if cell != cell else cell} for cell in column.tolist()]
    schema = Schema((field,))
    assert outcome(read_table, schema, {field.name: column}, len(column)) == outcome(read_rows, schema, rows)


def test_columns_of_a_matrix_are_in_schema_order() -> None:
    schema = Schema((Field("a", "number"), Field("b", "number")))
    matrix = np.arange(6, dtype=np.float32).reshape(3, 2)
    batch = read_table(schema, {"a": matrix[:, 0], "b": matrix[:, 1]}, 3, Context(0))
    assert batch.values.tolist() == matrix.tolist()
    assert batch.values.flags.c_contiguous
