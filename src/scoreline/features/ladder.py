"""The ladder: fresh from the store, looked up earlier and still young enough, the typed default, and then a refusal.

It stands between reading and scoring, so whatever has no store pays nothing for it. Both twins, for requests and for
files, come to what a row gets in the same place, `_Filling`.
"""

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from scoreline.core.batch import Batch
from scoreline.core.errors import MAX_PROBLEMS, FeaturesMissing, Problem, RowsRefused, StoreDown
from scoreline.core.patience import patience
from scoreline.core.ports import FeatureRow, FeatureStore
from scoreline.core.schema import Schema
from scoreline.features.breaker import Breaker
from scoreline.features.known import Known
from scoreline.features.plan import Plan

ROWS_A_BUDGET: Final = 100
RETRY_AFTER_S: Final = 1
SOMEBODY: Final = "?"
WHAT: Final = "what the model cannot do without"
NOT_THERE: Final = "is not in the feature store, or too old there"
log = logging.getLogger("scoreline.features")
Now = Callable[[], int]


class Ladder:
    """One store, what was looked up in it lately, and the breaker before it: a process has one for all its models.

    `counts` says how often a value was `absent`, `stale` or `unfit`, and how often the store did `not_answer`.
    """

    def __init__(self, store: FeatureStore, known: Known, now: Now = time.time_ns) -> None:
        self._store = store
        self.known = known
        self.now = now
        self.counts: Counter[str] = Counter()
        self._breakers: dict[float, Breaker] = {}
        self._under_way = 0
        self._views: dict[str, Sequence[str]] = {}

    def looking(self, schema: Schema, budget_s: float = math.inf) -> "Lookup | None":
        """What fills batches of a schema; None where nothing of it is looked up.

        A lookup of up to 100 rows may take `budget_s`, one of more as much for each 100 begun.
        """
        plan = Plan(schema)
        self._views.update(plan.views)
        return Lookup(self, plan, budget_s) if plan.views else None

    def breaker(self, budget_s: float) -> Breaker:
        """The one of all lookups with this budget: a store too slow for one model may do for another."""
        if budget_s not in self._breakers:
            self._breakers[budget_s] = Breaker(self._ask, budget_s)
        return self._breakers[budget_s]

    def all(self, plan: Plan, entities: Sequence[str]) -> Sequence[Sequence[FeatureRow | None]]:
        """What the store has, however long it takes; raises StoreDown."""
        return self._store.get(plan.views, entities)

    async def in_time(
        self, plan: Plan, entities: Sequence[str], breaker: Breaker, deadline_ns: int
    ) -> Sequence[Sequence[FeatureRow | None]] | None:
        """What the store has, or None where it does not answer in time."""
        if breaker.is_open:
            return None
        budget_s = breaker.budget_s * -(-len(entities) // ROWS_A_BUDGET)
        patience_s = min(budget_s, _half_left_s(deadline_ns)) if deadline_ns else budget_s
        self._under_way += 1
        try:
            async with patience(patience_s):
                found = await self._store.aget(plan.views, entities)
        except TimeoutError:
            if patience_s >= breaker.budget_s:  # else its caller was in a hurry, which says nothing about the store
                breaker.trip(f"nothing within {budget_s * 1e3:g} ms", self._under_way)
        except StoreDown as error:
            breaker.trip(str(error), self._under_way)
        else:
            for rows in found:
                self.known.keep(plan.views, rows)
            return found
        finally:
            self._under_way -= 1
        return None

    def tell(self) -> None:
        """Logs the counts since it was last called; the record has whose they were."""
        if self.counts:
            told = ", ".join(f"{count:,} {what.replace('_', ' ')}" for what, count in sorted(self.counts.items()))
            log.warning("features that took their default, or lookups without an answer: %s", told)
            self.counts.clear()

    async def _ask(self, at_once: int) -> None:
        await asyncio.gather(*(self._store.aget(self._views, [SOMEBODY]) for _ in range(at_once)))


class Lookup:
    """Puts what a store has into the batches of one schema."""

    def __init__(self, ladder: Ladder, plan: Plan, budget_s: float) -> None:
        self._ladder = ladder
        self._plan = plan
        self._breaker = ladder.breaker(budget_s)
        self.schema = plan.schema

    async def in_time(self, batch: Batch) -> Batch:
        """The batch with features within the budget; raises RowsRefused or FeaturesMissing."""
        entities = self._entities(batch)
        deadline_ns = batch.context.deadline_ns
        found = await self._ladder.in_time(self._plan, entities, self._breaker, deadline_ns) if entities else []
        filling = _Filling(self._ladder, self._plan, batch)
        if found is None:
            self._ladder.counts["not_answered"] += 1
            return filling.known()
        return filling.fresh(entities, found)

    def all(self, batch: Batch) -> Batch:
        """The batch with features, however long it takes; raises RowsRefused or StoreDown."""
        entities = self._entities(batch)
        found = self._ladder.all(self._plan, entities) if entities else []
        return _Filling(self._ladder, self._plan, batch).fresh(entities, found)

    def _entities(self, batch: Batch) -> list[str]:
        """Everyone who is to be looked up, once."""
        if not self._plan.views or not batch.entities:
            return []
        return [entity for entity in dict.fromkeys(batch.entities) if entity]


def _half_left_s(deadline_ns: int) -> float:
    """What a lookup may take of the time that is left until an answer has to leave."""
    return max(0.0, (deadline_ns - time.perf_counter_ns()) / 2e9)


class _Filling:
    """One batch on its way to its features.

    Only fields that took their default are filled: a file may bring columns that a request may not.
    """

    def __init__(self, ladder: Ladder, plan: Plan, batch: Batch) -> None:
        self._ladder = ladder
        self._plan = plan
        self._batch = batch
        self._now_ns = ladder.now()
        self._values = batch.values.copy()
        self._defaulted = dict(batch.defaulted)
        self._degraded: dict[int, tuple[int, ...]] = {}

    def fresh(self, entities: Sequence[str], found: Sequence[Sequence[FeatureRow | None]]) -> Batch:
        """As the store answered."""
        known = dict(zip(entities, found, strict=True))
        nothing = [None] * len(self._plan.views)
        problems: list[Problem] = []
        for row, entity in enumerate(self._batch.entities or [""] * len(self._batch)):
            stale = self._fill(row, known.get(entity, nothing))
            if stale:
                self._degraded[row] = stale
            problems += self._without(row, entity)
        if problems:
            raise RowsRefused(problems[:MAX_PROBLEMS], WHAT)
        return self._filled()

    def known(self) -> Batch:
        """By what was looked up earlier: the store does not answer."""
        lost = tuple(sorted(one.position for many in self._plan.wanted for one in many))
        missing: list[Problem] = []
        problems: list[Problem] = []
        for row, entity in enumerate(self._batch.entities):
            if entity:
                self._fill(row, self._ladder.known.get(self._plan.views, entity))
                self._degraded[row] = lost
                missing += self._without(row, entity)
            else:
                problems += self._without(row, entity)
        if problems:
            raise RowsRefused(problems[:MAX_PROBLEMS], WHAT)
        if missing:
            raise FeaturesMissing(sorted({problem.field for problem in missing}), RETRY_AFTER_S)
        return self._filled()

    def _fill(self, row: int, known: Sequence[FeatureRow | None]) -> tuple[int, ...]:
        """Puts values in place of defaults; gives the positions of those that are too old."""
        left = set(self._defaulted.get(row, ()))
        stale: list[int] = []
        values, counts, now_ns = self._values[row], self._ladder.counts, self._now_ns
        for wanted, one in zip(self._plan.wanted, known, strict=True):
            found, age_ns = (one.values, now_ns - one.time_ns) if one else ({}, 0)
            for field in wanted:
                position = field.position
                if position not in left:
                    continue
                if field.feature not in found:
                    counts["absent"] += 1
                    continue
                number, problem = field.field.read(found[field.feature])
                if problem:
                    counts["unfit"] += 1
                elif age_ns > field.max_age_ns:
                    counts["stale"] += 1
                    stale.append(position)
                else:
                    values[position] = number
                    left.remove(position)
        self._put_defaulted(row, left)
        return tuple(stale)

    def _put_defaulted(self, row: int, left: set[int]) -> None:
        if left:
            self._defaulted[row] = tuple(sorted(left))
        else:
            self._defaulted.pop(row, None)

    def _without(self, row: int, entity: str) -> list[Problem]:
        """The indispensable fields that a row is without."""
        lacking = self._plan.indispensable.intersection(self._defaulted.get(row, ()))
        fields, name = self._plan.schema.fields, self._plan.schema.entity
        why = NOT_THERE if entity else f"is looked up by {name!r}: say whom the row is about"
        return [Problem(row, fields[position].name, why) for position in sorted(lacking)]

    def _filled(self) -> Batch:
        return replace(self._batch, values=self._values, defaulted=self._defaulted, degraded=self._degraded)
