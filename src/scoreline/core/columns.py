"""From columns of decoded values to a batch: whole columns at once, held to the answers of `Schema.row`.

Masks over columns accept what is right beyond doubt; every row in doubt is judged by `Schema.row` itself, so its word
and its wording hold. In a column of floats NaN is a missing value: such columns have no other way to write one.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from scoreline.core.batch import NO_DEFAULTS, Batch, Context
from scoreline.core.entities import entity_of
from scoreline.core.errors import MAX_PROBLEMS, Problem, RowsRefused
from scoreline.core.link import Floats
from scoreline.core.schema import EXACT_INTEGER_MAX, Field, Schema, printable

Mask = npt.NDArray[np.bool_]
Column = npt.NDArray[Any] | Sequence[Any]
_NUMBERS: Final = frozenset((int, float, type(None)))


def read_table(schema: Schema, columns: Mapping[str, Column], n_rows: int, context: Context) -> Batch:
    """A batch of all rows of a table; raises RowsRefused as `read_rows` does for the same cells row by row.

    A column is a numpy array of numbers or booleans of length `n_rows`, or a sequence of values as JSON has them.
    """
    unknown = [name for name in columns if schema.unknown(name)]
    absent = [at for at, field in enumerate(schema.fields) if field.source == "store" or field.name not in columns]
    if unknown or any(schema.fields[at].default is None for at in absent):
        raise RowsRefused(_row_by_row(schema, columns, range(n_rows))[1] or [_no_field(name) for name in unknown])
    values = np.empty((n_rows, len(schema.fields)))
    entities, doubtful = _entities(schema, columns)
    for position, field in enumerate(schema.fields):
        if field.source == "store" or field.name not in columns:
            values[:, position] = field.default_value
            continue
        values[:, position], found = _numbers(field, columns[field.name])
        if found is not None:
            doubtful = found if doubtful is None else doubtful | found
    if doubtful is not None:
        rows = np.flatnonzero(doubtful).tolist()
        read, problems = _row_by_row(schema, columns, rows)
        if problems:
            raise RowsRefused(problems)
        values[rows] = read
    defaulted = dict.fromkeys(range(n_rows), tuple(absent)) if absent else NO_DEFAULTS
    return Batch(values, context, defaulted, entities)


def _entities(schema: Schema, columns: Mapping[str, Column]) -> tuple[Sequence[str], Mask | None]:
    """Whom the rows are about, and the rows in doubt (None: none)."""
    if not schema.entity or schema.entity not in columns:
        return (), None
    column = columns[schema.entity]
    cell = _cell_of(column)
    found = [entity_of(cell(row)) for row in range(len(column))]
    doubts = np.array([entity is None for entity in found], dtype=bool) if None in found else None
    return [entity or "" for entity in found] if any(found) else (), doubts


def within(field: Field, numbers: Floats) -> tuple[Floats, Mask | None]:
    """The numbers, NaN where missing, and those in doubt: missing but not nullable, out of range, not integral."""
    low, high = _inner_bounds(field)
    least, greatest = (np.fmin, np.fmax) if field.nullable else (np.minimum, np.maximum)
    inside = len(numbers) == 0 or (low <= least.reduce(numbers) and greatest.reduce(numbers) <= high)
    if inside and field.type != "integer":
        return numbers, None
    fine = (numbers >= low) & (numbers <= high)
    if field.type == "integer":
        fine &= np.floor(numbers) == numbers
    if field.nullable:
        fine |= np.isnan(numbers)
    return numbers, None if fine.all() else ~fine


def _numbers(field: Field, column: Column) -> tuple[Floats, Mask | None]:
    """A column as the model sees it, and the rows in doubt (None: none)."""
    kind = column.dtype.kind if isinstance(column, np.ndarray) else ""
    if field.type in ("number", "integer"):
        if kind in ("f", "i", "u"):
            return within(field, column.astype(np.float64))  # type: ignore[union-attr]
        if not kind and _NUMBERS.issuperset(map(type, column)):
            return within(field, _floats(column))
    elif field.type == "boolean" and (kind == "b" or (not kind and {bool}.issuperset(map(type, column)))):
        return np.asarray(column, dtype=np.float64), None
    elif field.type == "category" and kind != "f":
        return _coded(field.codes, column.tolist() if isinstance(column, np.ndarray) else column)
    return np.full(len(column), np.nan), np.ones(len(column), dtype=bool)


def _floats(column: Column) -> Floats:
    """Numbers and None as float64; an integer beyond float64 is infinite, and so in doubt."""
    try:
        return np.array([np.nan if value is None else value for value in column], dtype=np.float64)
    except OverflowError:
        return np.array([_float(value) for value in column], dtype=np.float64)


def _float(value: Any) -> float:
    try:
        return np.nan if value is None else float(value)
    except OverflowError:
        return np.inf


def _coded(codes: Mapping[object, float], column: Sequence[Any]) -> tuple[Floats, Mask | None]:
    """Words as codes; what is no category of the right type is in doubt (True and 1.0 equal 1, and are not it)."""
    kind = type(next(iter(codes)))
    numbers = np.array([codes.get(value, np.nan) if type(value) is kind else np.nan for value in column])
    doubts = np.isnan(numbers)
    return numbers, doubts if doubts.any() else None


def _row_by_row(
    schema: Schema, columns: Mapping[str, Column], rows: Sequence[int]
) -> tuple[list[list[float]], list[Problem]]:
    """These rows by `Schema.row`: their values, and the first 1,000 problems."""
    cells = {name: _cell_of(column) for name, column in columns.items()}
    values: list[list[float]] = []
    problems: list[Problem] = []
    for row in rows:
        read, _, wrong = schema.row({name: cell(row) for name, cell in cells.items()}, row)
        values.append(read)
        problems += wrong
        if len(problems) >= MAX_PROBLEMS:
            break
    return values, problems[:MAX_PROBLEMS]


def _cell_of(column: Column) -> Callable[[int], object]:
    if not isinstance(column, np.ndarray):
        return column.__getitem__

    def cell(row: int) -> object:
        value = column[row].item()
        return None if value != value else value

    return cell


def _no_field(name: str) -> Problem:
    return Problem(0, printable(name), "is not a field of this model")


def _inner_bounds(field: Field) -> tuple[float, float]:
    """The range in which no integer, rounded to a float, can be mistaken for one inside it."""
    low, high = map(float, field.bounds)
    if low <= -EXACT_INTEGER_MAX:
        low = float(np.nextafter(low, 0.0))
    if high >= EXACT_INTEGER_MAX:
        high = float(np.nextafter(high, 0.0))
    return low, high
