"""Parquet as a source: batches of columns with types, checked once for the whole file."""

from collections.abc import Iterator
from functools import partial
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from scoreline.core.errors import BatchRefused
from scoreline.doors.batch.columns import typed_cell, typed_numbers, wrong_type
from scoreline.doors.batch.inputs import InputFile
from scoreline.doors.batch.sources import Chunk, Source, Wanted, judge_columns, readable, settle_columns

# Read in pieces of this many bytes per column: whole column chunks would make memory follow the size of row groups.
BUFFER_BYTES: Final = 1 << 16


def open_parquet(file: InputFile, wanted: Wanted) -> Source:
    """A Parquet file that has the columns the job needs; raises BatchRefused."""
    with readable(file), pq.ParquetFile(file.path) as opened:
        types, rows = opened.schema_arrow, opened.metadata.num_rows
        ends = np.cumsum([opened.metadata.row_group(group).num_rows for group in range(opened.num_row_groups)])
    fields, kept = settle_columns(file, types.names, wanted)
    wrong = {
        name: wrong_type(wanted.schema.fields[wanted.schema.index[name]], types.field(name).type) for name in fields
    }
    if problems := [f"{name!r} is {types.field(name).type}, not {what}" for name, what in wrong.items() if what]:
        raise BatchRefused(f"{file.name} has columns of the wrong type: {'; '.join(problems)}")
    as_codes = [
        name
        for name in fields
        if name not in kept and wanted.schema.fields[wanted.schema.index[name]].type == "category"
    ]
    keeps = pa.schema([types.field(name) for name in kept])
    columns = wanted.columns(types.names, fields, kept)
    return Source(rows, keeps, partial(_chunks, file, wanted, columns, as_codes, kept, ends.tolist()))


def _chunks(
    file: InputFile,
    wanted: Wanted,
    columns: list[str],
    as_codes: list[str],
    kept: list[str],
    ends: list[int],
    first: int,
    rows_per_chunk: int,
) -> Iterator[Chunk]:
    groups = [group for group, end in enumerate(ends) if end > first]
    if not groups:
        return
    position = ends[groups[0] - 1] if groups[0] else 0
    with (
        readable(file),
        pq.ParquetFile(file.path, read_dictionary=as_codes, buffer_size=BUFFER_BYTES, pre_buffer=False) as opened,
    ):
        for table in opened.iter_batches(rows_per_chunk, row_groups=groups, columns=columns, use_threads=False):
            last = position + table.num_rows
            if last > first:
                start = max(first, position)
                rows = table.slice(start - position)
                judged = judge_columns(wanted, rows, kept, np.arange(start, last), (typed_numbers, typed_cell))
                yield Chunk(last, file.size * last // ends[-1], judged)
            position = last
