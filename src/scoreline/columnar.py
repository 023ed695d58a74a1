"""Columns as a Parquet, CSV or JSON lines file, written in bounded memory: what every file for people goes through."""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

Format = Literal["parquet", "csv", "jsonl"]
FORMATS: Final[Mapping[str, Format]] = {".parquet": "parquet", ".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
ROW_GROUP: Final = 1 << 17
LINES: Final = 1 << 13
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))

Batches = Iterable[pa.RecordBatch]
Wrote = Callable[[int], None]
Lines = Callable[[pa.RecordBatch], Iterator[bytes]]


def write_parquet(schema: pa.Schema, batches: Batches, path: Path, wrote: Wrote, rising: Collection[str] = ()) -> int:
    """Writes all rows and gives their number; `rising` are columns of numbers that rise by one or so."""
    rows = 0
    # Such rows, and scores, hardly repeat: a dictionary of them costs time and space.
    plain = {*rising, *(column.name for column in schema if pa.types.is_float64(column.type))}
    with pq.ParquetWriter(
        path,
        schema,
        use_dictionary=[name for name in schema.names if name not in plain],
        column_encoding=dict.fromkeys(rising, "DELTA_BINARY_PACKED"),
    ) as writer:
        for table in _even(batches, ROW_GROUP):
            writer.write_table(table)
            rows += table.num_rows
            wrote(table.num_rows)
    return rows


def write_csv(schema: pa.Schema, batches: Batches, path: Path, wrote: Wrote) -> int:
    """Writes all rows behind a line of names, and gives their number; columns are flat."""
    rows = 0
    flat = pa.schema([(column.name, _flat_type(column.type)) for column in schema])
    with pa.OSFile(str(path), "wb") as sink, pa.csv.CSVWriter(sink, flat) as writer:
        for batch in batches:
            writer.write_batch(pa.RecordBatch.from_arrays([_flat(column) for column in batch.columns], schema=flat))
            rows += batch.num_rows
            wrote(batch.num_rows)
    return rows


def write_jsonl(batches: Batches, path: Path, wrote: Wrote, lines: Lines | None = None) -> int:
    """Writes an object per row and gives their number; `lines` makes the lines of some rows, if not `lines_of`."""
    rows = 0
    with path.open("wb") as sink:
        for batch in batches:
            for start in range(0, batch.num_rows, LINES):
                some = batch.slice(start, LINES)
                sink.writelines((lines or lines_of)(some))
                rows += some.num_rows
                wrote(some.num_rows)
    return rows


def lines_of(batch: pa.RecordBatch) -> Iterator[bytes]:
    """The rows as objects in JSON."""
    return (encode(row).encode() + b"\n" for row in objects_of(batch, batch.schema.names))


def objects_of(batch: pa.RecordBatch, names: Collection[str]) -> Iterator[dict[str, Any]]:
    """The rows as JSON has them, with the columns of these names; NaN and infinity are null."""
    columns = [_finite(_flat(batch.column(name))).to_pylist() for name in names]
    return (dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True))


def encode(row: Mapping[str, Any]) -> str:
    return _ENCODER.encode(row)


def is_flat(kind: pa.DataType) -> bool:
    """Whether values of a type have a form in CSV and JSON lines."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    is_other = pa.types.is_temporal(kind) or pa.types.is_decimal(kind) or pa.types.is_null(kind)
    return is_text or (is_other and not pa.types.is_interval(kind)) or _flat_type(kind) == kind


def _even(batches: Batches, n_rows: int) -> Iterator[pa.Table]:
    """The same rows in tables of `n_rows`, so that an output does not show where its parts ended."""
    held: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        held.append(batch)
        count += batch.num_rows
        if count >= n_rows:
            table = pa.Table.from_batches(held)
            for start in range(0, count - n_rows + 1, n_rows):
                yield table.slice(start, n_rows)
            held = table.slice(count - count % n_rows).to_batches()
            count %= n_rows
    if count:
        yield pa.Table.from_batches(held)


def _flat_type(kind: pa.DataType) -> pa.DataType:
    """The type a flat column has as text: numbers and booleans their own, all else a string."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    own = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    return kind if own else pa.string()


def _flat(column: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    return column.cast(_flat_type(column.type))


def _finite(column: pa.Array) -> pa.Array:
    """JSON has no NaN and no infinity: both become null."""
    return pc.if_else(pc.is_finite(column), column, None) if pa.types.is_floating(column.type) else column
