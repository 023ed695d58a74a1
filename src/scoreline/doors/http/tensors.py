"""Tensors of the Open Inference Protocol, in JSON or as raw bytes behind it, to arrays and back.

Reference: the protocol's "Required" API and its binary tensor data extension.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import prod
from typing import Any, Final

import numpy as np

from scoreline.core.columns import Column
from scoreline.core.errors import Malformed, TooLarge

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
# What would change the meaning of a request, and is not taken.
_UNHEARD: Final = (
    *("sequence_id", "sequence_start", "sequence_end"),
    *("classification", "class_count", "shared_memory_region"),
)


@dataclass(frozen=True, slots=True)
class Tensor:
    """A named tensor: its shape, its values flat in row-major order, and whether all are of the datatype it names."""

    name: str
    shape: tuple[int, ...]
    values: Column
    true: bool = True


def read_tensors(inputs: object, tail: memoryview, max_inputs: int, max_values: int) -> list[Tensor]:
    """The tensors of a request; those with `binary_data_size` take the next bytes of `tail`.

    Raises Malformed, or TooLarge before more than `max_values` of one input are looked at.
    """
    if not isinstance(inputs, list) or not inputs or not all(isinstance(given, dict) for given in inputs):
        raise Malformed("inputs is an array of tensors")
    if len(inputs) > max_inputs:
        raise Malformed("there are far more inputs than the model has fields")
    found = []
    for given in inputs:
        size = parameters(given).get("binary_data_size")
        if size is None:
            found.append(_from_json(given, max_values))
            continue
        if type(size) is not int or not 0 <= size <= len(tail):
            raise Malformed("binary_data_size of an input is not the number of bytes that follow")
        found.append(_from_bytes(given, tail[:size], max_values))
        tail = tail[size:]
    if len(tail):
        raise Malformed("more bytes follow the inputs than their binary_data_size says")
    if len({tensor.name for tensor in found}) != len(found):
        raise Malformed("an input is there twice")
    return found


def parameters(given: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a request, an input or an output; raises Malformed for those that nobody here would heed."""
    found = given.get("parameters") or {}
    if not isinstance(found, dict):
        raise Malformed("parameters is an object")
    if unheard := [name for name in _UNHEARD if found.get(name)]:
        raise Malformed(f"the parameter {unheard[0]} is not taken here: send the request without it")
    return found


def text_bytes(texts: Sequence[bytes]) -> bytes:
    """A BYTES tensor: every element behind its length."""
    return b"".join([_LENGTH.pack(len(text)) + text for text in texts])


def _head(given: dict[str, Any], max_values: int) -> tuple[str, str, tuple[int, ...]]:
    """Name, datatype and shape."""
    name, datatype, shape = given.get("name"), given.get("datatype"), given.get("shape")
    if not isinstance(name, str) or not name:
        raise Malformed("an input has a name")
    if not isinstance(datatype, str) or (datatype != BYTES and datatype not in DTYPES):
        raise Malformed(f"the datatype of an input is one of {', '.join(DTYPES)} or {BYTES}")
    fits = isinstance(shape, list) and 0 < len(shape) <= _MAX_DIMENSIONS
    if not fits or not all(type(size) is int and 0 <= size < 1 << 31 for size in shape):  # type: ignore[union-attr]
        raise Malformed("the shape of an input is an array of sizes")
    if prod(shape) > max_values:  # type: ignore[arg-type]
        raise TooLarge(f"an input has at most {max_values} values; send several requests, or use `scoreline batch`")
    return name, datatype, tuple(shape)  # type: ignore[arg-type]


def _from_bytes(given: dict[str, Any], raw: memoryview, max_values: int) -> Tensor:
    name, datatype, shape = _head(given, max_values)
    if "data" in given:
        raise Malformed("an input has data or binary_data_size, not both")
    if datatype == BYTES:
        return Tensor(name, shape, _texts(raw, prod(shape)))
    dtype = np.dtype(DTYPES[datatype])
    if prod(shape) * dtype.itemsize != len(raw):
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


def _from_json(given: dict[str, Any], max_values: int) -> Tensor:
    name, datatype, shape = _head(given, max_values)
    values = given.get("data")
    if not isinstance(values, list):
        raise Malformed("an input has data, or binary_data_size for bytes that follow")
    return Tensor(name, shape, *_typed(_flat(values, shape), datatype))


def _flat(values: list[Any], shape: tuple[int, ...]) -> list[Any]:
    """Values that come flat, or nested as their shape is; a list in a value's place stays, for the schema to judge."""
    length = shape[0]
    for size in shape[1:]:
        if len(values) != length or not all(isinstance(value, list) and len(value) == size for value in values):
            break
        values = list(chain.from_iterable(values))
        length *= size
    if len(values) != prod(shape):
        raise Malformed("the data of an input are not as many values as its shape says")
    return values


def _typed(values: list[Any], datatype: str) -> tuple[Column, bool]:
    """The values as their datatype has them, null where one is missing; others as they are, and that they are not."""
    kinds = set(map(type, values)) - {type(None)}
    if datatype in ("BOOL", BYTES):
        return values, kinds <= {bool if datatype == "BOOL" else str}
    dtype = np.dtype(DTYPES[datatype])
    if dtype.kind == "f":
        if not kinds <= {float, int}:
            return values, False
        try:
            with np.errstate(over="ignore"):
                return np.array([np.nan if value is None else value for value in values], dtype), True
        except OverflowError:
            return values, False
    bounds = np.iinfo(dtype)
    given = values if None not in values else [value for value in values if value is not None]
    if not all(_is_whole(value) and bounds.min <= value <= bounds.max for value in given):
        return values, False
    return np.array(values, dtype) if given is values else values, True


def _is_whole(value: object) -> bool:
    """Whether a value counts as an integer: 3.0 does, as in every other row."""
    return type(value) is int or (isinstance(value, float) and value.is_integer())
