"""A batch fitted to another version's schema is what that version would have read itself."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoreline.core.batch import Batch, Context
from scoreline.core.errors import RowsRefused, SchemaError
from scoreline.core.fitting import fitting
from scoreline.core.rows import read_rows
from scoreline.core.schema import Field, Schema

from .fields import some_fields

CONTEXT = Context(7)


@st.composite
def changed(draw: st.DrawFn, field: Field) -> Field:
    """The field as another version may have it: of the same type, but with other words, bounds and defaults."""
    more: dict[str, Any] = {"nullable": draw(st.booleans()), "description": "of another version"}
    if field.type == "category":
        other = ("new",) if isinstance(field.categories[0], str) else (2**61,)
        words = draw(st.permutations([*field.categories, *other]))
        more["categories"] = tuple(words[: draw(st.integers(1, len(words)))])
        more["default"] = draw(st.none() | st.sampled_from(more["categories"]))
    elif field.type in ("number", "integer"):
        more["minimum"] = draw(st.sampled_from((field.minimum, None, -10_000.0, -5.0)))
        more["maximum"] = draw(st.sampled_from((field.maximum, None, 10_000.0, 5.0)))
        more["default"] = draw(st.none() | st.just(math.nan))
    else:
        more["default"] = draw(st.none() | st.booleans())
    if field.source == "store" and more["default"] is None:
        more["source"] = "request"
    try:
        return replace(field, **more)
    except SchemaError:  # an empty range
        return field


@st.composite
def versions(draw: st.DrawFn) -> tuple[Schema, Schema]:
    """Two versions' schemas: fields in another order, some changed, some gone, some new."""
    pool = draw(st.lists(some_fields(), min_size=2, max_size=6, unique_by=lambda field: field.name))
    old = pool[: draw(st.integers(1, len(pool)))]
    kept = [draw(changed(field) if draw(st.booleans()) else st.just(field)) for field in old if draw(st.integers(0, 4))]
    new = [field for field in pool[len(old) :] if field.default is not None]
    other = draw(st.permutations([*kept, *new])) or old
    return Schema(tuple(old), "about"), Schema(tuple(other), "about")


def values_of(field: Field) -> st.SearchStrategy[Any]:
    """What the field takes."""
    low, high = max(field.bounds[0], -1e4), min(field.bounds[1], 1e4)
    found: st.SearchStrategy[Any] = {
        "category": st.sampled_from(field.categories or ("",)),
        "boolean": st.booleans(),
        "integer": st.integers(math.ceil(low), max(math.ceil(low), math.floor(high))),
        "number": st.floats(min(low, high), high),
    }[field.type]
    return st.none() | found if field.nullable else found


@st.composite
def rows_of(draw: st.DrawFn, schema: Schema) -> list[dict[str, Any]]:
    def row() -> dict[str, Any]:
        sent = [field for field in schema.fields if field.source == "request"]
        return {
            field.name: draw(values_of(field)) for field in sent if field.default is None or draw(st.booleans())
        } | draw(st.sampled_from(({}, {"about": "c-1"})))

    return [row() for _ in range(draw(st.integers(1, 3)))]


def facts(batch: Batch) -> tuple[Any, ...]:
    taken = {row: tuple(positions) for row, positions in batch.defaulted.items() if positions}
    return np.where(np.isnan(batch.values), math.nan, batch.values).tobytes(), taken, list(batch.entities)


@settings(max_examples=600)
@given(versions(), st.data())
def test_it_is_what_the_other_version_reads_itself(both: tuple[Schema, Schema], data: st.DataObject) -> None:
    given_schema, wanted = both
    rows = data.draw(rows_of(given_schema))
    batch = read_rows(given_schema, rows, CONTEXT)
    names = {field.name for field in wanted.fields if field.source == "request"} | {"about"}
    fit = fitting(given_schema, wanted)
    try:
        itself = facts(read_rows(wanted, [{name: row[name] for name in row if name in names} for row in rows], CONTEXT))
    except RowsRefused:
        itself = ()
    try:
        fitted = fit(batch) if fit else batch
    except RowsRefused:
        assert itself == ()
        return
    if itself:
        assert facts(fitted) == itself
    assert fitted.context is CONTEXT


@given(versions())
def test_a_version_that_only_describes_itself_otherwise_needs_no_fitting(both: tuple[Schema, Schema]) -> None:
    schema, _ = both
    assert fitting(schema, schema) is None
    assert fitting(schema, Schema(tuple(replace(field, unit="km") for field in schema.fields))) is None


def test_a_default_is_that_of_the_version_that_scores() -> None:
    one = Schema((Field("a", "number", default=1.0), Field("k", "category", categories=("x", "y"), default="y")))
    two = Schema(
        (
            Field("k", "category", categories=("z", "y", "x"), default="z"),
            Field("n", "number", default=3.0),
            Field("a", "number", default=2.0),
        )
    )
    fit = fitting(one, two)
    assert fit
    found = fit(read_rows(one, [{"a": 5, "k": "x"}, {"a": 5}, {}], CONTEXT))
    assert found.values.tolist() == [[2.0, 3.0, 5.0], [0.0, 3.0, 5.0], [0.0, 3.0, 2.0]]
    assert found.defaulted == {0: (1,), 1: (0, 1), 2: (0, 1, 2)}


def test_a_row_that_the_other_version_does_not_take_is_refused_by_field() -> None:
    one = Schema((Field("a", "number"), Field("k", "category", categories=("x", "y"))))
    two = Schema((Field("a", "number", maximum=9.0), Field("k", "category", categories=("x",))))
    fit = fitting(one, two)
    assert fit
    assert fit(read_rows(one, [{"a": 9, "k": "x"}], CONTEXT)).values.tolist() == [[9.0, 0.0]]
    with pytest.raises(RowsRefused) as caught:
        fit(read_rows(one, [{"a": 9, "k": "x"}, {"a": 10, "k": "y"}], CONTEXT))
    assert [(found.row, found.field) for found in caught.value.problems] == [(1, "a"), (1, "k")]


@pytest.mark.parametrize(
    "other",
    (
        Field("n", "number"),
        Field("a", "boolean"),
        Field("a", "category", categories=("x",)),
    ),
)
def test_versions_that_do_not_fit_are_told_apart_before_any_row(other: Field) -> None:
    with pytest.raises(SchemaError, match=r"is new and has no default|is of another type"):
        fitting(Schema((Field("a", "number"),)), Schema((other,)))
