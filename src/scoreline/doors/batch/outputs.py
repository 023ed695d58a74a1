"""Puts the finished parts of an input together to one output file: Parquet, CSV or JSON lines."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from scoreline.columnar import (
    Batches,
    Format,
    Wrote,
    encode,
    is_flat,
    lines_of,
    objects_of,
    write_csv,
    write_jsonl,
    write_parquet,
)
from scoreline.core.errors import BatchRefused
from scoreline.doors.batch.answers import ROW
from scoreline.doors.batch.kept import kept_columns, kept_types
from scoreline.doors.batch.partial import Part
from scoreline.doors.batch.sources import KEPT_OBJECT


def check_writable(kind: Format, kept: pa.Schema) -> None:
    """Raises BatchRefused where a column to keep has no form in this format."""
    wrong = [] if kind == "parquet" else [column for column in kept if not is_flat(column.type)]
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
    if kind == "parquet":
        return write_parquet(schema, batches, path, wrote, rising=(ROW,))
    if kind == "csv":
        return write_csv(schema, batches, path, wrote)
    return write_jsonl(batches, path, wrote, _lines)


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


def _lines(batch: pa.RecordBatch) -> Iterator[bytes]:
    if KEPT_OBJECT not in batch.schema.names:
        return lines_of(batch)
    rows = objects_of(batch, [name for name in batch.schema.names if name != KEPT_OBJECT])
    objects = batch.column(KEPT_OBJECT).to_pylist()
    return (_joined(kept, row).encode() + b"\n" for kept, row in zip(objects, rows, strict=True))


def _joined(kept: str, row: dict[str, Any]) -> str:
    """One object of the row, what is kept, and the answers: the kept one is not parsed again."""
    if kept == "{}":
        return encode(row)
    position = row.pop(ROW)
    return f'{{"{ROW}":{position},{kept[1:-1]},{encode(row)[1:]}'
