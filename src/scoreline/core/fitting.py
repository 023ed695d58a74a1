"""Fitting: a batch as one version's schema has read it, as another version of the model takes it.

Fields meet by name and categories by their words, because two versions may code them otherwise. A field that took its
default takes that of the other version, and so does one that the first version does not know.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain

import numpy as np

from scoreline.core.batch import Batch
from scoreline.core.errors import Problem, RowsRefused, SchemaError
from scoreline.core.link import Floats
from scoreline.core.rows import read_rows
from scoreline.core.schema import Field, Schema
from scoreline.core.shown import shown

Fit = Callable[[Batch], Batch]


def fitting(given: Schema, wanted: Schema) -> Fit | None:
    """What makes batches read by `given` into batches of `wanted`; None where they are the same already.

    The fit raises RowsRefused for rows that `wanted` does not take. Raises SchemaError where it would take none.
    """
    if given.names == wanted.names and all(map(_same, given.fields, wanted.fields)):
        return None
    return _Fitting(given, wanted)


def lenient(schema: Schema) -> Schema:
    """The schema for what was used rather than sent: fields of a store are there, and a default may be missing."""
    return Schema(tuple(_used(field) for field in schema.fields))


def widened(schema: Schema, others: Iterable[Schema]) -> Schema:
    """The schema with the fields behind its own that only other versions take from the feature store.

    One lookup then serves all of them. Nobody but they misses such a field: none is indispensable here.
    """
    found = {field.name: field for field in schema.fields}
    for field in chain.from_iterable(other.fields for other in others):
        if field.source == "store":
            found.setdefault(field.name, replace(field, indispensable=False))
    return schema if len(found) == len(schema.fields) else replace(schema, fields=tuple(found.values()))


class _Fitting:
    """Columns are picked, and categories coded anew; only where rows may be refused the schema itself reads them."""

    def __init__(self, given: Schema, wanted: Schema) -> None:
        self._given = given
        self._lenient = lenient(wanted)
        self._defaults = [field.default_value for field in wanted.fields]
        self._from = [given.index.get(name, -1) for name in wanted.names]
        self._to = {given.index[name]: position for name, position in wanted.index.items() if name in given.index}
        self._absent = tuple(position for position, at in enumerate(self._from) if at < 0)
        for position in self._absent:
            if self._defaults[position] is None:
                raise SchemaError(f"field {wanted.names[position]!r} is new and has no default")
        shared = [(given.fields[at], wanted.fields[position]) for at, position in self._to.items()]
        for mine, theirs in shared:
            if not _meets(mine, theirs):
                raise SchemaError(f"field {theirs.name!r} is of another type")
        self._takes_all = all(_takes_all(mine, theirs) for mine, theirs in shared)
        self._codes = {
            position: _codes(given.fields[at], wanted.fields[position])
            for at, position in self._to.items()
            if wanted.fields[position].categories != given.fields[at].categories
        }

    def __call__(self, batch: Batch) -> Batch:
        if not self._takes_all:
            return self._row_by_row(batch)
        values = self._picked(batch.values)
        defaulted = self._defaulted(batch, values) if batch.defaulted or self._absent else batch.defaulted
        return Batch(values, batch.context, defaulted, batch.entities, self._degraded(batch))

    def _picked(self, given: Floats) -> Floats:
        values = np.ascontiguousarray(given[:, self._from])
        for position, codes in self._codes.items():
            column = values[:, position]
            values[:, position] = codes[np.where(np.isnan(column), len(codes) - 1, column).astype(np.intp)]
        for position in self._absent:
            values[:, position] = self._defaults[position]
        return values

    def _row_by_row(self, batch: Batch) -> Batch:
        """By the schema's own reader, each row as its caller could have sent it."""
        fields, shared = self._given.fields, self._to
        rows = [
            {fields[at].name: shown(fields[at], values[at]) for at in shared if at not in batch.defaulted.get(row, ())}
            for row, values in enumerate(batch.values.tolist())
        ]
        fitted = read_rows(self._lenient, rows, batch.context)
        return replace(fitted, entities=batch.entities, degraded=self._degraded(batch))

    def _degraded(self, batch: Batch) -> Mapping[int, Sequence[int]]:
        """What is degraded of the fields that the other schema has."""
        shared, found = self._to, {}
        for row, positions in batch.degraded.items():
            if kept := sorted(shared[position] for position in positions if position in shared):
                found[row] = tuple(kept)
        return found

    def _defaulted(self, batch: Batch, values: Floats) -> Mapping[int, Sequence[int]]:
        """The defaults of each row in the other schema, put into its values."""
        found = dict.fromkeys(range(len(batch)), self._absent) if self._absent else {}
        for row, positions in batch.defaulted.items():
            taken = [self._to[position] for position in positions if position in self._to]
            for position in taken:
                default = self._defaults[position]
                if default is None:
                    raise RowsRefused([Problem(row, self._lenient.names[position], "is required")])
                values[row, position] = default
            found[row] = tuple(sorted((*taken, *self._absent)))
        return found


def _used(field: Field) -> Field:
    return replace(field.unstored(), nullable=_may_miss(field))


def _may_miss(field: Field) -> bool:
    default = field.default_value
    may_default = default is not None and math.isnan(default) and not field.indispensable
    return field.nullable or field.unseen == "missing" or may_default


def _meets(mine: Field, theirs: Field) -> bool:
    if mine.type == "category" == theirs.type:
        return type(mine.categories[0]) is type(theirs.categories[0])
    return mine.type == theirs.type or (mine.type, theirs.type) == ("integer", "number")


def _takes_all(mine: Field, theirs: Field) -> bool:
    """Whether every value that one field gives is taken by the other: no row has to be looked at."""
    if _may_miss(mine) and not _may_miss(theirs):
        return False
    if mine.type == "category":
        return theirs.unseen == "missing" or set(mine.categories) <= set(theirs.categories)
    (low, high), (least, most) = mine.bounds, theirs.bounds
    return least <= low and high <= most


def _same(mine: Field, theirs: Field) -> bool:
    """Whether a value that one field gives is the other's as it is, its default too."""
    defaults = mine.default is None or repr(mine.default_value) == repr(theirs.default_value)
    return defaults and _meets(mine, theirs) and mine.categories == theirs.categories and _takes_all(mine, theirs)


def _codes(mine: Field, theirs: Field) -> Floats:
    """The other field's code for each code of one, and at the end for a missing value."""
    return np.array([*(theirs.codes.get(word, math.nan) for word in mine.categories), math.nan])
