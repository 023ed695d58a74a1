"""A decision as one row of a table, and its leaf in the tree of hashes: the form databases, files and audit share.

Columns of numbers are the bytes of little-endian float64; `defaulted` and `degraded` are little-endian uint16 positions
of fields. What is the same for all decisions of a version stands in its `Author`, known by `author_key`.
"""

import hashlib
import json
import struct
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import lru_cache
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from scoreline.core.batch import Context
from scoreline.core.decision import Author, Decisions, author_from
from scoreline.core.link import Floats

SALT_BYTES: Final = 16
_LEAF: Final = b"\0"
_score: Final = struct.Struct("<d").unpack_from
_encode = msgspec.msgpack.Encoder().encode


class Row(NamedTuple):
    """One decision. `id` is the 16 bytes of its UUID; `entity` is empty where it was not told; `outcome` -1: none."""

    id: bytes
    time_ns: int
    entity: bytes
    caller: str
    request_id: str
    trace: str
    values: bytes
    margins: bytes
    scores: bytes
    outcome: int
    defaulted: bytes
    degraded: bytes
    model_ns: int


Cells = tuple[Any, ...]  # what a Row is made of, in its order


def rows_of(decisions: Decisions) -> Iterator[Row]:
    """The rows of a request's decisions, in their order."""
    context, n_rows = decisions.context, len(decisions)
    time_ns, texts = context.time_ns, (context.caller, context.request_id, context.trace)
    caller, request_id, trace = map(plain, texts)
    columns = decisions.values, decisions.margins, decisions.scores
    values, margins, scores = (cells_of(column) for column in columns)
    entities = decisions.entities or (b"",) * n_rows
    outcomes = decisions.outcomes or (-1,) * n_rows
    model_ns, base = decisions.model_ns, decisions.base
    for row in range(n_rows):
        yield Row(
            (base | row).to_bytes(16, "big"),
            time_ns,
            entities[row],
            caller,
            request_id,
            trace,
            values[row],
            margins[row],
            scores[row],
            outcomes[row],
            positions(decisions.defaulted.get(row, ())),
            positions(decisions.degraded.get(row, ())),
            model_ns,
        )


def plain(text: str) -> str:
    """A text that every database keeps as it is: without NUL and lone surrogates, which PostgreSQL refuses.

    It is done before the leaf is made, so that what is proven is what is kept.
    """
    if is_plain(text):
        return text
    return text.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")


def is_plain(text: str) -> bool:
    """Whether `plain` leaves a text, seen at a glance; it may leave others too."""
    return text.isascii() and "\0" not in text


def positions(found: Sequence[int]) -> bytes:
    """Positions of fields as their column keeps them."""
    return _packed(tuple(found)) if found else b""


def first_score(scores: bytes) -> float:
    """The first of a row's scores."""
    found: float = _score(scores)[0]
    return found


def decisions_of(row: Row, author: Author) -> Decisions:
    """One row as the decisions of one row; its id is the base."""
    return request_of([row], author)


def request_of(rows: Sequence[Row], author: Author) -> Decisions:
    """Rows of one request, from its first on and without a gap, as its decisions."""
    first = rows[0]
    defaulted = {place: _unpack(row.defaulted) for place, row in enumerate(rows) if row.defaulted}
    degraded = {place: _unpack(row.degraded) for place, row in enumerate(rows) if row.degraded}
    return Decisions(
        base=int.from_bytes(first.id, "big"),
        author=author,
        context=Context(first.time_ns, first.request_id, first.caller, first.trace),
        values=_column([row.values for row in rows]),
        margins=_column([row.margins for row in rows]),
        scores=_column([row.scores for row in rows]),
        outcomes=tuple(row.outcome for row in rows) if first.outcome >= 0 else (),
        defaulted=defaulted,
        degraded=degraded,
        model_ns=first.model_ns,
        entities=tuple(row.entity for row in rows) if any(row.entity for row in rows) else (),
    )


def author_json(author: Author) -> str:
    """An author in canonical JSON: sorted keys, no spaces."""
    return json.dumps(asdict(author), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


@lru_cache(maxsize=64)
def author_of(text: str) -> Author:
    return author_from(json.loads(text))


@lru_cache(maxsize=64)
def author_key(author: Author) -> bytes:
    """The 32 bytes that name an author: SHA-256 of its canonical JSON."""
    return hashlib.sha256(author_json(author).encode()).digest()


def leaf(salt: bytes, author: bytes, row: Cells) -> bytes:
    """SHA-256 over zero byte, salt, and author key and row in msgpack. Without the salt nobody can guess the row."""
    return hashlib.sha256(_LEAF + salt + _encode((author, *row))).digest()


def cells_of(column: Floats) -> list[bytes]:
    """Each row's bytes."""
    raw, width = np.ascontiguousarray(column, dtype="<f8").tobytes(), 8 * column.shape[1]
    return [raw[start : start + width] for start in range(0, len(raw), width)] if width else [b""] * len(column)


def _column(cells: list[bytes]) -> Floats:
    return np.frombuffer(b"".join(cells), dtype="<f8").reshape(len(cells), -1)


@lru_cache(maxsize=1024)
def _packed(found: tuple[int, ...]) -> bytes:
    return np.array(found, dtype="<u2").tobytes()


def _unpack(raw: bytes) -> tuple[int, ...]:
    return tuple(np.frombuffer(raw, dtype="<u2").tolist())
