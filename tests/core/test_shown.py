"""What a field shows of a number is what a caller may send for it."""

import math
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from core.fields import some_fields
from scoreline.core.schema import Field
from scoreline.core.shown import is_category, shown, shown_column


def numbers_of(field: Field) -> st.SearchStrategy[Any]:
    """Numbers a row of this field may hold."""
    if field.type == "category":
        return st.integers(0, len(field.categories) - 1).map(float) | st.just(math.nan)
    if field.type == "boolean":
        return st.sampled_from((0.0, 1.0, math.nan))
    low, high = (max(-1e6, min(bound, 1e6)) for bound in field.bounds)
    if field.type == "integer":
        return st.integers(math.ceil(low), math.floor(high)).map(float) | st.just(math.nan)
    return st.floats(low, high) | st.just(math.nan)


@given(st.data())
def test_a_number_comes_back_as_what_it_was_sent_as(data: st.DataObject) -> None:
    field = data.draw(some_fields())
    number = data.draw(numbers_of(field))
    value = shown(field, number)
    if math.isnan(number):
        assert value is None
    else:
        again, problem = field.read(value)
        assert (problem, again) == ("", number)


@given(st.data())
def test_a_column_shows_what_its_numbers_do(data: st.DataObject) -> None:
    field = data.draw(some_fields())
    numbers = data.draw(st.lists(numbers_of(field), max_size=5))
    column = shown_column(field, np.array(numbers))
    if field.type in ("number", "integer"):
        np.testing.assert_array_equal(column, numbers)
    else:
        assert list(column) == [shown(field, number) for number in numbers]


def test_only_codes_are_categories() -> None:
    field = Field("k", "category", categories=("a", "b"))
    taken = [
        number for number in (-1.0, 0.0, 0.5, 1.0, 2.0, math.inf, -math.inf, math.nan) if is_category(field, number)
    ]
    assert str(taken) == "[0.0, 1.0, nan]"


def test_a_number_that_no_field_takes_is_shown_all_the_same() -> None:
    assert shown(Field("n", "integer"), math.inf) == math.inf
    assert shown(Field("n", "number"), 1e300) == 1e300
