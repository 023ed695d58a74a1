"""What a job decided as files of decisions: the archive's own form, so that whatever reads the record reads them.

A file of a job was never in the log: `segment`, `salt` and `leaf` are null. `request_id` is the name of the input, and
`place` the row in it.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from scoreline.core.decision import Decisions
from scoreline.core.link import Floats
from scoreline.doors.batch.sources import Positions
from scoreline.records.parquet import AUTHORS, COMPRESSION, GROUP_ROWS, SCHEMA
from scoreline.records.rows import author_json, plain, positions

_AUTHOR: Final = 1


class RecordWriter:
    """Writes the decisions of one scorer to a file, as they come."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: Any = None

    def write(self, decisions: Decisions, rows: Positions) -> None:
        """Decisions, and the row of each in its input."""
        if self._file is None:
            self._open({_AUTHOR: author_json(decisions.author)})
        batch = pa.RecordBatch.from_arrays(_columns(decisions, rows), schema=SCHEMA)
        self._file.write_batch(batch, row_group_size=GROUP_ROWS)

    def close(self) -> None:
        if self._file is None:
            self._open({})
        self._file.close()

    def _open(self, authors: dict[int, str]) -> None:
        self._file = pq.ParquetWriter(self._path, _with(authors), compression=COMPRESSION)


@contextmanager
def recording(path: Path | None) -> Iterator[RecordWriter | None]:
    """A writer, if there is anything to write to; the file is whole when the block has ended."""
    if path is None:
        yield None
        return
    writer = RecordWriter(path)
    try:
        yield writer
    finally:
        writer.close()


def join_records(parts: Sequence[Path], path: Path) -> None:
    """The decisions of several files in one, in order, read a group of rows at a time."""
    by_part = {part: _author_of(part) for part in parts}
    numbers = {author: number for number, author in enumerate(dict.fromkeys(filter(None, by_part.values())), _AUTHOR)}
    schema, at = _with({number: author for author, number in numbers.items()}), SCHEMA.get_field_index("author")
    with pq.ParquetWriter(path, schema, compression=COMPRESSION) as writer:
        for part, author in by_part.items():
            with pq.ParquetFile(part) as file:
                for group in range(file.num_row_groups if author else 0):
                    table = file.read_row_group(group)
                    by = pa.array(np.full(len(table), numbers[author], dtype=np.int32))
                    writer.write_table(table.set_column(at, SCHEMA.field(at), by).cast(schema))


def _author_of(part: Path) -> str:
    """Who decided what is in a part; nobody where all of it was rejected."""
    found: list[str] = list(json.loads(pq.read_schema(part).metadata[AUTHORS]).values())
    return next(iter(found), "")


def _with(authors: dict[int, str]) -> pa.Schema:
    return SCHEMA.with_metadata({AUTHORS: json.dumps(authors)})


def _columns(decisions: Decisions, rows: Positions) -> list[pa.Array]:
    """The columns of SCHEMA, in its order."""
    context, n_rows = decisions.context, len(decisions)
    nothing = [None] * n_rows
    found = {
        "id": _ids(decisions.base, n_rows),
        "time_ns": np.full(n_rows, context.time_ns),
        **{name: [plain(getattr(context, name))] * n_rows for name in ("caller", "request_id", "trace")},
        **{name: _raw(getattr(decisions, name)) for name in ("values", "margins", "scores")},
        "outcome": np.fromiter(decisions.outcomes or (-1,) * n_rows, np.int16, n_rows),
        "defaulted": [positions(decisions.defaulted.get(row, ())) for row in range(n_rows)],
        "degraded": [positions(decisions.degraded.get(row, ())) for row in range(n_rows)],
        "model_ns": np.full(n_rows, decisions.model_ns),
        "author": np.full(n_rows, _AUTHOR, dtype=np.int32),
        "score": np.ascontiguousarray(decisions.scores[:, 0]),
        "place": rows,
        "unsent": np.zeros(n_rows, dtype=bool),
    }
    cells = ((found.get(column.name, nothing), column.type) for column in SCHEMA)
    return [made if isinstance(made, pa.Array) else pa.array(made, kind) for made, kind in cells]


def _ids(base: int, n_rows: int) -> pa.Array:
    """The ids of consecutive rows: their last bits count."""
    low, high = base % (1 << 64), base >> 64
    halves = np.empty((n_rows, 2), dtype=">u8")
    halves[:, 0], halves[:, 1] = high, np.uint64(low) + np.arange(n_rows, dtype=np.uint64)
    kind = SCHEMA.field("id").type
    return pa.FixedSizeBinaryArray.from_buffers(kind, n_rows, [None, pa.py_buffer(halves.tobytes())])


def _raw(column: Floats) -> pa.Array:
    """Each row's bytes."""
    n_rows, width = column.shape
    raw = np.ascontiguousarray(column, dtype="<f8").tobytes()
    offsets = np.arange(n_rows + 1, dtype=np.int32) * (8 * width)
    return pa.BinaryArray.from_buffers(pa.binary(), n_rows, [None, pa.py_buffer(offsets.tobytes()), pa.py_buffer(raw)])
