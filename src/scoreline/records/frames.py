"""The form of a spool segment: a magic word, then frames of length, CRC-32 and payload.

A payload is a msgpack array. An author frame `[0, index, {...}]` names the model once per segment; a decisions frame
`[1, author index, ...]` holds all rows of a request in columns; `[2, author index, base]` says that the answer to a
request never left; `[3, n, from, until]` that so many decisions were answered without a record; `[4, author index,
base, time, kind, entities]` that a version did not score a request. Kinds unknown to this version are passed over.
Integers are little-endian; columns are float64.
"""

import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import msgspec
import numpy as np

from scoreline.core.batch import NO_DEFAULTS, Context
from scoreline.core.decision import Author, Decisions, author_from

MAGIC: Final = b"SLSPOOL2"
_HEAD: Final = struct.Struct("<II")
_NO_HEAD: Final = bytes(_HEAD.size)
_NOT_YET: Final = (0, 0, 0, 0, "", 0)  # in segments written before these were
AUTHOR: Final = 0
DECISIONS: Final = 1
UNSENT: Final = 2
MISSED: Final = 3
FAILED: Final = 4
_encode_into = msgspec.msgpack.Encoder().encode_into
_decode = msgspec.msgpack.Decoder().decode


@dataclass(frozen=True, slots=True)
class Unsent:
    """The answer with the decisions of this base never left."""

    author: Author
    base: int


@dataclass(frozen=True, slots=True)
class Failed:
    """A version did not score the request of this base; `kind` says what went wrong."""

    author: Author
    base: int
    kind: str


@dataclass(frozen=True, slots=True)
class Missed:
    """So many decisions were answered without a record; the times are nanoseconds since 1970."""

    n_decisions: int
    from_ns: int
    until_ns: int

    def plus(self, n_decisions: int, time_ns: int) -> "Missed":
        return Missed(self.n_decisions + n_decisions, self.from_ns, time_ns)


Item = Decisions | Unsent | Missed | Failed


def frame_author(index: int, author: Author) -> bytearray:
    return _frame((AUTHOR, index, asdict(author)))


def frame_decisions(author_index: int, decisions: Decisions) -> bytearray:
    """One request's decisions as one frame."""
    frame = bytearray()
    append_decisions(frame, author_index, decisions)
    return frame


def append_decisions(frames: bytearray, author_index: int, decisions: Decisions, written_ns: int = 0) -> None:
    """Puts one request's decisions as one frame behind others; `written_ns` is when, in nanoseconds since 1970."""
    context = decisions.context
    _append(
        frames,
        (
            DECISIONS,
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
            decisions.wait_ns,
            decisions.auth_ns,
            decisions.features_ns,
            decisions.total_ns,
            context.parent,
            written_ns,
        ),
    )


def frame_unsent(author_index: int, base: int) -> bytearray:
    return _frame((UNSENT, author_index, base.to_bytes(16, "big")))


def frame_failed(author_index: int, base: int, time_ns: int, kind: str, entities: Sequence[bytes]) -> bytearray:
    return _frame((FAILED, author_index, base.to_bytes(16, "big"), time_ns, kind, entities))


def frame_missed(missed: Missed) -> bytearray:
    return _frame((MISSED, missed.n_decisions, missed.from_ns, missed.until_ns))


def read_frames(raw: bytes, authors: dict[int, Author]) -> Iterator[tuple[Item | None, int]]:
    """The whole frames of a piece of a segment: what each says (None for an author frame) and the offset after it.

    `authors` is filled on the way and must be passed again for the next piece of the same segment.
    """
    for (kind, *parts), offset in read_parts(raw):
        if kind == DECISIONS:
            yield _decisions(parts, authors), offset
        elif kind == AUTHOR:
            authors[parts[0]] = author_from(parts[1])
            yield None, offset
        elif kind == UNSENT:
            yield Unsent(authors[parts[0]], int.from_bytes(parts[1], "big")), offset
        elif kind == FAILED:
            yield Failed(authors[parts[0]], int.from_bytes(parts[1], "big"), parts[3]), offset
        else:
            yield Missed(*parts) if kind == MISSED else None, offset


def read_parts(raw: bytes) -> Iterator[tuple[list[Any], int]]:
    """The whole frames of a piece of a segment as they were encoded, the kind first, and the offset after each.

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
        yield _decode(payload), offset


def whole_frame(raw: bytes) -> bool:
    """Whether a piece of a segment holds its first frame whole."""
    return len(raw) >= _HEAD.size and len(raw) - _HEAD.size >= _HEAD.unpack_from(raw)[0]


def missing_bytes(raw: bytes) -> int:
    """How many bytes of its first frame a piece of a segment does not hold; the piece has at least a frame's head."""
    length: int = _HEAD.unpack_from(raw)[0]
    return max(0, _HEAD.size + length - len(raw))


def _frame(payload: tuple[object, ...]) -> bytearray:
    frame = bytearray()
    _append(frame, payload)
    return frame


def _append(frames: bytearray, payload: tuple[object, ...]) -> None:
    """Encodes behind its head in the buffer itself: a frame of many rows is not copied again."""
    head = len(frames)
    frames += _NO_HEAD
    _encode_into(payload, frames, -1)
    with memoryview(frames) as whole, whole[head + _HEAD.size :] as body:
        _HEAD.pack_into(frames, head, len(body), zlib.crc32(body))


def of_each_row(degraded: Any, n_rows: int) -> Mapping[int, Sequence[int]]:
    """The degraded fields of each row: a list, as frames had it before, is that of every row."""
    if isinstance(degraded, dict):
        return degraded
    return dict.fromkeys(range(n_rows), degraded) if degraded else NO_DEFAULTS


def _decisions(parts: list[Any], authors: dict[int, Author]) -> Decisions:
    index, base, n_rows, time_ns, request_id, caller, trace, values, margins, scores, *rest = parts
    outcomes, defaulted, degraded, model_ns, entities, *times = rest
    times += _NOT_YET[len(times) :]
    wait_ns, auth_ns, features_ns, total_ns, parent, written_ns = times

    def column(raw: object) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
        return np.frombuffer(raw, dtype="<f8").reshape(n_rows, -1)  # type: ignore[call-overload, no-any-return]

    return Decisions(
        base=int.from_bytes(base, "big"),
        author=authors[index],
        context=Context(time_ns, request_id, caller, trace, parent=parent),
        values=column(values),
        margins=column(margins),
        scores=column(scores),
        outcomes=outcomes,
        defaulted=defaulted,
        degraded=of_each_row(degraded, n_rows),
        model_ns=model_ns,
        entities=entities,
        wait_ns=wait_ns,
        auth_ns=auth_ns,
        features_ns=features_ns,
        total_ns=total_ns,
        written_ns=written_ns,
    )
