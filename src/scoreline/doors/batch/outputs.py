"""Puts the finished parts of an input together to one output file: Parquet, CSV or JSON lines."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from scoreline.core.errors import BatchRefused
from scoreline.doors.batch.answers import ROW
from scoreline.doors.batch.inputs import Format
from scoreline.doors.batch.kept import kept_columns, kept_types
from scoreline.doors.batch.partial import Part
from scoreline.doors.batch.sources import KEPT_OBJECT

ROW_GROUP: Final = 1 << 17
LINES: Final = 1 << 13
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))

Batches = Iterable[pa.RecordBatch]
Wrote = Callable[[int], None]


def check_writable(kind: Format, kept: pa.Schema) -> None:
    """Raises BatchRefused where a column to keep has no form in this format."""
    wrong = [] if kind == "parquet" else [column for column in kept if not _is_flat(column.type)]
    if wrong:
        raise BatchRefused(
            f"column {wrong[0].name!r} ({wrong[0].type}) cannot be kept in a .{kind} file; choose a .parquet target "
            "or name the columns to keep"
        )


def write_output(kind: Format, schema: pa.Schema, parts: Sequence[Part], path: Path, wrote: Wrote) -> int:
    """Writes the answers of all parts, in order, to `path`; gives their number of rows, and tells `wrote` meanwhile."""
    batches: Batches = _read(parts)
    if KEPT_OBJECT in schema.names and kind != "jsonl":
        schema, batches = _expanded(schema, parts)
    return _WRITERS[kind](schema, batches, path, wrote)


def _expanded(schema: pa.Schema, parts: Sequence[Part]) -> tuple[pa.Schema, Batches]:
    """The answers with what is kept of JSON lines in columns of their own."""
    place = schema.get_field_index(KEPT_OBJECT)
    types = kept_types(batch.column(place) for batch in _read(parts))
    before, after = list(schema)[:place], list(schema)[place + 1 :]
    wide = pa.schema([*before, *types.items(), *after])

    def expand(batch: pa.RecordBatch) -> pa.RecordBatch:
        columns = batch.columns
        return pa.RecordBatch.from_arrays(
            [*columns[:place], *kept_columns(columns[place], types), *columns[place + 1 :]], schema=wide
        )

    return wide, map(expand, _read(parts))


def _read(parts: Sequence[Part]) -> Iterator[pa.RecordBatch]:
    for part in parts:
        # Not a memory map: its pages would count as memory of this process.
        with pa.OSFile(str(part.path)) as raw, pa.ipc.open_stream(raw) as reader:
            yield from reader


def _write_parquet(schema: pa.Schema, batches: Batches, path: Path, wrote: Wrote) -> int:
    rows = 0
    # Rows rise by one and scores hardly repeat: a dictionary of them costs time and space.
    plain = {ROW, *(column.name for column in schema if pa.types.is_float64(column.type))}
    with pq.ParquetWriter(
        path,
        schema,
        use_dictionary=[name for name in schema.names if name not in plain],
        column_encoding={ROW: "DELTA_BINARY_PACKED"},
    ) as writer:
        for table in _even(batches, ROW_GROUP):
            writer.write_table(table)
            rows += table.num_rows
            wrote(table.num_rows)
    return rows


def _write_csv(schema: pa.Schema, batches: Batches, path: Path, wrote: Wrote) -> int:
    rows = 0
    flat = pa.schema([(column.name, _flat_type(column.type)) for column in schema])
    with pa.OSFile(str(path), "wb") as sink, pa.csv.CSVWriter(sink, flat) as writer:
        for batch in batches:
            writer.write_batch(pa.RecordBatch.from_arrays([_flat(column) for column in batch.columns], schema=flat))
            rows += batch.num_rows
            wrote(batch.num_rows)
    return rows


def _write_jsonl(_: pa.Schema, batches: Batches, path: Path, wrote: Wrote) -> int:
    rows = 0
    with path.open("wb") as sink:
        for batch in batches:
            for start in range(0, batch.num_rows, LINES):
                some = batch.slice(start, LINES)
                sink.writelines(_lines(some))
                rows += some.num_rows
                wrote(some.num_rows)
    return rows


_WRITERS: Final[Mapping[Format, Callable[[pa.Schema, Batches, Path, Wrote], int]]] = {
    "parquet": _write_parquet,
    "csv": _write_csv,
    "jsonl": _write_jsonl,
}


def _lines(batch: pa.RecordBatch) -> Iterator[bytes]:
    names = [name for name in batch.schema.names if name != KEPT_OBJECT]
    columns = [_finite(_flat(batch.column(name))).to_pylist() for name in names]
    rows: Iterator[dict[str, Any]] = (dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True))
    if len(names) == batch.num_columns:
        return (_ENCODER.encode(row).encode() + b"\n" for row in rows)
    objects = batch.column(KEPT_OBJECT).to_pylist()
    return (_joined(kept, row).encode() + b"\n" for kept, row in zip(objects, rows, strict=True))


def _joined(kept: str, row: dict[str, Any]) -> str:
    """One object of the row, what is kept, and the answers: the kept one is not parsed again."""
    if kept == "{}":
        return _ENCODER.encode(row)
    position = row.pop(ROW)
    return f'{{"{ROW}":{position},{kept[1:-1]},{_ENCODER.encode(row)[1:]}'


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


def _is_flat(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    is_other = pa.types.is_temporal(kind) or pa.types.is_decimal(kind) or pa.types.is_null(kind)
    return is_text or (is_other and not pa.types.is_interval(kind)) or _flat_type(kind) == kind


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
