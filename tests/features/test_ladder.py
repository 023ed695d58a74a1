"""What a row gets: fresh, looked up earlier, its default, or a refusal; and what a store that does not answer costs."""

import asyncio
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreline.core.batch import Batch, Context
from scoreline.core.errors import FeaturesMissing, RowsRefused, StoreDown
from scoreline.core.ports import FeatureRow, Looked, Views
from scoreline.core.rows import read_rows
from scoreline.core.schema import Field, Schema
from scoreline.features.known import Known
from scoreline.features.ladder import Ladder, Lookup

NOW_NS = 1_800_000_000_000_000_000
MINUTE_NS = 60 * 10**9
AMOUNT = Field("amount", "number")
VISITS = Field("visits", "integer", source="store", default=3, max_age_s=60.0)
WORD = Field("word", "category", categories=("a", "b"), source="store", default="a", view="words", feature="w")
SCHEMA = Schema((AMOUNT, VISITS, WORD), "customer")
NEEDED = Schema((AMOUNT, Field("visits", "integer", source="store", indispensable=True, default=math.nan)), "customer")
BUDGET_S = 0.05


class Shelf:
    """A store in memory that answers, raises or hangs as a test likes; it counts who asks."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], FeatureRow] = {}
        self.down = self.hangs = False
        self.asked = 0

    def put(self, view: str, entity: str, age_ns: int = 0, **values: Any) -> None:
        self.rows[view, entity] = FeatureRow(entity, NOW_NS - age_ns, values)

    def get(self, views: Views, entities: Sequence[str]) -> Looked:
        if self.down:
            raise StoreDown("it is down")
        return [[self.rows.get((view, entity)) for view in views] for entity in entities]

    async def aget(self, views: Views, entities: Sequence[str]) -> Looked:
        self.asked += 1
        if self.hangs:
            await asyncio.Event().wait()
        return self.get(views, entities)

    async def aclose(self) -> None: ...


def ladder_over(shelf: Shelf, known: int = 100) -> Ladder:
    return Ladder(shelf, Known(known), lambda: NOW_NS)


def lookup_over(shelf: Shelf, schema: Schema = SCHEMA) -> Lookup:
    found = ladder_over(shelf).looking(schema, BUDGET_S)
    assert found is not None
    return found


def rows_for(*customers: str, schema: Schema = SCHEMA) -> Batch:
    return read_rows(schema, [{"amount": 1.0, "customer": customer or None} for customer in customers], Context(1))


def both(lookup: Lookup, batch: Batch) -> Batch:
    """What both twins make of a batch, which is the same."""
    found, in_time = lookup.all(batch), asyncio.run(lookup.in_time(batch))
    assert found.values.tobytes() == in_time.values.tobytes()
    assert (found.defaulted, found.degraded) == (in_time.defaulted, in_time.degraded)
    return found


def test_what_is_fresh_is_used_and_what_was_read_stays_as_it_was() -> None:
    shelf, batch = Shelf(), rows_for("anna")
    shelf.put("customer", "anna", visits=12)
    shelf.put("words", "anna", w="b")
    found = both(lookup_over(shelf), batch)
    assert found.values.tolist() == [[1.0, 12.0, 1.0]]
    assert (found.defaulted, found.degraded) == ({}, {})
    assert batch.values.tolist() == [[1.0, 3.0, 0.0]]
    assert batch.defaulted == {0: (1, 2)}


def test_who_is_not_in_the_store_or_not_told_gets_defaults_and_nothing_is_degraded() -> None:
    shelf = Shelf()
    shelf.put("words", "anna", w="b")
    found = both(lookup_over(shelf), rows_for("anna", "nobody", ""))
    assert found.values.tolist() == [[1.0, 3.0, 1.0], [1.0, 3.0, 0.0], [1.0, 3.0, 0.0]]
    assert found.defaulted == {0: (1,), 1: (1, 2), 2: (1, 2)}
    assert found.degraded == {}


@pytest.mark.parametrize("unfit", [1.5, "12", True, None, 1e300, [12], {"n": 1}])
def test_a_value_that_the_field_does_not_take_is_as_good_as_none_and_counted(unfit: Any) -> None:
    shelf = Shelf()
    shelf.put("customer", "anna", visits=unfit)
    ladder = ladder_over(shelf)
    lookup = ladder.looking(SCHEMA, BUDGET_S)
    assert lookup is not None
    found = lookup.all(rows_for("anna"))
    assert found.values[0, 1] == 3.0
    assert ladder.counts == {"unfit": 1, "absent": 1}


def test_a_value_older_than_its_field_allows_is_not_used_and_the_row_is_degraded() -> None:
    shelf = Shelf()
    shelf.put("customer", "anna", MINUTE_NS + 1, visits=12)
    shelf.put("customer", "ben", MINUTE_NS, visits=12)
    shelf.put("words", "anna", 10**6 * MINUTE_NS, w="b")
    found = both(lookup_over(shelf), rows_for("ben", "anna"))
    assert found.values[:, 1].tolist() == [12.0, 3.0]
    assert found.values[1, 2] == 1.0, "a field without a maximal age takes any"
    assert found.degraded == {1: (1,)}


def test_a_store_that_is_down_is_answered_for_by_what_was_looked_up_while_it_is_young_enough() -> None:
    shelf = Shelf()
    now_ns = NOW_NS
    ladder = Ladder(shelf, Known(100), lambda: now_ns)
    lookup = ladder.looking(SCHEMA, BUDGET_S)
    assert lookup is not None
    shelf.put("customer", "anna", visits=12)

    async def ask() -> Batch:
        return await lookup.in_time(rows_for("anna", "ben", ""))

    async def told() -> list[Batch]:
        nonlocal now_ns
        fresh = await ask()
        shelf.down = True
        young = await ask()
        now_ns += MINUTE_NS + 1
        return [fresh, young, await ask()]

    fresh, young, old = asyncio.run(told())
    assert fresh.degraded == {}
    assert young.values[:, 1].tolist() == [12.0, 3.0, 3.0]
    assert old.values[:, 1].tolist() == [3.0, 3.0, 3.0]
    for found in (young, old):
        assert found.degraded == {0: (1, 2), 1: (1, 2)}, "who names nobody has nothing to miss"
    assert young.defaulted == {0: (2,), 1: (1, 2), 2: (1, 2)}


def test_a_store_that_hangs_costs_its_budget_once() -> None:
    shelf = Shelf()
    shelf.hangs = True
    lookup = lookup_over(shelf)

    async def many() -> int:
        await lookup.in_time(rows_for("anna"))
        asked = shelf.asked
        for _ in range(1000):
            await lookup.in_time(rows_for("anna"))
        return shelf.asked - asked

    assert asyncio.run(many()) == 0, "a thousand requests do not ask, and do not even give way to the probe"


def test_a_caller_in_a_hurry_waits_for_half_of_what_it_has_and_says_nothing_about_the_store() -> None:
    shelf = Shelf()
    shelf.hangs = True
    lookup = ladder_over(shelf).looking(SCHEMA, 60.0)
    assert lookup is not None

    async def hurry() -> float:
        deadline_ns = time.perf_counter_ns() + 100_000_000
        context = Context(1, deadline_ns=deadline_ns)
        for asked in (1, 2):  # the breaker stays closed: it is asked again
            found = await lookup.in_time(replace(rows_for("anna"), context=context))
            assert found.degraded == {0: (1, 2)}
            assert shelf.asked == asked
        return (deadline_ns - time.perf_counter_ns()) / 1e6

    assert asyncio.run(hurry()) < 51


def test_each_budget_has_its_own_breaker() -> None:
    """A store that is too slow for one model does for another that has more time."""
    shelf = Shelf()
    shelf.put("customer", "anna", visits=12)
    ladder = ladder_over(shelf)
    quick, patient = ladder.looking(SCHEMA, BUDGET_S), ladder.looking(SCHEMA, 60.0)
    assert quick is not None and patient is not None

    async def slowly(views: Views, entities: Sequence[str]) -> Looked:
        await asyncio.sleep(3 * BUDGET_S)
        return shelf.get(views, entities)

    async def ask() -> list[Batch]:
        return [await lookup.in_time(rows_for("anna")) for lookup in (quick, patient, quick)]

    shelf.aget = slowly  # type: ignore[method-assign]
    assert [bool(found.degraded) for found in asyncio.run(ask())] == [True, False, True]


@pytest.mark.parametrize("fault", ["down", "hangs"])
def test_it_is_asked_again_once_it_answers(fault: str) -> None:
    shelf = Shelf()
    shelf.put("customer", "anna", visits=12)
    lookup = lookup_over(shelf)

    async def heal() -> Batch:
        setattr(shelf, fault, True)
        degraded = await lookup.in_time(rows_for("anna"))
        assert degraded.degraded == {0: (1, 2)}
        asked = shelf.asked
        while shelf.asked < asked + 2:  # the probe asks by itself, and in vain
            await asyncio.sleep(0.01)
        setattr(shelf, fault, False)
        while (found := await lookup.in_time(rows_for("anna"))).degraded:
            await asyncio.sleep(0.01)
        return found

    assert asyncio.run(heal()).values[0, 1] == 12.0


def test_a_store_to_which_it_takes_longer_to_connect_than_a_request_can_wait_is_connected_to() -> None:
    """Each of 20 requests at once needs a connection of its own, which takes three budgets to make."""
    shelf = Shelf()
    shelf.put("customer", "anna", visits=12)
    lookup, idle = lookup_over(shelf), list[object]()

    async def connecting(views: Views, entities: Sequence[str]) -> Looked:
        connection = idle.pop() if idle else await asyncio.sleep(3 * BUDGET_S, object())
        await asyncio.sleep(0)
        idle.append(connection)
        return shelf.get(views, entities)

    async def heal() -> list[Batch]:
        async def many() -> list[Batch]:
            return await asyncio.gather(*(lookup.in_time(rows_for("anna")) for _ in range(20)))

        assert all(found.degraded for found in await many())
        while (await lookup.in_time(rows_for("anna"))).degraded:
            await asyncio.sleep(0.01)
        return await many()

    shelf.aget = connecting  # type: ignore[method-assign]
    assert not any(found.degraded for found in asyncio.run(heal()))


def test_many_at_once_trip_the_breaker_once(caplog: pytest.LogCaptureFixture) -> None:
    shelf = Shelf()
    shelf.hangs = True
    lookup = lookup_over(shelf)

    async def many() -> None:
        await asyncio.gather(*(lookup.in_time(rows_for("anna")) for _ in range(50)))

    asyncio.run(many())
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "nothing within 50 ms" in caplog.text


def test_many_rows_have_more_time() -> None:
    shelf = Shelf()
    lookup = lookup_over(shelf)

    async def slow(views: Views, entities: Sequence[str]) -> Looked:
        await asyncio.sleep(1.5 * BUDGET_S)
        return shelf.get(views, entities)

    shelf.aget = slow  # type: ignore[method-assign]
    found = asyncio.run(lookup.in_time(rows_for(*(f"c{at}" for at in range(1000)))))
    assert found.degraded == {}


def test_a_file_is_not_scored_from_defaults_because_the_store_is_down() -> None:
    shelf = Shelf()
    shelf.down = True
    with pytest.raises(StoreDown):
        lookup_over(shelf).all(rows_for("anna"))


def test_without_an_indispensable_feature_a_row_is_refused_with_the_reason() -> None:
    shelf = Shelf()
    shelf.put("customer", "anna", visits=12)
    lookup = lookup_over(shelf, NEEDED)
    assert both(lookup, rows_for("anna", schema=NEEDED)).values[0, 1] == 12.0
    with pytest.raises(RowsRefused) as refused:
        both(lookup, rows_for("anna", "nobody", "", schema=NEEDED))
    told = [(problem.row, problem.field, problem.problem) for problem in refused.value.problems]
    assert told == [
        (1, "visits", "is not in the feature store, or too old there"),
        (2, "visits", "is looked up by 'customer': say whom the row is about"),
    ]


def test_while_the_store_is_down_an_indispensable_feature_is_refused_until_later_unless_it_is_known() -> None:
    shelf = Shelf()
    shelf.put("customer", "anna", visits=12)
    lookup = lookup_over(shelf, NEEDED)

    async def ask() -> Batch:
        await lookup.in_time(rows_for("anna", schema=NEEDED))
        shelf.down = True
        with pytest.raises(FeaturesMissing, match="visits") as missing:
            await lookup.in_time(rows_for("ben", schema=NEEDED))
        assert missing.value.retry_after_s >= 1
        with pytest.raises(RowsRefused):
            await lookup.in_time(rows_for("ben", "", schema=NEEDED))
        return await lookup.in_time(rows_for("anna", schema=NEEDED))

    found = asyncio.run(ask())
    assert found.values[0, 1] == 12.0
    assert found.degraded == {0: (1,)}


def test_what_is_kept_is_bounded_and_the_oldest_goes_first() -> None:
    known, views = Known(2), {"v": ("n",)}
    for at, entity in enumerate(("a", "b", "a", "c")):
        known.keep(views, [FeatureRow(entity, at, {})])
    assert [known.get(views, entity)[0] is not None for entity in ("a", "b", "c")] == [True, False, True]


def test_nothing_is_looked_up_for_a_schema_without_entity_or_store() -> None:
    ladder = ladder_over(Shelf())
    assert ladder.looking(Schema((AMOUNT,), "customer"), BUDGET_S) is None
    assert ladder.looking(Schema((AMOUNT, VISITS)), BUDGET_S) is None


entities = st.sampled_from(("anna", "ben", "cleo", ""))
numbers = st.integers(0, 50) | st.sampled_from((1.5, "x", None))


@given(
    st.dictionaries(entities.filter(bool), st.tuples(numbers, st.integers(0, 2 * MINUTE_NS))),
    st.lists(entities, min_size=1, max_size=6),
    st.booleans(),
)
def test_every_row_has_its_value_or_its_default_and_says_which(
    held: dict[str, tuple[Any, int]], asked: list[str], down: bool
) -> None:
    """The law of the ladder, row by row, by a reading of its own."""
    shelf = Shelf()
    for entity, (visits, age_ns) in held.items():
        shelf.put("customer", entity, age_ns, visits=visits)
    lookup = lookup_over(shelf)

    async def ask() -> Batch:
        await lookup.in_time(rows_for(*asked))
        shelf.down = down
        return await lookup.in_time(rows_for(*asked))

    found = asyncio.run(ask())
    for row, entity in enumerate(asked):
        visits, age_ns = held.get(entity, (None, 0))
        fits = type(visits) is int
        usable = fits and age_ns <= MINUTE_NS
        assert found.values[row, 1] == (visits if usable else 3)
        assert (1 in found.defaulted.get(row, ())) == (not usable)
        assert (1 in found.degraded.get(row, ())) == (bool(entity) and (down or (fits and not usable)))
    assert np.isfinite(found.values).all()
