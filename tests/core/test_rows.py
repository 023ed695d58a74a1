"""Batches from decoded rows: whole, or refused with every problem."""

import math

import numpy as np
import pytest

from scoreline.core.batch import Context
from scoreline.core.errors import MAX_PROBLEMS, RowsRefused
from scoreline.core.rows import read_rows
from scoreline.core.schema import Field, Schema

SCHEMA = Schema(
    (
        Field("a", "number", nullable=True),
        Field("b", "integer", default=4),
        Field("c", "category", categories=("low", "high")),
    )
)


def test_rows_become_numbers_in_schema_order() -> None:
    context = Context(5, "request-1")
    batch = read_rows(SCHEMA, [{"c": "high", "a": 1.5}, {"b": 7, "a": None, "c": "low"}], context)
    assert np.array_equal(batch.values, [[1.5, 4.0, 1.0], [math.nan, 7.0, 0.0]], equal_nan=True)
    assert batch.values.dtype == np.float64
    assert batch.values.flags.c_contiguous
    assert batch.defaulted == {0: (1,)}
    assert batch.context is context
    assert len(batch) == 2


def test_one_bad_row_refuses_the_batch_and_every_bad_row_is_named() -> None:
    rows = [{"a": 1, "c": "low"}, {"a": "x", "c": "low"}, {"a": 1, "c": "low"}, {"a": 1}, 5]
    with pytest.raises(RowsRefused) as refused:
        read_rows(SCHEMA, rows, Context(0))
    assert [(problem.row, problem.field) for problem in refused.value.problems] == [(1, "a"), (3, "c"), (4, "")]


def test_a_flood_of_problems_is_cut() -> None:
    with pytest.raises(RowsRefused) as refused:
        read_rows(SCHEMA, [{}] * 100_000, Context(0))
    assert len(refused.value.problems) == MAX_PROBLEMS


def test_no_rows_are_an_empty_batch() -> None:
    assert read_rows(SCHEMA, [], Context(0)).values.shape == (0, 3)
