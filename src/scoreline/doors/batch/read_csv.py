"""CSV as a source: UTF-8, a comma, a header line; every cell is a text until its field reads it."""

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.csv

from scoreline.core.batch import NO_DEFAULTS
from scoreline.core.errors import Problem
from scoreline.doors.batch.inputs import InputFile
from scoreline.doors.batch.sources import (
    Chunk,
    Judged,
    Positions,
    Source,
    Wanted,
    judge_columns,
    readable,
    settle_columns,
)
from scoreline.doors.batch.texts import text_cell, text_numbers

Ragged: TypeAlias = "array[int]"

# Also the longest line that can be read.
BLOCK_BYTES: Final = 4 << 20


def open_csv(file: InputFile, wanted: Wanted) -> Source:
    """A CSV file that has the columns the job needs; raises BatchRefused."""
    with readable(file):
        names = _open(pa.OSFile(str(file.path)), [], array("q")).schema.names
    fields, kept = settle_columns(file, names, wanted)
    keeps = pa.schema([(name, pa.string()) for name in kept])
    return Source(None, keeps, partial(_chunks, file, wanted, wanted.columns(names, fields, kept), kept))


def _chunks(
    file: InputFile, wanted: Wanted, columns: list[str], kept: list[str], first: int, rows_per_chunk: int
) -> Iterator[Chunk]:
    ragged: Ragged = array("q")
    position = 0
    with readable(file):
        raw = pa.OSFile(str(file.path))
        for table in _open(raw, columns, ragged):
            positions = _positions(table.num_rows, position, ragged)
            position = int(positions[-1]) + 1 if table.num_rows else position
            passed_by = _take(ragged, position)
            for start in range(int(np.searchsorted(positions, first)), table.num_rows, rows_per_chunk):
                here = positions[start : start + rows_per_chunk]
                rows = table.slice(start, len(here))
                judged = judge_columns(wanted, rows, kept, here, (text_numbers, text_cell))
                last = int(here[-1]) + 1
                wrong = [_ragged(row) for row in passed_by if first <= row < last]
                yield Chunk(last, raw.tell(), replace(judged, problems=[*judged.problems, *wrong]))
                first = last
        yield from _ragged_end([row for row in ragged if row >= first], wanted, len(kept), file.size, rows_per_chunk)


def _ragged_end(rows: Sequence[int], wanted: Wanted, kept: int, size: int, rows_per_chunk: int) -> Iterator[Chunk]:
    """The rows after the last one that has as many cells as the header."""
    nothing = Judged(
        np.empty(0, dtype=np.int64),
        np.empty((0, len(wanted.schema.fields))),
        NO_DEFAULTS,
        [pa.nulls(0, pa.string())] * kept,
        (),
    )
    for start in range(0, len(rows), rows_per_chunk):
        here = rows[start : start + rows_per_chunk]
        yield Chunk(here[-1] + 1, size, replace(nothing, problems=[_ragged(row) for row in here]))


def _open(raw: pa.NativeFile, columns: Sequence[str], ragged: Ragged) -> Any:
    """A reader of these columns as texts; positions of rows with too few or too many cells go to `ragged`."""

    def note(row: Any) -> str:
        ragged.append(row.number - 2)  # it counts from 1 and the header is a row
        return "skip"

    return pa.csv.open_csv(
        raw,
        # Arrow numbers rows only where one thread reads them.
        read_options=pa.csv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES),
        parse_options=pa.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=note),
        convert_options=pa.csv.ConvertOptions(
            include_columns=columns,
            column_types={name: pa.string() for name in columns},
            strings_can_be_null=False,
        ),
    )


def _positions(n_rows: int, first: int, ragged: Ragged) -> Positions:
    """Positions int64 (n_rows,) of rows read from `first` on, between which the ragged ones stood."""
    rows = np.arange(n_rows)
    gaps = np.array(ragged, dtype=np.int64)
    before = gaps - first - np.arange(len(gaps))
    found: Positions = first + rows + np.searchsorted(before, rows, side="right")
    return found


def _take(ragged: Ragged, last: int) -> list[int]:
    count = bisect_left(ragged, last)
    taken = ragged[:count].tolist()
    del ragged[:count]
    return taken


def _ragged(row: int) -> Problem:
    return Problem(row, "", "must have as many cells as the header")
