"""The kept fields of JSON lines as columns with types, which are known once all lines are read."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

import pyarrow as pa

_INT64: Final = range(-(2**63), 2**63)
_TYPES: Final = {
    frozenset({"bool"}): pa.bool_(),
    frozenset({"int"}): pa.int64(),
    frozenset({"float"}): pa.float64(),
    frozenset({"int", "float"}): pa.float64(),
}


def kept_types(columns: Iterable[pa.Array]) -> dict[str, pa.DataType]:
    """A type for every key of the kept objects, in order of appearance.

    Booleans, integers and numbers where all values are of that kind or null; else texts, with lists, objects and what
    does not go together as JSON.
    """
    kinds: dict[str, set[str]] = {}
    for column in columns:
        for text in column.to_pylist():
            for name, value in json.loads(text).items():
                found = kinds.setdefault(name, set())
                if value is not None:
                    found.add(_kind(value))
    return {name: _TYPES.get(frozenset(found), pa.string()) for name, found in kinds.items()}


def kept_columns(column: pa.Array, types: Mapping[str, pa.DataType]) -> list[pa.Array]:
    """The kept objects of a column taken apart into one column per key."""
    objects = [json.loads(text) for text in column.to_pylist()]
    return [
        pa.array([_value(found.get(name), kind) for found in objects], kind, from_pandas=False)
        for name, kind in types.items()
    ]


def _kind(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and value not in _INT64:
        return "huge"
    return type(value).__name__


def _value(value: Any, kind: pa.DataType) -> Any:
    if value is None or pa.types.is_boolean(kind) or pa.types.is_integer(kind):
        return value
    if pa.types.is_floating(kind):
        return float(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
