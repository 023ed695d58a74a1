"""What a row of a model must look like, and the one authority on whether it does.

A `Schema` is part of the sealed manifest. `Schema.row` turns one decoded row into numbers or problems; faster readers
(typed JSON, columns of a file) exist beside it and are held to the same answers by property tests.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

from scoreline.core.entities import ENTITY_PROBLEM, entity_of
from scoreline.core.errors import MAX_PROBLEMS, Problem, SchemaError
from scoreline.core.field import EXACT_INTEGER_MAX, FLOAT32_MAX, MAX_NAME, Field, Scalar, Unseen

__all__ = ["EXACT_INTEGER_MAX", "FLOAT32_MAX", "Field", "Scalar", "Schema", "Unseen", "printable"]


@dataclass(frozen=True)
class Schema:
    """The fields of a model, in the order of its features.

    `entity` is the name under which a row may say whom it is about (a customer, a policy), beside its fields; empty:
    rows of this model do not say.
    """

    fields: tuple[Field, ...]
    entity: str = ""

    def __post_init__(self) -> None:
        if not self.fields:
            raise SchemaError("a schema has at least one field")
        names = [field.name for field in self.fields]
        if len(set(names)) != len(names):
            raise SchemaError("two fields have the same name")
        if self.entity in names:
            raise SchemaError(f"{self.entity!r} is a field of the model; the entity is told beside the fields")
        if self.entity and (len(self.entity) > MAX_NAME or not self.entity.isprintable()):
            raise SchemaError("the entity's name has 1 to 200 printable characters")

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(field.name for field in self.fields)

    @cached_property
    def index(self) -> dict[str, int]:
        return {name: position for position, name in enumerate(self.names)}

    @cached_property
    def store_fields(self) -> tuple[int, ...]:
        """Positions of the fields a feature store provides."""
        return tuple(position for position, field in enumerate(self.fields) if field.source == "store")

    def row(self, given: object, number: int = 0) -> tuple[list[float], tuple[int, ...], list[Problem]]:
        """One decoded row as numbers in schema order, the positions that took their default, and every problem.

        `given` is a mapping of field name to value, as a request brings it; `number` is the row's place in it.
        """
        if not isinstance(given, Mapping):
            return [], (), [Problem(number, "", "must be an object of fields")]
        unknown = islice(filter(self.unknown, given), MAX_PROBLEMS)
        problems = [Problem(number, printable(name), self._refusal(name)) for name in unknown]
        if self.entity in given and entity_of(given[self.entity]) is None:
            problems.append(Problem(number, self.entity, ENTITY_PROBLEM))
        values: list[float] = []
        defaulted: list[int] = []
        for position, field in enumerate(self.fields):
            if field.source == "store" or field.name not in given:
                default = field.default_value
                if default is None:
                    problems.append(Problem(number, field.name, "is required"))
                    default = math.nan
                defaulted.append(position)
                values.append(default)
                continue
            value, problem = field.read(given[field.name])
            if problem:
                problems.append(Problem(number, field.name, problem))
            values.append(value)
        return values, tuple(defaulted), problems

    def unknown(self, name: str) -> bool:
        """Whether a row may not bring this name."""
        position = self.index.get(name)
        return name != (self.entity or None) if position is None else self.fields[position].source == "store"

    def _refusal(self, name: object) -> str:
        return "comes from the feature store: leave it out" if name in self.index else "is not a field of this model"

    def to_json(self) -> list[dict[str, Any]]:
        return [field.to_json() for field in self.fields]

    @classmethod
    def from_json(cls, found: Sequence[Mapping[str, Any]], entity: str = "") -> "Schema":
        return cls(tuple(Field.from_json(field) for field in found), entity)


def printable(name: object) -> str:
    """A caller's own field name, cut and cleaned so that it can stand in an answer or a log."""
    text = str(name)[:64]
    return "".join(char if char.isprintable() else "?" for char in text)
