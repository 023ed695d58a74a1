"""From columns of a file to rows of a model: whole columns at once, held to the answers of `Schema.row`.

Masks over columns accept what is right beyond doubt; every other row is judged by `Schema.row` itself, so its word and
its wording hold. In files NaN is a missing value: that is how Parquet from pandas writes one.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scoreline.core.columns import Mask, within
from scoreline.core.errors import Problem
from scoreline.core.link import Floats
from scoreline.core.schema import Field, Schema

Numbers = Callable[[Field, pa.Array], tuple[Floats, Mask | None]]
Cell = Callable[[Field, pa.Array, int], object]

_KINDS: Final = {"number": "a number", "integer": "an integer", "boolean": "true or false"}


def read_columns(
    schema: Schema, columns: Mapping[str, pa.Array], n_rows: int, numbers: Numbers, cell: Cell
) -> tuple[Floats, Mask | None, list[Problem]]:
    """Values float64 (n_rows, n_fields), the rows accepted (None: all) and the problems of the others.

    `numbers` reads a column: a float64 per row, and the rows in doubt (None: none). `cell` reads one cell for
    `Schema.row`. A field without a column must have a default; values of rows not accepted mean nothing.
    """
    values = np.empty((n_rows, len(schema.fields)))
    doubtful: Mask | None = None
    for position, field in enumerate(schema.fields):
        column = columns.get(field.name)
        if column is None:
            values[:, position] = field.default_value
            continue
        values[:, position], found = numbers(field, column)
        if found is not None:
            doubtful = found if doubtful is None else doubtful | found
    if doubtful is None:
        return values, None, []
    accepted, problems = ~doubtful, []
    present = [(field, columns[field.name]) for field in schema.fields if field.name in columns]
    for row in np.flatnonzero(doubtful).tolist():
        given = {field.name: cell(field, column, row) for field, column in present}
        read, _, wrong = schema.row(given, row)
        problems += wrong
        if not wrong:
            values[row], accepted[row] = read, True
    return values, accepted, problems


def wrong_type(field: Field, kind: pa.DataType) -> str:
    """What the field takes, where a column of this type cannot hold it at all; else an empty text."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    is_integer = pa.types.is_integer(kind)
    is_number = is_integer or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    if field.type == "category":
        wants_text = isinstance(field.categories[0], str)
        fits, wanted = (is_text, "a text category") if wants_text else (is_integer, "an integer category")
    elif field.type == "boolean":
        fits, wanted = pa.types.is_boolean(kind), _KINDS["boolean"]
    else:
        fits, wanted = is_number, _KINDS[field.type]
    return "" if fits or pa.types.is_null(kind) else wanted


def typed_numbers(field: Field, column: pa.Array) -> tuple[Floats, Mask | None]:
    """Reads a column of a type that `wrong_type` lets pass."""
    if field.type == "category" and not pa.types.is_null(column.type):
        return coded(field, column, _as_it_is)
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if field.type == "boolean":
        column = column.cast(pa.int8())
    elif pa.types.is_decimal(column.type):
        column = column.cast(pa.float64())
    return within(field, column.to_numpy(zero_copy_only=False).astype(np.float64, copy=False))


def typed_cell(_: Field, column: pa.Array, row: int) -> object:
    """One cell of a typed column, as `Schema.row` takes it."""
    value = column[row].as_py()
    if isinstance(value, Decimal):
        value = float(value)
    return None if value != value else value


def coded(field: Field, column: pa.Array, meaning: Callable[[Field, object], object]) -> tuple[Floats, Mask | None]:
    """Reads a column with few distinct values: each is read once by the field, then looked up by its rows."""
    if not pa.types.is_dictionary(column.type) or len(column.dictionary) > len(column):
        plain = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
        column = plain.dictionary_encode()
    read = [field.read(meaning(field, value)) for value in column.dictionary.to_pylist()]
    read.append(field.read(None))
    indices = pc.fill_null(column.indices.cast(pa.int64()), len(read) - 1).to_numpy()
    doubts = np.array([bool(problem) for _, problem in read])[indices]
    numbers: Floats = np.array([number for number, _ in read], dtype=np.float64)[indices]
    return numbers, doubts if doubts.any() else None


def _as_it_is(_: Field, value: object) -> object:
    return value
