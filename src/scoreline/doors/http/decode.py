"""From a JSON body to a batch, by a decoder typed after the model's schema.

The typed decoder takes well-formed rows at once. Whatever it does not take goes through the core's own reader, which
either accepts it after all (3.0 for an integer) or names every problem; a property test holds the two to one answer.
"""

import math
import struct
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import starmap
from typing import Annotated, Any, Final, Literal, cast

import msgspec
import numpy as np

from scoreline.core.batch import NO_DEFAULTS, Batch, Context
from scoreline.core.entities import entity_of
from scoreline.core.errors import Malformed, TooLarge
from scoreline.core.link import Floats
from scoreline.core.rows import read_rows
from scoreline.core.schema import Field, Schema
from scoreline.core.strictjson import Body, strict_json
from scoreline.doors.http.instances import check_values

_astuple: Final = msgspec.structs.astuple
_UNSET: Final = msgspec.UNSET
_COLON: Final = ord(":")
_LOOK: Final = 16  # more blanks before an array than this take the strict reader
Values = Sequence[Any]


class RowReader:
    """Reads the bodies of one model's requests: a JSON object is one row, an array of objects is many."""

    def __init__(self, schema: Schema, max_rows: int) -> None:
        self._schema = schema
        self._max_rows = max_rows
        self._width = len(schema.fields)
        self._decode_one: Callable[[Body], Any] = _strict_only
        self._decode_many: Callable[[Body], list[Any]] = _strict_only
        with suppress(ValueError, NotImplementedError):  # names with quotes and categories beyond int64 have no type
            self._decode_one = msgspec.json.Decoder(_row_type(schema, with_ranges=True)).decode
            row_type = _row_type(schema, with_ranges=False)
            self._decode_many = msgspec.json.Decoder(list[row_type]).decode  # type: ignore[valid-type]
        self._special = _special_columns(schema)
        self._entity = bool(schema.entity)
        self._unset = self._special or self._entity  # whether a row may leave something out
        self._lows, self._highs = _number_ranges(schema)
        self._pack = struct.Struct(f"{self._width}d").pack

    def read(self, body: Body, context: Context) -> tuple[Batch, bool]:
        """The batch, and whether the body was an array; raises Malformed, TooLarge or RowsRefused."""
        many = body[:_LOOK].lstrip()[:1] == b"["
        try:
            batch = self._read_many(body, context) if many else self._read_one(body, context)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            batch = None
        return (batch, many) if batch else self._read_strictly(body, context)

    def _read_one(self, body: Body, context: Context) -> Batch | None:
        row: Values = _astuple(self._decode_one(body))
        if body.count(b":") != len(row) - (row.count(_UNSET) if self._unset else 0):
            return None  # a key stands twice, or a text holds a colon: the strict reader tells
        entities: Sequence[str] = ()
        if self._entity:
            row, entity = row[:-1], _entity(row[-1])
            if entity is None:
                return None
            entities = (entity,) if entity else ()
        if not self._special:
            return Batch(np.frombuffer(self._pack(*row)).reshape(1, self._width), context, NO_DEFAULTS, entities)
        values, defaulted = self._complete(row)
        packed = np.frombuffer(self._pack(*values)).reshape(1, self._width)
        return Batch(packed, context, {0: defaulted} if defaulted else NO_DEFAULTS, entities)

    def _read_many(self, body: Body, context: Context) -> Batch | None:
        decoded = self._decode_many(body)
        self._limit(len(decoded))
        n_colons = np.count_nonzero(np.frombuffer(body, np.uint8) == _COLON)
        defaulted: dict[int, tuple[int, ...]] = {}
        rows: Iterable[Values] = map(_astuple, decoded)
        n_expected = (self._width + self._entity) * len(decoded)
        entities: list[str | None] = []
        if self._unset:
            rows = list(rows)
            n_expected -= sum(row.count(_UNSET) for row in rows)
        if self._entity:
            entities = [_entity(row[-1]) for row in rows]
            rows = [row[:-1] for row in rows]
        if self._special:
            rows = list(rows)
            for number, row in enumerate(rows):
                rows[number], took_default = self._complete(row)
                if took_default:
                    defaulted[number] = took_default
        if not decoded or n_colons != n_expected or None in entities:
            return None
        values = np.frombuffer(b"".join(starmap(self._pack, rows))).reshape(len(decoded), self._width)
        if (values < self._lows).any() or (values > self._highs).any():
            return None
        told = cast("list[str]", entities) if any(entities) else ()
        return Batch(values, context, defaulted or NO_DEFAULTS, told)

    def _complete(self, row: Values) -> tuple[list[float], tuple[int, ...]]:
        """A decoded row as numbers: defaults taken, nulls missing, categories as codes."""
        values = list(row)
        defaulted: list[int] = []
        for position, codes, default in self._special:
            value = values[position]
            if default is not None and value is _UNSET:
                values[position] = default
                defaulted.append(position)
            elif value is None:
                values[position] = math.nan
            elif codes is not None:
                values[position] = codes.get(value, math.nan)
        return values, tuple(defaulted)

    def _read_strictly(self, body: Body, context: Context) -> tuple[Batch, bool]:
        check_values(body, self._schema, self._max_rows)
        try:
            found = strict_json(body, finite=False)
        except ValueError as error:
            raise Malformed(f"the body is not JSON: {error}") from None
        rows = found if isinstance(found, list) else [found]
        if not rows:
            raise Malformed("the array has no rows; send an object, or an array of at least one")
        self._limit(len(rows))
        return read_rows(self._schema, rows, context), rows is found

    def _limit(self, n_rows: int) -> None:
        if n_rows > self._max_rows:
            raise TooLarge(f"one request has at most {self._max_rows} rows; send several, or use `scoreline batch`")


def _entity(value: object) -> str | None:
    return "" if value is _UNSET else entity_of(value)


def _strict_only(_: Body) -> Any:
    raise msgspec.ValidationError


@lru_cache(maxsize=64)
def _row_type(schema: Schema, *, with_ranges: bool) -> type[msgspec.Struct]:
    """A struct with one attribute per field, store fields included only as their unset default.

    Without ranges a number may be any: of many rows they are checked at once, in a tenth of the time. A type is a
    cycle, which is never freed once the collector's view is frozen: versions of the same schema share theirs.
    """
    attributes: list[tuple[str, Any, Any]] = []
    for position, field in enumerate(schema.fields):
        kind = _value_type(field) if with_ranges or field.type != "number" or field.source == "store" else float
        if field.nullable and field.source == "request":
            kind = kind | None
        default = msgspec.field(name=field.name)
        if field.default is not None:
            kind = kind | msgspec.UnsetType
            default = msgspec.field(name=field.name, default=_UNSET)
        attributes.append((f"f{position}", kind, default))
    if schema.entity:
        kind = str | int | msgspec.UnsetType | None
        attributes.append(("entity", kind, msgspec.field(name=schema.entity, default=_UNSET)))
    return msgspec.defstruct("Row", attributes, forbid_unknown_fields=True, kw_only=True, gc=False)


def _value_type(field: Field) -> Any:
    if field.source == "store":
        return msgspec.UnsetType  # a request that brings it goes to the strict reader, which refuses it
    if field.type == "boolean":
        return bool
    if field.type == "category":
        if field.unseen == "missing":
            return str if isinstance(field.categories[0], str) else int
        return Literal[field.categories]
    low, high = field.bounds
    if field.type == "integer":
        return Annotated[int, msgspec.Meta(ge=math.ceil(low), le=math.floor(high))]
    return Annotated[float, msgspec.Meta(ge=low, le=high)]


def _number_ranges(schema: Schema) -> tuple[Floats, Floats]:
    """The least and the greatest value of each column, or one pair for all; only numbers have them here."""
    bounds = [field.bounds if field.type == "number" else (-math.inf, math.inf) for field in schema.fields]
    lows, highs = np.array(bounds[:1] if len(set(bounds)) == 1 else bounds).T
    return lows, highs


def _special_columns(schema: Schema) -> list[tuple[int, dict[object, float] | None, float | None]]:
    """The positions that need more than a number: (position, codes of categories, default)."""
    return [
        (position, field.codes if field.type == "category" else None, field.default_value)
        for position, field in enumerate(schema.fields)
        if field.type == "category" or field.nullable or field.default is not None
    ]
