"""What a row of a model must look like, and the one authority on whether it does.

A `Schema` is part of the sealed manifest. `Schema.row` turns one decoded row into numbers or problems; faster readers
(typed JSON, columns of a file) exist beside it and are held to the same answers by property tests.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import chain, islice
from typing import Any, Final, Literal

from scoreline.core.entities import ENTITY_PROBLEM, entity_of
from scoreline.core.errors import MAX_PROBLEMS, Problem, SchemaError

type_names: Final = ("number", "integer", "boolean", "category")
FieldType = Literal["number", "integer", "boolean", "category"]
Source = Literal["request", "store"]
Unseen = Literal["refuse", "missing"]
Scalar = float | int | str | bool

FLOAT32_MAX: Final = 3.4028234663852886e38
EXACT_INTEGER_MAX: Final = 2**53
MAX_NAME: Final = 200
_BEYOND: Final = 1e300


@dataclass(frozen=True)
class Field:
    """One input of a model.

    `minimum` and `maximum` are refused beyond, in the field's `unit`. `default` is taken where a request leaves the
    field out; NaN as a default means "missing". `reason` is the reviewed text for explanations.
    """

    name: str
    type: FieldType
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None
    categories: tuple[str, ...] | tuple[int, ...] = ()
    nullable: bool = False
    default: Scalar | None = None
    source: Source = "request"
    description: str = ""
    reason: str = ""
    sensitive: bool = False
    unseen: Unseen = "refuse"

    def __post_init__(self) -> None:
        for problem in chain(self._wrong_words(), self._wrong_categories(), self._wrong_values()):
            raise SchemaError(f"field {self.name!r}: {problem}")

    def _wrong_words(self) -> Iterator[str]:
        if not isinstance(self.name, str) or not 1 <= len(self.name) <= MAX_NAME or not self.name.isprintable():
            yield "a name has 1 to 200 printable characters"
        if self.type not in type_names:
            yield f"type must be one of {', '.join(type_names)}"
        if self.source not in ("request", "store"):
            yield "source must be request or store"
        if self.unseen not in ("refuse", "missing"):
            yield "unseen must be refuse or missing"
        if not all(isinstance(text, str) for text in (self.unit, self.description, self.reason)):
            yield "unit, description and reason are texts"
        if not all(isinstance(flag, bool) for flag in (self.nullable, self.sensitive)):
            yield "nullable and sensitive are true or false"

    def _wrong_categories(self) -> Iterator[str]:
        kinds = {type(category) for category in self.categories}
        if not kinds <= {str, int} or len(kinds) > 1:
            yield "categories are all texts or all integers"
        if self.type != "category" and (self.categories or self.unseen == "missing"):
            yield "only a category field has categories, seen or unseen"
        if self.type == "category" and (not self.categories or len(set(self.categories)) != len(self.categories)):
            yield "a category field lists its categories, each once"

    def _wrong_values(self) -> Iterator[str]:
        low, high = self.bounds
        if self.type in ("boolean", "category") and (self.minimum is not None or self.maximum is not None):
            yield "only a number or an integer has a range"
        if not low <= high or (self.type == "integer" and math.ceil(low) > math.floor(high)):
            yield "its range is empty, or beyond what the model can hold"
        if self.source == "store" and self.default is None:
            yield "a field from the store needs a default for when the store is down"
        if self.default is not None and not self._is_missing(self.default):
            problem = self.read(self.default)[1]
            if problem:
                yield f"its own default {problem}"

    @cached_property
    def bounds(self) -> tuple[float, float]:
        """The smallest and largest value accepted: the declared range within what the engines hold exactly."""
        widest = EXACT_INTEGER_MAX if self.type == "integer" else FLOAT32_MAX
        low = -widest if self.minimum is None else max(self.minimum, -widest)
        high = widest if self.maximum is None else min(self.maximum, widest)
        return low, high

    @cached_property
    def default_value(self) -> float | None:
        """The default as the model sees it (NaN: missing), None where there is none."""
        if self.default is None:
            return None
        return math.nan if self._is_missing(self.default) else self.read(self.default)[0]

    def read(self, value: object) -> tuple[float, str]:
        """The number a value stands for and an empty text, or NaN and what is wrong with it."""
        if value is None:
            return math.nan, "" if self.nullable else "must not be null"
        if self.type == "category":
            return self._read_category(value)
        if self.type == "boolean":
            return (float(value), "") if isinstance(value, bool) else (math.nan, "must be true or false")
        if isinstance(value, bool) or not isinstance(value, int | float):
            return math.nan, "must be an integer" if self.type == "integer" else "must be a number"
        return self._read_number(value)

    def _read_number(self, value: int | float) -> tuple[float, str]:
        low, high = self.bounds
        if isinstance(value, float) and not math.isfinite(value):
            return math.nan, "must be finite"
        if self.type == "integer" and value != int(value):
            return math.nan, "must be an integer"
        if self.type == "number":  # the range is on what the model sees; beyond float64 any number is as much too large
            value = float(max(-_BEYOND, min(value, _BEYOND)))
        if not low <= value <= high:
            return math.nan, self._range_problem(value)
        return float(value), ""

    def _range_problem(self, value: float) -> str:
        if self.minimum is not None and value < self.minimum:
            return f"must be at least {self.minimum:.15g}"
        if self.maximum is not None and value > self.maximum:
            return f"must be at most {self.maximum:.15g}"
        return "is too large to be held exactly" if self.type == "integer" else "is too large"

    def _read_category(self, value: object) -> tuple[float, str]:
        kind = type(self.categories[0])
        if type(value) is not kind:
            return math.nan, "must be a text" if kind is str else "must be an integer"
        code = self.codes.get(value)
        if code is not None:
            return code, ""
        if self.unseen == "missing":
            return math.nan, ""
        return math.nan, f"must be one of the model's {len(self.categories)} categories"

    @cached_property
    def codes(self) -> dict[object, float]:
        """Category to code, in the order the model was trained with."""
        return {category: float(code) for code, category in enumerate(self.categories)}

    @staticmethod
    def _is_missing(default: Scalar) -> bool:
        return isinstance(default, float) and math.isnan(default)

    def to_json(self) -> dict[str, Any]:
        """The field as plain JSON; what equals its default is left out. `Field.from_json(f.to_json()) == f`."""
        found: dict[str, Any] = {"name": self.name, "type": self.type}
        if self.minimum is not None or self.maximum is not None:
            found["range"] = [self.minimum, self.maximum]
        if self.categories:
            found["categories"] = list(self.categories)
        if self.default is not None:
            found["default"] = "missing" if self._is_missing(self.default) else {"value": self.default}
        for key in ("unit", "description", "reason"):
            if getattr(self, key):
                found[key] = getattr(self, key)
        for key in ("nullable", "sensitive"):
            if getattr(self, key):
                found[key] = True
        if self.source != "request":
            found["source"] = self.source
        if self.unseen != "refuse":
            found["unseen"] = self.unseen
        return found

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "Field":
        """The field that `to_json` wrote; raises SchemaError."""
        settings = {key: value for key, value in found.items() if key not in ("name", "default")}
        if "default" in found:
            settings["default"] = math.nan if found["default"] == "missing" else found["default"]["value"]
        return cls.from_settings(found["name"], settings)

    @classmethod
    def from_settings(cls, name: str, settings: Mapping[str, Any]) -> "Field":
        """The field a `[fields.NAME]` table of schema.toml declares; raises SchemaError."""
        known = {"range", *(field.name for field in fields(cls))} - {"name", "minimum", "maximum"}
        unknown = sorted(set(settings) - known)
        if unknown:
            raise SchemaError(f"field {name!r}: unknown setting {unknown[0]!r}; known: {', '.join(sorted(known))}")
        values = dict(settings)
        if "range" in values:
            bounds = values.pop("range")
            if not isinstance(bounds, list) or len(bounds) != 2 or not all(_is_bound(bound) for bound in bounds):
                raise SchemaError(f"field {name!r}: range is [least, greatest]; inf for an open end")
            values["minimum"], values["maximum"] = (_closed(bound) for bound in bounds)
        if "categories" in values:
            if not isinstance(values["categories"], list):
                raise SchemaError(f"field {name!r}: categories is a list")
            values["categories"] = tuple(values["categories"])
        return cls(name=name, **values)


def _is_bound(bound: object) -> bool:
    if isinstance(bound, int):
        return not isinstance(bound, bool) and abs(bound) <= FLOAT32_MAX
    return bound is None or (isinstance(bound, float) and bound == bound)


def _closed(bound: float | None) -> float | None:
    return None if bound is None or math.isinf(bound) else float(bound)


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
        problems = [Problem(number, printable(name), "is not a field of this model") for name in unknown]
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

    def to_json(self) -> list[dict[str, Any]]:
        return [field.to_json() for field in self.fields]

    @classmethod
    def from_json(cls, found: Sequence[Mapping[str, Any]], entity: str = "") -> "Schema":
        return cls(tuple(Field.from_json(field) for field in found), entity)


def printable(name: object) -> str:
    """A caller's own field name, cut and cleaned so that it can stand in an answer or a log."""
    text = str(name)[:64]
    return "".join(char if char.isprintable() else "?" for char in text)
