"""Reads reference rows: a sample of what the model was trained on, as Parquet or CSV, with Arrow's types."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from scoreline.core.errors import NotFound, SealRefused


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the reference: its kind, whether some values are missing, its categories, and its values.

    `kind` is number, integer, boolean or text; `values` are Python values, missing as None.
    """

    kind: str
    has_missing: bool
    categories: tuple[Any, ...]
    values: list[Any]


@dataclass(frozen=True, slots=True)
class Reference:
    """Reference rows in columns and as the table they were read from, which keeps their types; and where from."""

    columns: dict[str, Column]
    table: pa.Table
    n_rows: int
    lineage: dict[str, Any]


def read_reference(source: object) -> Reference:
    """From a .parquet or .csv file, an Arrow table or a pandas frame; raises NotFound or SealRefused."""
    table, lineage = _table(source)
    if table.num_rows == 0:
        raise SealRefused("the reference has no rows; give a sample of the training data")
    names = table.column_names
    if len(set(names)) != len(names):
        raise SealRefused("two columns of the reference have the same name")
    columns = {name: _column(table.column(name)) for name in names}
    return Reference(columns, table, table.num_rows, {**lineage, "rows": table.num_rows})


def _table(source: object) -> tuple[pa.Table, dict[str, Any]]:
    if isinstance(source, pa.Table):
        return source, {"file": "Table"}
    if hasattr(source, "__dataframe__") or hasattr(source, "iloc"):
        return pa.Table.from_pandas(source, preserve_index=False), {"file": type(source).__name__}
    if not isinstance(source, str | Path):
        raise SealRefused(
            f"{type(source).__name__} has no named columns: give reference rows as a .parquet or .csv file, an Arrow "
            "table or a pandas frame"
        )
    path = Path(source)
    try:
        raw = path.read_bytes()
    except OSError:
        raise NotFound(f"no reference rows at {path}") from None
    lineage = {"file": path.name, "sha256": hashlib.sha256(raw).hexdigest()}
    try:
        if path.suffix == ".parquet":
            return pa.parquet.read_table(pa.BufferReader(raw)), lineage
        if path.suffix == ".csv":
            return pa.csv.read_csv(pa.BufferReader(raw)), lineage
    except (pa.ArrowException, OSError):  # Arrow's own kinds of damage are both
        raise SealRefused(f"{path.name} cannot be read as {path.suffix[1:]}") from None
    raise SealRefused(f"{path.name}: reference rows are a .parquet or a .csv file")


def _column(chunks: pa.ChunkedArray) -> Column:
    if pa.types.is_decimal(chunks.type):
        chunks = chunks.cast(pa.float64())
    kind = chunks.type
    categories: tuple[Any, ...] = ()
    if pa.types.is_dictionary(kind):
        chunks = chunks.unify_dictionaries()
        categories = tuple(chunks.chunk(0).dictionary.to_pylist()) if chunks.num_chunks else ()
        kind = kind.value_type
    values = [None if value != value else value for value in chunks.to_pylist()]
    return Column(_kind(kind), None in values, categories, values)


def _kind(kind: pa.DataType) -> str:
    if pa.types.is_boolean(kind):
        return "boolean"
    if pa.types.is_integer(kind):
        return "integer"
    if pa.types.is_floating(kind):
        return "number"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return "text"
    return str(kind)
