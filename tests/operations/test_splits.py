"""What shadow is told apart by: words, and the quarters of numbers, the same for whoever begins anew."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreline.core.schema import Field, Schema
from scoreline.operations.splits import by_numbers, quarters_of, split_by

SCHEMA = Schema(
    (
        Field("age", "integer"),
        Field("amount", "number", nullable=True),
        Field("kind", "category", categories=("car", "van")),
        Field("zone", "category", categories=(7, 9)),
        Field("new", "boolean"),
        replace(Field("many", "category", categories=tuple(map(str, range(201)))), unseen="missing"),
    )
)


@pytest.mark.parametrize(
    ("name", "names"), [("kind", ("car", "van")), ("zone", ("7", "9")), ("new", ("false", "true"))]
)
def test_words_are_told_apart_by_what_they_are(name: str, names: tuple[str, ...]) -> None:
    found = split_by(SCHEMA, name)
    assert found is not None and found.names == names
    assert [found.code(value) for value in (0.0, 1.0, math.nan)] == [0, 1, 2]


@pytest.mark.parametrize("name", ["", "unknown", "many", "age", "amount"])
def test_by_what_is_unknown_or_too_many_or_not_yet_quartered_nothing_is(name: str) -> None:
    assert split_by(SCHEMA, name) is None
    assert by_numbers(SCHEMA, name) == (name in ("age", "amount"))


def test_quarters_of_numbers() -> None:
    quarters = quarters_of(np.array([*range(101), math.nan, math.inf]))
    assert quarters == (25.0, 50.0, 75.0)
    found = split_by(SCHEMA, "amount", quarters)
    assert found is not None and found.names == ("below 25", "25 to 50", "50 to 75", "75 or more")
    codes = [found.code(value) for value in (-math.inf, 24.9, 25.0, 50.0, 74.0, 75.0, 1e9, math.nan)]
    assert codes == [0, 0, 1, 2, 2, 3, 3, 4]


@pytest.mark.parametrize(
    ("numbers", "quarters", "names"),
    [
        ([], (), ("any",)),
        ([math.nan], (), ("any",)),
        ([5.0] * 9, (5.0,), ("below 5", "5 or more")),
        ([0.0, 0.0, 0.0, 8.0], (0.0, 2.0), ("below 0", "0 to 2", "2 or more")),
    ],
)
def test_numbers_that_are_few_have_fewer_quarters(
    numbers: list[float], quarters: tuple[float, ...], names: tuple[str, ...]
) -> None:
    assert quarters_of(np.array(numbers)) == quarters
    found = split_by(SCHEMA, "age", quarters)
    assert found is not None and found.names == names


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=50), st.floats(allow_nan=True))
def test_every_number_is_somewhere(numbers: list[float], value: float) -> None:
    found = split_by(SCHEMA, "amount", quarters_of(np.array(numbers)))
    assert found is not None
    assert 0 <= found.code(value) <= len(found.names)
