"""A piece of a segment as rows, without the arrays in between: shipping takes up every decision that was ever made."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scoreline.core.decision import Author, author_from
from scoreline.records.frames import AUTHOR, DECISIONS, MISSED, UNSENT, read_parts, whole_frame
from scoreline.records.rows import Cells, plain, positions
from scoreline.records.segments import BEGIN, read_raw


@dataclass(slots=True)
class Piece:
    """What whole frames of a segment say, in their order; `end` is the offset after these.

    `by[i]` is the place of the author of `rows[i]` in `authors`, which are those of the segment so far. `times` has of
    the requests the first 6 bytes of their ids, and the millisecond at which they were taken up. `unsent` are the bases
    of requests whose answers never left, `missed` counts decisions without a record.

    Rows are plain tuples of texts, bytes and numbers: Python's collector looks at such once and then never again.
    """

    authors: dict[int, Author]
    end: int
    rows: list[Cells] = field(default_factory=list)
    by: list[int] = field(default_factory=list)
    times: set[tuple[bytes, int]] = field(default_factory=set)
    unsent: list[bytes] = field(default_factory=list)
    missed: int = 0


def read_rows(path: Path, offset: int, authors: dict[int, Author]) -> Piece:
    """What `segments.read_items` reads, as rows."""
    at = offset if authors else BEGIN
    while at < offset:
        at = _read(path, at, authors).end
    return _read(path, offset, authors)


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


def _read(path: Path, offset: int, authors: dict[int, Author]) -> Piece:
    piece, end = Piece(authors, offset), 0
    for (kind, *parts), end in read_parts(read_raw(path, offset)):  # noqa: B007
        if kind == DECISIONS:
            index, base, n_rows, time_ns, *_ = parts
            piece.times.add((base[:6], time_ns // 1_000_000))
            piece.rows.extend(rows_of_parts(parts))
            piece.by.extend([index] * n_rows)
        elif kind == AUTHOR:
            authors[parts[0]] = author_from(parts[1])
        elif kind == UNSENT:
            piece.unsent.append(parts[1])
        elif kind == MISSED:
            piece.missed += parts[0]
    piece.end = offset + end
    return piece
