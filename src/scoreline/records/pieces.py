"""A piece of a segment as rows, without the arrays in between: shipping takes up every decision that was ever made."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from scoreline.core.decision import Author, author_from
from scoreline.records.frames import AUTHOR, DECISIONS, FAILED, MISSED, UNSENT, of_each_row, read_parts, whole_frame
from scoreline.records.rows import Cells, is_plain, plain, positions
from scoreline.records.segments import BEGIN, read_raw

_MINUTE_BYTES: Final = 4  # ids of the same 65 seconds begin with the same


@dataclass(slots=True)
class Piece:
    """What whole frames of a segment say, in their order; `end` is the offset after these.

    `by[i]` is the place of the author of `rows[i]` in `authors`, which are those of the segment so far. `times` has the
    first 6 bytes of ids, and the millisecond of the request: one of those in a row that differ by a minute at most.
    `unsent` are the bases of requests whose answers never left, `missed` counts decisions without a record. `failed`
    has the place of an author that did not score a request, its base, time, kind of failure, and entities.

    Rows are plain tuples of texts, bytes and numbers: Python's collector looks at such once and then never again.
    """

    authors: dict[int, Author]
    end: int
    rows: list[Cells] = field(default_factory=list)
    by: list[int] = field(default_factory=list)
    times: set[tuple[bytes, int]] = field(default_factory=set)
    unsent: list[bytes] = field(default_factory=list)
    missed: int = 0
    failed: list[tuple[int, bytes, int, str, list[bytes]]] = field(default_factory=list)


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


def rows_of_parts(parts: list[Any]) -> list[Cells]:
    """The rows of a decisions frame: `rows.rows_of` of the decisions it was made of."""
    base, n_rows, time_ns, request_id, caller, trace, values = parts[2:9]
    margins, scores, outcomes, defaulted, degraded, model_ns, entities = parts[9:16]
    if not is_plain(caller + request_id + trace):
        caller, request_id, trace = plain(caller), plain(request_id), plain(trace)
    degraded = of_each_row(degraded, n_rows)
    if n_rows == 1:
        entity, outcome = entities[0] if entities else b"", outcomes[0] if outcomes else -1
        took = positions(defaulted.get(0, ())) if defaulted else b""
        lost = positions(degraded.get(0, ())) if degraded else b""
        whole = base, time_ns, entity, caller, request_id, trace, values, margins, scores, outcome, took, lost, model_ns
        return [whole]
    first, found = int.from_bytes(base, "big"), []
    columns = [(column, len(column) // n_rows) for column in (values, margins, scores)]
    for row in range(n_rows):
        id_, entity = (first | row).to_bytes(16, "big"), entities[row] if entities else b""
        cells = [column[row * width : (row + 1) * width] for column, width in columns]
        outcome, took = outcomes[row] if outcomes else -1, positions(defaulted.get(row, ()))
        lost = positions(degraded.get(row, ()))
        found.append((id_, time_ns, entity, caller, request_id, trace, *cells, outcome, took, lost, model_ns))
    return found


def _read(path: Path, offset: int, authors: dict[int, Author]) -> Piece:
    piece, end, last = Piece(authors, offset), 0, b""
    rows, by = piece.rows, piece.by
    for parts, end in read_parts(read_raw(path, offset)):  # noqa: B007
        kind = parts[0]
        if kind == DECISIONS:
            base = parts[2]
            if base[:_MINUTE_BYTES] != last:
                last = base[:_MINUTE_BYTES]
                piece.times.add((base[:6], parts[4] // 1_000_000))
            rows += rows_of_parts(parts)
            by += parts[1:2] * parts[3]
        elif kind == AUTHOR:
            authors[parts[1]] = author_from(parts[2])
        elif kind == UNSENT:
            piece.unsent.append(parts[2])
        elif kind == MISSED:
            piece.missed += parts[1]
        elif kind == FAILED:
            piece.failed.append(tuple(parts[1:6]))
    piece.end = offset + end
    return piece
