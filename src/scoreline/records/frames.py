"""The form of a spool segment: a magic word, then frames of length, CRC-32 and payload.

A payload is a msgpack array. An author frame `[0, index, {...}]` names the model once per segment; a decisions frame
`[1, author index, ...]` holds all rows of a request in columns. Integers are little-endian; columns are float64.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Final

import msgspec
import numpy as np

from scoreline.core.batch import Context
from scoreline.core.decision import Author, Decisions, author_from

MAGIC: Final = b"SLSPOOL2"
_HEAD: Final = struct.Struct("<II")
_AUTHOR: Final = 0
_DECISIONS: Final = 1
_encode_into = msgspec.msgpack.Encoder().encode_into
_decode = msgspec.msgpack.Decoder().decode


def frame_author(index: int, author: Author) -> bytearray:
    return _frame((_AUTHOR, index, asdict(author)))


def frame_decisions(author_index: int, decisions: Decisions) -> bytearray:
    """One request's decisions as one frame."""
    context = decisions.context
    return _frame(
        (
            _DECISIONS,
            author_index,
            decisions.base.to_bytes(16, "big"),
            len(decisions.values),
            context.time_ns,
            context.request_id,
            context.caller,
            context.trace,
            decisions.values.data,
            decisions.margins.data,
            decisions.scores.data,
            decisions.outcomes,
            decisions.defaulted,
            decisions.degraded,
            decisions.model_ns,
            decisions.entities,
        )
    )


def read_frames(raw: bytes, authors: dict[int, Author]) -> Iterator[tuple[Decisions | None, int]]:
    """The whole frames of a piece of a segment: decisions (None for an author frame) and the offset after each.

    `authors` is filled on the way and must be passed again for the next piece of the same segment.
    """
    for parts, offset in read_parts(raw, authors):
        yield _decisions(parts, authors) if parts else None, offset


def read_parts(raw: bytes, authors: dict[int, Author]) -> Iterator[tuple[list[Any], int]]:
    """The same, as the parts that decisions frames were made of: author index, base and so on; none of an author frame.

    Stops before the first frame that is incomplete, empty or whose CRC does not fit: a tail torn by a death, zeros that
    a file system left after a crash, or a frame still being written.
    """
    offset = 0
    while len(raw) - offset >= _HEAD.size:
        length, crc = _HEAD.unpack_from(raw, offset)
        payload = raw[offset + _HEAD.size : offset + _HEAD.size + length]
        if not payload or len(payload) < length or zlib.crc32(payload) != crc:
            return
        offset += _HEAD.size + length
        kind, *parts = _decode(payload)
        if kind == _AUTHOR:
            authors[parts[0]] = author_from(parts[1])
            yield [], offset
        else:
            yield parts, offset


def whole_frame(raw: bytes) -> bool:
    """Whether a piece of a segment holds its first frame whole."""
    return len(raw) >= _HEAD.size and len(raw) - _HEAD.size >= _HEAD.unpack_from(raw)[0]


def _frame(payload: tuple[object, ...]) -> bytearray:
    """Encoded behind its head in one buffer: a frame of many rows is not copied again."""
    frame = bytearray(_HEAD.size)
    _encode_into(payload, frame, _HEAD.size)
    body = memoryview(frame)[_HEAD.size :]
    _HEAD.pack_into(frame, 0, len(body), zlib.crc32(body))
    return frame


def _decisions(parts: list[Any], authors: dict[int, Author]) -> Decisions:
    index, base, n_rows, time_ns, request_id, caller, trace, values, margins, scores, *rest = parts
    outcomes, defaulted, degraded, model_ns, entities = rest

    def column(raw: object) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
        return np.frombuffer(raw, dtype="<f8").reshape(n_rows, -1)  # type: ignore[call-overload, no-any-return]

    return Decisions(
        base=int.from_bytes(base, "big"),
        author=authors[index],
        context=Context(time_ns, request_id, caller, trace),
        values=column(values),
        margins=column(margins),
        scores=column(scores),
        outcomes=outcomes,
        defaulted=defaulted,
        degraded=degraded,
        model_ns=model_ns,
        entities=entities,
    )
