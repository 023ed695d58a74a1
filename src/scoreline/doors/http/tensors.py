"""Tensors of the Open Inference Protocol, in JSON or as raw bytes behind it, to arrays and back.

Reference: the protocol's "Required" API and its binary tensor data extension.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from scoreline.core.columns import Column
from scoreline.core.errors import Malformed

_SIZES: Final = (8, 16, 32, 64)
DTYPES: Final[Mapping[str, str]] = {
    "BOOL": "?",
    **{f"INT{bits}": f"<i{bits // 8}" for bits in _SIZES},
    **{f"UINT{bits}": f"<u{bits // 8}" for bits in _SIZES},
    "FP32": "<f4",
    "FP64": "<f8",
}
BYTES: Final = "BYTES"
_LENGTH: Final = struct.Struct("<I")
_MAX_DIMENSIONS: Final = 8


@dataclass(frozen=True, slots=True)
class Tensor:
    """A named tensor: its shape, and its values flat in row-major order."""

    name: str
    shape: tuple[int, ...]
    values: Column


def read_tensors(inputs: object, tail: memoryview) -> list[Tensor]:
    """The tensors of a request; those with `binary_data_size` take the next bytes of `tail`. Raises Malformed."""
    if not isinstance(inputs, list) or not inputs or not all(isinstance(given, dict) for given in inputs):
        raise Malformed("inputs is an array of tensors")
    found = []
    for given in inputs:
        parameters = given.get("parameters") or {}
        size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
        if size is None:
            found.append(_from_json(given))
            continue
        if type(size) is not int or not 0 <= size <= len(tail):
            raise Malformed("binary_data_size of an input is not the number of bytes that follow")
        found.append(_from_bytes(given, tail[:size]))
        tail = tail[size:]
    if len(tail):
        raise Malformed("more bytes follow the inputs than their binary_data_size says")
    if len({tensor.name for tensor in found}) != len(found):
        raise Malformed("an input is there twice")
    return found


def text_bytes(texts: Sequence[bytes]) -> bytes:
    """A BYTES tensor: every element behind its length."""
    return b"".join([_LENGTH.pack(len(text)) + text for text in texts])


def _head(given: dict[str, Any]) -> tuple[str, str, tuple[int, ...], int]:
    """Name, datatype, shape and number of elements."""
    name, datatype, shape = given.get("name"), given.get("datatype"), given.get("shape")
    if not isinstance(name, str) or not name:
        raise Malformed("an input has a name")
    if not isinstance(datatype, str) or (datatype != BYTES and datatype not in DTYPES):
        raise Malformed(f"the datatype of an input is one of {', '.join(DTYPES)} or {BYTES}")
    fits = isinstance(shape, list) and 0 < len(shape) <= _MAX_DIMENSIONS
    if not fits or not all(type(size) is int and 0 <= size < 1 << 31 for size in shape):  # type: ignore[union-attr]
        raise Malformed("the shape of an input is an array of sizes")
    count = 1
    for size in shape:  # type: ignore[union-attr]
        count *= size
    return name, datatype, tuple(shape), count  # type: ignore[arg-type]


def _from_bytes(given: dict[str, Any], raw: memoryview) -> Tensor:
    name, datatype, shape, count = _head(given)
    if "data" in given:
        raise Malformed("an input has data or binary_data_size, not both")
    if datatype == BYTES:
        return Tensor(name, shape, _texts(raw, count))
    dtype = np.dtype(DTYPES[datatype])
    if count * dtype.itemsize != len(raw):
        raise Malformed("the bytes of an input are not as many as its shape and datatype say")
    if datatype == "BOOL" and len(raw) and max(raw) > 1:
        raise Malformed("a BOOL is a byte of 0 or 1")
    return Tensor(name, shape, np.frombuffer(raw, dtype))


def _texts(raw: memoryview, count: int) -> list[str]:
    texts: list[str] = []
    offset = 0
    while offset < len(raw) and len(texts) < count:
        length = _LENGTH.unpack_from(raw, offset)[0] if len(raw) - offset >= _LENGTH.size else len(raw)
        start, offset = offset + _LENGTH.size, offset + _LENGTH.size + length
        if offset > len(raw):
            break
        try:
            texts.append(str(raw[start:offset], "utf-8"))
        except UnicodeDecodeError:
            raise Malformed("a BYTES element is not UTF-8") from None
    if len(texts) != count or offset != len(raw):
        raise Malformed("the bytes of an input are not as many elements as its shape says")
    return texts


def _from_json(given: dict[str, Any]) -> Tensor:
    name, datatype, shape, count = _head(given)
    values = given.get("data")
    if not isinstance(values, list):
        raise Malformed("an input has data, or binary_data_size for bytes that follow")
    for _ in range(len(shape)):
        if any(isinstance(value, list) for value in values):
            values = [inner for value in values for inner in (value if isinstance(value, list) else [value])]
    if len(values) != count:
        raise Malformed("the data of an input are not as many values as its shape says")
    return Tensor(name, shape, _typed(values, datatype))


def _typed(values: list[Any], datatype: str) -> Column:
    """The values as their datatype has them; others stay as they are, for the schema to judge."""
    dtype = DTYPES.get(datatype, "")
    kinds = set(map(type, values))
    if dtype.startswith("<f") and kinds <= {float, int}:
        with np.errstate(over="ignore"):
            return _array(values, dtype)
    if dtype[1:2] in ("i", "u") and kinds <= {int}:
        return _array(values, dtype)
    return values


def _array(values: list[Any], dtype: str) -> Column:
    try:
        return np.array(values, dtype=dtype)
    except OverflowError:
        raise Malformed("a value does not fit the datatype of its input") from None
