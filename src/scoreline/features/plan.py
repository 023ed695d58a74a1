"""What of a schema comes from a feature store: which features of which views, and where they go."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from scoreline.core.schema import Field, Schema

_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Wanted:
    """A field that is looked up: its place among the model's, its name in the store, and how old it may be."""

    position: int
    feature: str
    field: Field
    max_age_ns: float


class Plan:
    """The lookup of a schema; nothing is looked up for one without an entity, or without fields from a store."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        found: dict[str, list[Wanted]] = {}
        for position in schema.store_fields if schema.entity else ():
            field = schema.fields[position]
            age_ns = float("inf") if field.max_age_s is None else field.max_age_s * _NS
            wanted = Wanted(position, field.feature or field.name, field, age_ns)
            found.setdefault(field.view or schema.entity, []).append(wanted)
        self.wanted: Sequence[Sequence[Wanted]] = list(found.values())
        self.views: Mapping[str, Sequence[str]] = {
            view: tuple(dict.fromkeys(one.feature for one in many)) for view, many in found.items()
        }

    @cached_property
    def indispensable(self) -> frozenset[int]:
        """The positions of fields without which a row is refused."""
        return frozenset(at for at in self.schema.store_fields if self.schema.fields[at].indispensable)
