"""Reads one whole UBJSON object, and nothing else: XGBoost reads beyond the end of one that is cut.

Reference: https://ubjson.org/type-reference/, as far as XGBoost writes and reads it (src/common/json.cc).
"""

import struct
from typing import Any, Final

import numpy as np

_NUMBERS: Final = {
    b"i": ">i1", b"U": ">u1", b"I": ">i2", b"l": ">i4", b"L": ">i8", b"d": ">f4", b"D": ">f8", b"C": ">u1",
}  # fmt: skip
_CONSTANTS: Final = {b"Z": None, b"T": True, b"F": False}
_LENGTHS: Final = {b"i": "b", b"U": "B", b"I": ">h", b"l": ">i", b"L": ">q"}
_MAX_DEPTH: Final = 64


def is_whole_ubjson(raw: bytes) -> bool:
    """Whether `raw` is exactly one object whose every part lies within it."""
    try:
        read_ubjson(raw)
    except ValueError:
        return False
    return True


def read_ubjson(raw: bytes) -> dict[bytes, Any]:
    """The object that `raw` is, arrays of one type as numpy's, texts as bytes; raises ValueError for anything else."""
    try:
        found, end = _value(raw, 0, 0)
    except struct.error:
        raise ValueError("cut") from None
    if not isinstance(found, dict) or end != len(raw):
        raise ValueError("not one whole object")
    return found


def _value(raw: bytes, at: int, depth: int) -> tuple[Any, int]:
    marker = raw[at : at + 1]
    at += 1
    if marker == b"{":
        return _object(raw, at, _deeper(depth))
    if marker == b"[":
        return _array(raw, at, _deeper(depth))
    if marker in (b"S", b"H"):
        return _text(raw, at)
    if marker in _CONSTANTS:
        return _CONSTANTS[marker], at
    numbers, at = _numbers(raw, at, marker, 1)
    return numbers[0], at


def _object(raw: bytes, at: int, depth: int) -> tuple[dict[bytes, Any], int]:
    found: dict[bytes, Any] = {}
    while raw[at : at + 1] != b"}":
        name, at = _text(raw, at)
        if name in found:
            raise ValueError("a name twice")
        found[name], at = _value(raw, at, depth)
    return found, at + 1


def _array(raw: bytes, at: int, depth: int) -> tuple[Any, int]:
    """Counted with one type for all, counted, or closed by a bracket."""
    found = []
    if raw[at : at + 1] == b"$":
        count, start = _count(raw, at + 2)
        return _numbers(raw, start, raw[at + 1 : at + 2], count)
    if raw[at : at + 1] == b"#":
        count, at = _count(raw, at)
        for _ in range(count):
            value, at = _value(raw, at, depth)
            found.append(value)
        return found, at
    while raw[at : at + 1] != b"]":
        value, at = _value(raw, at, depth)
        found.append(value)
    return found, at + 1


def _numbers(raw: bytes, at: int, marker: bytes, count: int) -> tuple[np.ndarray[Any, Any], int]:
    if marker not in _NUMBERS:
        raise ValueError("an unknown type")
    kind = np.dtype(_NUMBERS[marker])
    end = at + kind.itemsize * count
    if end > len(raw):
        raise ValueError("cut")
    return np.frombuffer(raw, kind, count, at), end


def _text(raw: bytes, at: int) -> tuple[bytes, int]:
    length, at = _length(raw, at)
    if at + length > len(raw):
        raise ValueError("cut")
    return raw[at : at + length], at + length


def _count(raw: bytes, at: int) -> tuple[int, int]:
    if raw[at : at + 1] != b"#":
        raise ValueError("an array without its count")
    return _length(raw, at + 1)


def _length(raw: bytes, at: int) -> tuple[int, int]:
    """A length, not negative, and where what it counts begins."""
    kind = _LENGTHS.get(raw[at : at + 1])
    if kind is None:
        raise ValueError("a length that is no integer")
    (length,) = struct.unpack_from(kind, raw, at + 1)
    if length < 0:
        raise ValueError("a negative length")
    return length, at + 1 + struct.calcsize(kind)


def _deeper(depth: int) -> int:
    if depth >= _MAX_DEPTH:
        raise ValueError("too deep")
    return depth + 1
