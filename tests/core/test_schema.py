"""The schema: what it refuses to be, and what it makes of rows."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreline.core.errors import SchemaError
from scoreline.core.manifest import canonical_json
from scoreline.core.schema import EXACT_INTEGER_MAX, FLOAT32_MAX, Field, Schema, printable

from .fields import some_fields, texts

# Fields ---------------------------------------------------------------------------------------------------------------


def same(one: Field, other: Field) -> bool:
    """Equality that also holds for NaN as a default."""
    return repr(one) == repr(other)


@given(some_fields())
def test_field_survives_json(field: Field) -> None:
    assert same(Field.from_json(json.loads(canonical_json(field.to_json()))), field)


@given(st.lists(some_fields(), min_size=1, max_size=5, unique_by=lambda field: field.name))
def test_schema_survives_json(fields: list[Field]) -> None:
    schema = Schema(tuple(fields))
    assert repr(Schema.from_json(json.loads(canonical_json(schema.to_json())))) == repr(schema)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"type": "float"}, "type must be one of number, integer, boolean, category"),
        ({"type": "category", "categories": ["a"], "source": "cache"}, "source must be request or store"),
        ({"type": "category", "categories": ["a"], "unseen": "other"}, "unseen must be refuse or missing"),
        ({"type": "number", "unit": 5}, "unit, description and reason are texts"),
        ({"type": "number", "description": None}, "unit, description and reason are texts"),
        ({"type": "number", "nullable": 1}, "nullable and sensitive are true or false"),
        ({"type": "number", "sensitive": "yes"}, "nullable and sensitive are true or false"),
        ({"type": "number", "categories": ["a"]}, "only a category field has categories"),
        ({"type": "boolean", "unseen": "missing"}, "only a category field has categories, seen or unseen"),
        ({"type": "category"}, "a category field lists its categories, each once"),
        ({"type": "category", "categories": []}, "a category field lists its categories, each once"),
        ({"type": "category", "categories": ["a", "a"]}, "a category field lists its categories, each once"),
        ({"type": "category", "categories": ["a", 1]}, "categories are all texts or all integers"),
        ({"type": "category", "categories": [1.0, 2.0]}, "categories are all texts or all integers"),
        ({"type": "category", "categories": [True, False]}, "categories are all texts or all integers"),
        ({"type": "category", "categories": [["a"]]}, "categories are all texts or all integers"),
        ({"type": "category", "categories": [None]}, "categories are all texts or all integers"),
        ({"type": "category", "categories": "abc"}, "categories is a list"),
        ({"type": "boolean", "range": [0, 1]}, "only a number or an integer has a range"),
        ({"type": "category", "categories": ["a"], "range": [0, 1]}, "only a number or an integer has a range"),
        ({"type": "number", "range": [1, 0]}, "its range is empty"),
        ({"type": "number", "range": [1e39, math.inf]}, "its range is empty, or beyond what the model can hold"),
        ({"type": "integer", "range": [2.0**54, math.inf]}, "its range is empty, or beyond what the model can hold"),
        ({"type": "number", "range": [0]}, "range is [least, greatest]"),
        ({"type": "number", "range": [0, math.nan]}, "range is [least, greatest]"),
        ({"type": "number", "range": [0, True]}, "range is [least, greatest]"),
        ({"type": "number", "range": [0, 10**400]}, "range is [least, greatest]"),
        ({"type": "number", "range": "0-1"}, "range is [least, greatest]"),
        ({"type": "number", "source": "store"}, "a field from the store needs a default"),
        ({"type": "number", "default": "5"}, "its own default must be a number"),
        ({"type": "number", "default": True}, "its own default must be a number"),
        ({"type": "number", "default": math.inf}, "its own default must be finite"),
        ({"type": "number", "range": [0, 1], "default": 2}, "its own default must be at most 1"),
        ({"type": "integer", "default": 1.5}, "its own default must be an integer"),
        ({"type": "boolean", "default": 1}, "its own default must be true or false"),
        ({"type": "category", "categories": ["a"], "default": "b"}, "its own default must be one of the model's 1"),
        ({"type": "number", "colour": "red"}, "unknown setting 'colour'; known: categories, default, description,"),
        ({"type": "number", "minimum": 0}, "unknown setting 'minimum'"),
        ({"type": "number", "name": "other"}, "unknown setting 'name'"),
    ],
)
def test_contradictory_field_is_refused_with_the_reason(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(SchemaError, match="field 'x'") as refused:
        Field.from_settings("x", settings)
    assert problem in str(refused.value)


@pytest.mark.parametrize("name", ["", "a\nb", "a\0", "x" * 201])
def test_names_that_cannot_be_shown_are_refused(name: str) -> None:
    with pytest.raises(SchemaError, match="1 to 200 printable characters"):
        Field(name, "number")


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from([10**400, -(10**400)]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=5,
)
setting_names = st.sampled_from(
    ["type", "unit", "range", "categories", "nullable", "default", "source", "description", "sensitive", "unseen"]
)


@given(
    st.sampled_from(["number", "integer", "boolean", "category"]),
    st.dictionaries(setting_names, json_values, max_size=4),
)
def test_whatever_a_file_declares_is_a_field_or_a_refusal(kind: str, settings: dict[str, Any]) -> None:
    try:
        field = Field.from_settings("x", {"type": kind, **settings})
    except SchemaError:
        return
    assert same(Field.from_json(field.to_json()), field)


def test_open_end_of_a_range_stays_within_what_the_model_holds() -> None:
    field = Field.from_settings("x", {"type": "number", "range": [0, math.inf]})
    assert (field.minimum, field.maximum) == (0.0, None)
    assert field.bounds == (0.0, FLOAT32_MAX)
    assert field.to_json()["range"] == [0.0, None]


def test_schema_has_fields_with_names_of_their_own() -> None:
    with pytest.raises(SchemaError, match="at least one field"):
        Schema(())
    with pytest.raises(SchemaError, match="the same name"):
        Schema((Field("a", "number"), Field("a", "integer")))


# Rows -----------------------------------------------------------------------------------------------------------------

NUMBER = Field("x", "number")
RANGED = Field("x", "number", minimum=0.5, maximum=10.0)
INTEGER = Field("x", "integer")
BOOLEAN = Field("x", "boolean")
CATEGORY = Field("x", "category", categories=("low", "high"))
CODED = Field("x", "category", categories=(30, -10))
NULLABLE = Field("x", "number", nullable=True)
LENIENT = Field("x", "category", categories=("low", "high"), unseen="missing")


@pytest.mark.parametrize(
    ("field", "given_value", "seen"),
    [
        (NUMBER, 1.5, 1.5),
        (NUMBER, 3, 3.0),
        (NUMBER, -0.0, -0.0),
        (NUMBER, 2**60, 2.0**60),
        (NUMBER, FLOAT32_MAX, FLOAT32_MAX),
        (NUMBER, 5e-324, 5e-324),
        (RANGED, 0.5, 0.5),
        (RANGED, 10, 10.0),
        (INTEGER, 7, 7.0),
        (INTEGER, 3.0, 3.0),
        (INTEGER, 2**53, 2.0**53),
        (INTEGER, -(2**53), -(2.0**53)),
        (BOOLEAN, True, 1.0),
        (BOOLEAN, False, 0.0),
        (CATEGORY, "low", 0.0),
        (CATEGORY, "high", 1.0),
        (CODED, 30, 0.0),
        (CODED, -10, 1.0),
        (NULLABLE, None, math.nan),
        (LENIENT, "unheard-of", math.nan),
    ],
)
def test_good_value_is_the_number_the_model_was_trained_on(field: Field, given_value: object, seen: float) -> None:
    values, defaulted, problems = Schema((field,)).row({"x": given_value})
    assert problems == []
    assert defaulted == ()
    assert repr(values) == repr([seen])  # repr: tells -0.0 from 0.0, and NaN equals NaN


@pytest.mark.parametrize(
    ("field", "given_value", "problem"),
    [
        (NUMBER, None, "must not be null"),
        (NUMBER, True, "must be a number"),
        (NUMBER, "1.5", "must be a number"),
        (NUMBER, [1.5], "must be a number"),
        (NUMBER, {"value": 1.5}, "must be a number"),
        (NUMBER, math.inf, "must be finite"),
        (NUMBER, -math.inf, "must be finite"),
        (NUMBER, math.nan, "must be finite"),
        (NUMBER, 1e39, "is too large"),
        (NUMBER, -1e300, "is too large"),
        (NUMBER, 10**400, "is too large"),
        (RANGED, 0.4999, "must be at least 0.5"),
        (RANGED, 10.0000001, "must be at most 10"),
        (RANGED, 10**400, "must be at most 10"),
        (INTEGER, 3.5, "must be an integer"),
        (INTEGER, "3", "must be an integer"),
        (INTEGER, False, "must be an integer"),
        (INTEGER, math.inf, "must be finite"),
        (INTEGER, 2**53 + 1, "is too large to be held exactly"),
        (INTEGER, -(2**53) - 1, "is too large to be held exactly"),
        (INTEGER, 10**400, "is too large to be held exactly"),
        (INTEGER, 1e300, "is too large to be held exactly"),
        (BOOLEAN, 1, "must be true or false"),
        (BOOLEAN, "true", "must be true or false"),
        (BOOLEAN, None, "must not be null"),
        (CATEGORY, "Low", "must be one of the model's 2 categories"),
        (CATEGORY, 0, "must be a text"),
        (CATEGORY, ["low"], "must be a text"),
        (CATEGORY, None, "must not be null"),
        (CODED, 31, "must be one of the model's 2 categories"),
        (CODED, "30", "must be an integer"),
        (CODED, 30.0, "must be an integer"),
        (CODED, True, "must be an integer"),
        (LENIENT, 5, "must be a text"),
        (NULLABLE, "null", "must be a number"),
    ],
)
def test_bad_value_is_named_by_field_and_never_repeated(field: Field, given_value: object, problem: str) -> None:
    _, _, problems = Schema((field,)).row({"x": given_value}, 7)
    assert [(found.row, found.field, found.problem) for found in problems] == [(7, "x", problem)]


def test_bounds_in_messages_are_exact() -> None:
    _, _, problems = Schema((Field("x", "number", minimum=1_234_567.25),)).row({"x": 0})
    assert problems[0].problem == "must be at least 1234567.25"


def test_all_problems_are_told_at_once() -> None:
    schema = Schema((Field("a", "number"), Field("b", "boolean"), Field("c", "integer"), Field("d", "integer")))
    values, _, problems = schema.row({"a": "secret-1", "b": 3, "d": 4, "zz": "secret-2", "zzz": None})
    assert {(problem.field, problem.problem) for problem in problems} == {
        ("a", "must be a number"),
        ("b", "must be true or false"),
        ("c", "is required"),
        ("zz", "is not a field of this model"),
        ("zzz", "is not a field of this model"),
    }
    assert len(values) == 4
    assert "secret" not in repr(problems)


@pytest.mark.parametrize("given_row", [None, 5, "text", [1.0], True])
def test_row_that_is_not_an_object_is_refused(given_row: object) -> None:
    _, _, problems = Schema((NUMBER,)).row(given_row, 3)
    assert [(found.row, found.field, found.problem) for found in problems] == [(3, "", "must be an object of fields")]


@given(st.lists(some_fields(), min_size=1, max_size=4, unique_by=lambda field: field.name), st.data())
def test_answer_to_any_row_carries_none_of_its_values(fields: list[Field], data: st.DataObject) -> None:
    """A long text as value of every field, known or not, is never part of a problem."""
    secret = "sesame-0123456789"
    schema = Schema(tuple(fields))
    names = data.draw(st.lists(st.sampled_from(schema.names) | texts, unique=True))
    values, _, problems = schema.row(dict.fromkeys(names, secret))
    assert secret not in repr(problems)
    for number, field in zip(values, schema.fields, strict=True):
        took_default = field.name not in names or field.source == "store"
        assert math.isnan(number) or (took_default and number == field.default_value)


@given(some_fields(), st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3))
def test_every_accepted_number_lies_within_the_bounds(field: Field, value: object) -> None:
    number, problem = field.read(value)
    if problem or math.isnan(number):
        assert math.isnan(number)
    elif field.type in ("number", "integer"):
        low, high = field.bounds
        assert low <= number <= high
        assert number == value
        assert field.type == "number" or (number.is_integer() and abs(number) <= EXACT_INTEGER_MAX)


def test_missing_field_takes_its_default_and_is_listed() -> None:
    schema = Schema(
        (
            Field("a", "number", default=2.5),
            Field("b", "number", default=math.nan),
            Field("c", "category", categories=("low", "high"), default="high"),
            Field("d", "boolean", default=True),
            Field("e", "number"),
        )
    )
    values, defaulted, problems = schema.row({"e": 1})
    assert problems == []
    assert repr(values) == repr([2.5, math.nan, 1.0, 1.0, 1.0])
    assert defaulted == (0, 1, 2, 3)


def test_null_does_not_take_the_default() -> None:
    _, _, problems = Schema((Field("a", "number", default=2.5),)).row({"a": None})
    assert [problem.problem for problem in problems] == ["must not be null"]
    values, defaulted, _ = Schema((Field("a", "number", default=2.5, nullable=True),)).row({"a": None})
    assert math.isnan(values[0])
    assert defaulted == ()


def test_store_field_takes_its_default_and_is_refused_from_the_caller() -> None:
    schema = Schema((Field("a", "number"), Field("visits", "number", source="store", default=3.0)))
    assert schema.store_fields == (1,)
    assert schema.row({"a": 1.0}) == ([1.0, 3.0], (1,), [])
    _, _, problems = schema.row({"a": 1.0, "visits": 9.0})
    (problem,) = problems
    assert (problem.field, problem.problem) == ("visits", "comes from the feature store: leave it out")


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"view": "customer"}, "only a field from the store has a view"),
        ({"source": "store", "default": 1.0, "view": "a:b"}, "a view has no colon"),
        ({"source": "store", "default": 1.0, "feature": "a\n"}, "printable characters"),
        ({"source": "store", "default": 1.0, "max_age_s": 0}, "max_age_s is a number of seconds above 0"),
        ({"source": "store", "default": 1.0, "max_age_s": True}, "max_age_s is a number of seconds above 0"),
        ({"source": "store", "default": 1.0, "indispensable": True}, "an indispensable field takes no default"),
        ({"source": "store", "indispensable": "yes"}, "indispensable is true or false"),
    ],
)
def test_a_lookup_that_makes_no_sense_is_refused(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(SchemaError, match=problem):
        Field.from_settings("visits", {"type": "number", **settings})


def test_an_indispensable_field_needs_no_default_and_comes_back_as_it_was() -> None:
    settings = {"type": "number", "source": "store", "view": "customer", "feature": "n", "max_age_s": 60}
    field = Field.from_settings("visits", settings | {"indispensable": True})
    assert field.default_value is not None and math.isnan(field.default_value)
    again = Field.from_json(field.to_json())
    assert repr(again) == repr(field)


def test_unknown_names_are_cut_and_cleaned_before_they_are_told() -> None:
    assert printable("a\nb\x1b[31m") == "a?b?[31m"
    assert len(printable("x" * 1000)) == 64
    _, _, problems = Schema((Field("a", "number", default=1.0),)).row({"\ud800" * 100: 1})
    assert problems[0].field == "?" * 64
