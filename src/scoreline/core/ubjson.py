"""Whether bytes are one whole UBJSON object, and nothing else: XGBoost reads beyond the end of one that is cut.

Reference: https://ubjson.org/type-reference/, as far as XGBoost writes and reads it (src/common/json.cc).
"""

import struct
from typing import Final

_SIZES: Final = {b"Z": 0, b"T": 0, b"F": 0, b"i": 1, b"U": 1, b"C": 1, b"I": 2, b"l": 4, b"d": 4, b"L": 8, b"D": 8}
_LENGTHS: Final = {b"i": "b", b"U": "B", b"I": ">h", b"l": ">i", b"L": ">q"}
_MAX_DEPTH: Final = 64


def is_whole_ubjson(raw: bytes) -> bool:
    """Whether `raw` is exactly one object whose every part lies within it."""
    try:
        return raw[:1] == b"{" and _end_of_value(raw, 0, 0) == len(raw)
    except (ValueError, struct.error):
        return False


def _end_of_value(raw: bytes, at: int, depth: int) -> int:
    marker = raw[at : at + 1]
    at += 1
    if marker == b"{":
        return _end_of_object(raw, at, _deeper(depth))
    if marker == b"[":
        return _end_of_array(raw, at, _deeper(depth))
    if marker in (b"S", b"H"):
        return _end_of_text(raw, at)
    return _within(raw, at, _size(marker))


def _end_of_object(raw: bytes, at: int, depth: int) -> int:
    while raw[at : at + 1] != b"}":
        at = _end_of_value(raw, _end_of_text(raw, at), depth)
    return at + 1


def _end_of_array(raw: bytes, at: int, depth: int) -> int:
    """Counted with one type for all, counted, or closed by a bracket."""
    if raw[at : at + 1] == b"$":
        size = _size(raw[at + 1 : at + 2])
        count, at = _count(raw, at + 2)
        return _within(raw, at, size * count)
    if raw[at : at + 1] == b"#":
        count, at = _count(raw, at)
        for _ in range(count):
            at = _end_of_value(raw, at, depth)
        return at
    while raw[at : at + 1] != b"]":
        at = _end_of_value(raw, at, depth)
    return at + 1


def _end_of_text(raw: bytes, at: int) -> int:
    length, at = _length(raw, at)
    return _within(raw, at, length)


def _count(raw: bytes, at: int) -> tuple[int, int]:
    if raw[at : at + 1] != b"#":
        raise ValueError
    return _length(raw, at + 1)


def _length(raw: bytes, at: int) -> tuple[int, int]:
    """A length, not negative, and where what it counts begins."""
    kind = _LENGTHS.get(raw[at : at + 1])
    if kind is None:
        raise ValueError
    (length,) = struct.unpack_from(kind, raw, at + 1)
    if length < 0:
        raise ValueError
    return length, at + 1 + struct.calcsize(kind)


def _size(marker: bytes) -> int:
    if marker not in _SIZES:
        raise ValueError
    return _SIZES[marker]


def _within(raw: bytes, at: int, size: int) -> int:
    if at + size > len(raw):
        raise ValueError
    return at + size


def _deeper(depth: int) -> int:
    if depth >= _MAX_DEPTH:
        raise ValueError
    return depth + 1
