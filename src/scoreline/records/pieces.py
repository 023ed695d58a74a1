"""A piece of a segment as rows, without the arrays in between: shipping takes up every decision that was ever made."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scoreline.core.decision import Author
from scoreline.records.frames import read_parts, whole_frame
from scoreline.records.rows import Cells, plain, positions
from scoreline.records.segments import catch_up, read_raw


@dataclass(frozen=True, slots=True)
class Piece:
    """The decisions of whole frames of a segment, in their order; `end` is the offset after these.

    `by[i]` is the place of the author of `rows[i]` in `authors`, which are those of the segment so far. `times` has of
    the requests the first 6 bytes of their ids, and the millisecond at which they were taken up.

    Rows are plain tuples of texts, bytes and numbers: Python's collector looks at such once and then never again.
    """

    rows: list[Cells]
    by: list[int]
    authors: dict[int, Author]
    times: set[tuple[bytes, int]]
    end: int


def read_rows(path: Path, offset: int, authors: dict[int, Author]) -> Piece:
    """What `segments.read_piece` reads, as rows."""
    catch_up(path, offset, authors)
    rows: list[Cells] = []
    by: list[int] = []
    times, end = set(), 0
    for parts, end in read_parts(read_raw(path, offset), authors):  # noqa: B007
        if parts:
            times.add((parts[1][:6], parts[3] // 1_000_000))
            rows.extend(rows_of_parts(parts))
            by.extend(parts[:1] * parts[2])
    return Piece(rows, by, authors, times, offset + end)


def is_damaged(path: Path, end: int) -> bool:
    """Whether more follows the last frame of an ended segment than a torn write leaves: part of a frame, or zeros."""
    raw = read_raw(path, end)
    return whole_frame(raw) and any(raw)


def rows_of_parts(parts: list[Any]) -> Iterator[Cells]:
    """The rows of a decisions frame: `rows.rows_of` of the decisions it was made of."""
    _, base, n_rows, time_ns, request_id, caller, trace, values, margins, scores, *rest = parts
    outcomes, defaulted, degraded, model_ns, entities = rest
    texts = plain(caller), plain(request_id), plain(trace)
    whole = positions(degraded), model_ns
    if n_rows == 1:
        entity, outcome = entities[0] if entities else b"", outcomes[0] if outcomes else -1
        took = positions(defaulted[0]) if 0 in defaulted else b""
        yield base, time_ns, entity, *texts, values, margins, scores, outcome, took, *whole
        return
    first, columns = int.from_bytes(base, "big"), [values, margins, scores]
    widths = [len(column) // n_rows for column in columns]
    for row in range(n_rows):
        cells = [column[row * width : (row + 1) * width] for column, width in zip(columns, widths, strict=True)]
        entity, outcome = entities[row] if entities else b"", outcomes[row] if outcomes else -1
        took = positions(defaulted.get(row, ()))
        yield (first | row).to_bytes(16, "big"), time_ns, entity, *texts, *cells, outcome, took, *whole
