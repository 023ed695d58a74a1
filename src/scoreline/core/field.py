"""One field of a schema: what a value must be, what number it stands for, and where it comes from."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from itertools import chain
from typing import Any, Final, Literal

from scoreline.core.errors import SchemaError

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

    A field whose `source` is the store is looked up as `feature` (empty: its own name) of a `view` (empty: the one
    named as the schema's entity). Values older than `max_age_s` seconds are as good as none. `indispensable`: rows
    without a value are refused; the default only holds its place until it is looked up.
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
    view: str = ""
    feature: str = ""
    max_age_s: float | None = None
    indispensable: bool = False

    def __post_init__(self) -> None:
        for problem in chain(self._wrong_words(), self._wrong_store(), self._wrong_categories(), self._wrong_values()):
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

    def _wrong_store(self) -> Iterator[str]:
        names = self.view, self.feature
        if not all(isinstance(name, str) and len(name) <= MAX_NAME and name.isprintable() for name in names):
            yield "view and feature have 1 to 200 printable characters"
        elif ":" in self.view:
            yield "a view has no colon in its name"
        if not isinstance(self.indispensable, bool):
            yield "indispensable is true or false"
        if self.max_age_s is not None and (not _is_bound(self.max_age_s) or not 0 < self.max_age_s < math.inf):
            yield "max_age_s is a number of seconds above 0"
        if self.source == "request" and (self.view or self.feature or self.max_age_s or self.indispensable):
            yield "only a field from the store has a view, a feature, a maximal age, or is indispensable"

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
            yield "a field from the store needs a default for when the store is down, or is indispensable"
        if self.indispensable and self.default is not None and not self._is_missing(self.default):
            yield "an indispensable field takes no default"
        if self.default is not None and not self._is_missing(self.default):
            problem = self.read(self.default)[1]
            if problem:
                yield f"its own default {problem}"

    def unstored(self) -> "Field":
        """The same field where its values lie at hand, as in reference rows, files and the record."""
        return replace(self, source="request", view="", feature="", max_age_s=None, indispensable=False)

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
        return found | self._stored()

    def _stored(self) -> dict[str, Any]:
        found: dict[str, Any] = {key: text for key in ("view", "feature") if (text := getattr(self, key))}
        if self.max_age_s is not None:
            found["max_age_s"] = self.max_age_s
        return found | {"indispensable": True} if self.indispensable else found

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
        if values.get("indispensable") is True:
            values.setdefault("default", math.nan)
        return cls(name=name, **values)


def _is_bound(bound: object) -> bool:
    if isinstance(bound, int):
        return not isinstance(bound, bool) and abs(bound) <= FLOAT32_MAX
    return bound is None or (isinstance(bound, float) and bound == bound)


def _closed(bound: float | None) -> float | None:
    return None if bound is None or math.isinf(bound) else float(bound)
