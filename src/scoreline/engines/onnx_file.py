"""What an ONNX graph may hold, for sealing and for serving alike: read from its bytes, before any library reads them.

A signature says who made a graph. One that names data outside its file would have the service read its own files, and
one with graphs within may run without end. Reference: https://protobuf.dev/programming-guides/encoding/ and
https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final

_DOMAINS: Final = (b"", b"ai.onnx", b"ai.onnx.ml")
_RANDOM: Final = (
    b"RandomNormal", b"RandomNormalLike", b"RandomUniform", b"RandomUniformLike", b"Multinomial", b"Bernoulli",
)  # fmt: skip
_BEYOND: Final = "uses operators beyond ONNX's own; export it with those of ONNX and ONNX-ML only"
_OUTSIDE: Final = "keeps data outside its file; save it as one file"
_WITHIN: Final = "holds graphs within (If, Loop, Scan), which may run without end; export it without"
_SPARSE: Final = "holds sparse tensors; save them dense"
_TRAINS: Final = "holds its training; export it for inference"
_DRAWS: Final = "draws random numbers: a row would not have one score"
_BROKEN: Final = "is no whole ONNX graph"

# Message and field number: what is refused, and into what to look.
_REFUSED: Final[Mapping[tuple[str, int], str]] = {
    ("model", 20): _TRAINS,
    ("model", 25): _BEYOND,
    ("graph", 15): _SPARSE,
    ("attribute", 6): _WITHIN,
    ("attribute", 11): _WITHIN,
    ("attribute", 22): _SPARSE,
    ("attribute", 23): _SPARSE,
    ("tensor", 13): _OUTSIDE,
}
_INTO: Final[Mapping[tuple[str, int], str]] = {
    ("model", 7): "graph",
    ("graph", 1): "node",
    ("graph", 5): "tensor",
    ("node", 5): "attribute",
    ("attribute", 5): "tensor",
    ("attribute", 10): "tensor",
}
_OPERATOR: Final = ("node", 4)
_DOMAIN: Final = ("node", 7)
_DATA_LOCATION: Final = ("tensor", 14)
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_END_OF_TAGS: Final = 1 << 32
_WIDTHS: Final = {_FIXED64: 8, _FIXED32: 4}
# The lists of a tree ensemble, a value each: short texts, integers and floats of an attribute, passed over in one go.
_SHORT_TEXTS: Final = b"|".join(b"J%b.{%d}" % (re.escape(bytes([size])), size) for size in range(16))
_LISTS: Final = re.compile(rb"(?:=.{4}|@[\x80-\xff]{0,9}[\x00-\x7f]|%b)++" % _SHORT_TEXTS, re.DOTALL)


def problems(model: bytes) -> Iterator[str]:
    """What a graph holds that neither sealing nor serving takes; empty for a good one."""
    try:
        yield from _problems(model, "model", 0, len(model))
    except (ValueError, IndexError):
        yield _BROKEN


def _problems(raw: bytes, kind: str, at: int, end: int) -> Iterator[str]:
    while at < end:
        if kind == "attribute" and (many := _LISTS.match(raw, at, end)):
            at = many.end()
            continue
        tag, at = _varint(raw, at, end)
        if tag >= _END_OF_TAGS:
            raise ValueError("a tag that protobuf would cut")
        place, wire = (kind, tag >> 3), tag & 7
        start, at, number = _value(raw, wire, at, end)
        if place in _REFUSED or (place == _DATA_LOCATION and number != 0):
            yield _REFUSED.get(place, _OUTSIDE)
        elif place == _DOMAIN and raw[start:at] not in _DOMAINS:
            yield _BEYOND
        elif place == _OPERATOR and raw[start:at] in _RANDOM:
            yield _DRAWS
        elif place in _INTO and wire == _BYTES:
            yield from _problems(raw, _INTO[place], start, at)


def _value(raw: bytes, wire: int, at: int, end: int) -> tuple[int, int, int]:
    """Where a value begins and ends, and what number it is; raises ValueError where it does not lie within."""
    number, start = 0, at
    if wire == _VARINT:
        number, at = _varint(raw, at, end)
    elif wire == _BYTES:
        size, start = _varint(raw, at, end)
        at = start + size
    elif wire in _WIDTHS:
        at += _WIDTHS[wire]
    else:
        raise ValueError("a group, or no kind of value")
    if at > end:
        raise ValueError("cut")
    return start, at, number


def _varint(raw: bytes, at: int, end: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        if at >= end or shift > 63:
            raise ValueError("cut, or too long")
        byte = raw[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7
