"""Whom a row is about: what says it, and that the hash kept of it cannot be tried without the key."""

import pytest

from scoreline.core.entities import entity_hash, entity_of
from scoreline.core.errors import SchemaError
from scoreline.core.schema import Field, Schema

KEY = b"k" * 32


@pytest.mark.parametrize(
    ("value", "entity"),
    (
        *(("c-1", "c-1"), ("Zoë 7", "Zoë 7"), (42, "42"), (42.0, "42"), (-3, "-3"), ("42", "42"), (None, "")),
        *((value, None) for value in ("", "x" * 201, "a\nb", "\ud800", True, 1.5, float("nan"), 1e300, 2**60, [], {})),
    ),
)
def test_an_entity_is_a_short_text_or_an_integer(value: object, entity: str | None) -> None:
    assert entity_of(value) == entity


def test_the_hash_is_of_the_entity_and_the_key_and_of_nothing_there_is_none() -> None:
    assert len(entity_hash("c-1", KEY)) == 16
    assert entity_hash("c-1", KEY) == entity_hash("c-1", KEY)
    assert len({entity_hash("c-1", KEY), entity_hash("c-2", KEY), entity_hash("c-1", b"other" * 6)}) == 3
    assert entity_hash("", KEY) == b""


def test_a_field_of_the_model_is_not_its_entity() -> None:
    with pytest.raises(SchemaError, match="beside the fields"):
        Schema((Field("customer", "number"),), "customer")
