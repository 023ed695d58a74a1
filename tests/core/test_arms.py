"""Two arms: who is whose by a hash alone, and nobody is refused an answer because of a canary."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import Array, SumEngine, plain_manifest
from scoreline.core.arms import (
    CANARY,
    CANARY_FAILED,
    CHAMPION,
    MIXED,
    NOT_FINITE,
    OVERRAN,
    PINNED,
    RAISED,
    Arm,
    Arms,
    Guard,
    Leased,
    Pinned,
    fitted,
)
from scoreline.core.assign import assigned
from scoreline.core.batch import NO_DEFAULTS, Batch, Context
from scoreline.core.decision import Author, Decisions
from scoreline.core.entities import entity_hash
from scoreline.core.errors import EngineFailed, RowsRefused
from scoreline.core.fitting import fitting
from scoreline.core.marks import NONE, Mark, Marks
from scoreline.core.schema import Field, Schema
from scoreline.core.scorer import Scorer

KEY = b"k" * 32
NOW_NS = 1_700_000_000_000_000_000
ONE, TWO = plain_manifest(), plain_manifest(version="2", files={"model.ubj": "1" * 64})
salts = st.binary(min_size=16, max_size=16)
shares = st.floats(0, 1) | st.sampled_from((0.0, 0.01, 0.5, 1.0))
entities = st.lists(st.sampled_from(("", *(f"c-{number}" for number in range(20)))), min_size=1, max_size=4)


class Fickle(SumEngine):
    """Does what it is told to when it is asked, and looks at the marks meanwhile."""

    def __init__(self, marks: Marks, act: Callable[[], object] = lambda: None) -> None:
        self.act = act
        self.seen: list[Mark | None] = []
        self._marks = marks

    def predict(self, values: Array) -> Array:
        self.seen.append(self._marks.left())
        found = self.act()
        return super().predict(values) + (0.0 if found is None else found)


class Lasting:
    """A lease that lasts until a test ends it."""

    until_ns = NOW_NS + 1


class Bench:
    """Two arms of plain models, and what they told of failures."""

    def __init__(self, salt: bytes, share: float, *, over_ns: int = 10**12, champion: Any = None) -> None:
        self.failures: list[tuple[Author, int, int, str, tuple[bytes, ...]]] = []
        self.told: list[tuple[str, str, str | None]] = []
        self.salt, self.share = salt, share
        self.marks, self.lease = Marks(), Lasting()
        self.engine, self.other = Fickle(self.marks), Fickle(self.marks)
        self.guard = Guard(self.lease, self.marks, self._failed, self._tell, KEY, lambda _: over_ns)
        self.champion = Scorer(ONE, self.engine, epoch=5)
        self.canary = Scorer(TWO, self.other, CANARY, epoch=5)
        self.arms = Arms(self.champion, self.canary, None, self.guard, salt=salt.hex(), share=share)
        self.marks.name(self.arms.authors)

    def _failed(self, author: Author, base: int, time_ns: int, kind: str, told: Sequence[bytes]) -> None:
        self.failures.append((author, base, time_ns, kind, tuple(told)))

    def _tell(self, author: Author, kind: str, raised: Exception | None) -> None:
        self.told.append((author.version, kind, str(raised) if raised else None))

    def assigned(self, entity: str) -> bool:
        return assigned(entity_hash(entity, KEY), self.salt, self.share)


def batch_of(*entities: str, n_rows: int = 1, pin: str = "") -> Batch:
    values = np.arange(2.0 * (len(entities) or n_rows)).reshape(-1, 2)
    return Batch(values, Context(NOW_NS, "request-1", pin=pin), NO_DEFAULTS, entities if any(entities) else ())


def all_to_canary(**options: Any) -> Bench:
    return Bench(b"s", 1.0, **options)


@given(salts, shares, entities)
def test_a_request_is_the_canarys_if_all_of_its_units_are(salt: bytes, share: float, names: list[str]) -> None:
    bench = Bench(salt, share)
    decisions = bench.arms(batch_of(*names))
    units = {entity_hash(name, KEY) or decisions.base.to_bytes(16, "big") for name in names}
    is_canarys = all(assigned(unit, salt, share) for unit in units)
    role = MIXED if len(set(names)) > 1 else CANARY if is_canarys else CHAMPION
    assert (decisions.author.role, decisions.author.version) == (role, "2" if is_canarys else "1")
    assert decisions.author.epoch == 5
    if any(names):
        assert list(decisions.entities) == [entity_hash(name, KEY) for name in names]
    assert decisions.margins.tolist() == SumEngine().predict(batch_of(*names).values).tolist()
    assert bench.failures == []


@given(salts, st.floats(0, 1), st.floats(0, 1))
def test_who_had_the_canary_keeps_it_at_every_larger_share(salt: bytes, one: float, two: float) -> None:
    low, high = (Bench(salt, share) for share in sorted((one, two)))
    for number in range(30):
        (before, again, after) = (found.arms(batch_of(f"c-{number}")).author.role for found in (low, low, high))
        assert before == again
        assert (before, after) != (CANARY, CHAMPION)


def test_without_entities_the_share_is_of_requests() -> None:
    bench = Bench(b"salt", 0.25)
    roles = [bench.arms(batch_of(n_rows=3)).author.role for _ in range(4000)]
    assert 900 < roles.count(CANARY) < 1100  # 4.4 standard deviations
    assert roles.count(CANARY) + roles.count(CHAMPION) == 4000


def refuse() -> None:
    raise EngineFailed("the library says no")


def run_wild() -> None:
    raise ZeroDivisionError("secret of a row")


FAILURES: dict[str, tuple[Callable[[], object], str, str | None]] = {
    "an engine that fails": (refuse, RAISED, "the library says no"),
    "any other error": (run_wild, RAISED, "secret of a row"),
    "no number": (lambda: np.nan, NOT_FINITE, None),
    "no end": (lambda: np.inf, NOT_FINITE, None),
}


@pytest.mark.parametrize("failure", FAILURES)
@given(names=entities)
def test_a_canary_that_fails_is_the_champions_answer_and_one_failure(failure: str, names: list[str]) -> None:
    act, kind, raised = FAILURES[failure]
    bench = all_to_canary()
    bench.other.act = act
    decisions = bench.arms(batch_of(*names))
    assert (decisions.author.role, decisions.author.version) == (CANARY_FAILED, "1")
    assert decisions.margins.tolist() == SumEngine().predict(batch_of(*names).values).tolist()
    told = tuple(dict.fromkeys(entity_hash(name, KEY) for name in names if name))
    ((author, base, time_ns, found, units),) = bench.failures
    role = MIXED if len(set(names)) > 1 else CANARY
    assert (author.role, author.version, time_ns, found, units) == (role, "2", NOW_NS, kind, told)
    assert base != decisions.base
    assert bench.told == [("2", kind, raised)]
    assert bench.marks.left() is None


def test_a_canary_that_takes_too_long_has_overrun_and_one_that_does_not_answers() -> None:
    slow, fast = all_to_canary(over_ns=0), all_to_canary()
    decisions = slow.arms(batch_of("c-1"))
    assert (decisions.author.role, [found[3] for found in slow.failures]) == (CANARY_FAILED, [OVERRAN])
    assert fast.arms(batch_of("c-1")).author.role == CANARY


@pytest.mark.parametrize(("act", "kind"), [(refuse, RAISED), (lambda: np.nan, NOT_FINITE)])
def test_a_champion_that_fails_is_a_failure_of_the_baseline_and_refused_as_ever(
    act: Callable[[], object], kind: str
) -> None:
    bench = Bench(b"s", 0.0)
    bench.engine.act = act
    with pytest.raises((EngineFailed, RowsRefused)):
        bench.arms(batch_of("c-1"))
    ((author, _, _, found, units),) = bench.failures
    assert (author.role, author.version, found, units) == (CHAMPION, "1", kind, (entity_hash("c-1", KEY),))
    assert bench.told == []
    assert bench.marks.left() is None


def test_where_both_fail_each_is_told_and_the_request_refused() -> None:
    bench = all_to_canary()
    bench.engine.act = bench.other.act = refuse
    with pytest.raises(EngineFailed):
        bench.arms(batch_of("c-1"))
    assert [(author.role, kind) for author, _, _, kind, _ in bench.failures] == [
        (CANARY, RAISED),
        (CANARY_FAILED, RAISED),
    ]
    assert len({base for _, base, _, _, _ in bench.failures}) == 2


@given(salts, shares, entities)
def test_while_an_arm_scores_it_is_marked(salt: bytes, share: float, names: list[str]) -> None:
    bench = Bench(salt, share)
    decisions = bench.arms(batch_of(*names))
    (mark,) = bench.engine.seen + bench.other.seen
    units = tuple(dict.fromkeys(entity_hash(name, KEY) for name in names if name))
    assert mark == Mark(decisions.author, decisions.base, NOW_NS, units)
    assert bench.marks.left() is None


def test_only_a_canary_may_be_ended_for_taking_long() -> None:
    for share, ended in ((0.0, False), (1.0, True)):
        bench, seen = Bench(b"s", share), list[bool]()
        bench.engine.act = bench.other.act = lambda bench=bench, seen=seen: seen.append(bench.marks.may_end != NONE)
        bench.arms(batch_of("c-1"))
        assert seen == [ended]


def test_without_a_lease_the_champion_answers_alone() -> None:
    bench = all_to_canary()
    score = Leased(bench.arms, bench.champion, bench.lease)
    assert score(batch_of("c-1")).author.role == CANARY
    bench.lease.until_ns = NOW_NS
    assert score(batch_of("c-1")).author is bench.champion.author
    assert bench.other.seen and bench.engine.seen == [None], "nobody is marked"


def test_whoever_is_pinned_gets_its_version_and_others_what_they_get() -> None:
    bench = all_to_canary()
    ours = Arm(bench.champion.in_role(PINNED), bench.marks)
    score = Pinned(bench.arms, {ONE.digest: ours})

    def answered(pin: str) -> tuple[str, str]:
        decisions: Decisions = score(batch_of("c-1", pin=pin))
        return decisions.author.role, decisions.author.version

    assert answered(ONE.digest) == (PINNED, "1")
    assert answered("") == answered("f" * 64) == (CANARY, "2")


def test_a_canary_with_another_schema_scores_rows_as_it_would_read_them() -> None:
    schema = Schema((Field("new", "number", default=100.0), *reversed(ONE.schema.fields)))
    other = plain_manifest(version="3", schema=schema)
    bench = all_to_canary()
    fit = fitting(ONE.schema, schema)
    canary = Scorer(other, bench.other, CANARY)
    arms = Arms(bench.champion, canary, fit, bench.guard, salt="", share=1.0)
    for score in (arms, fitted(canary, fit)):
        decisions = score(batch_of("c-1", "c-2"))
        assert decisions.author.fields == ("new", "b", "a")
        assert decisions.values.tolist() == [[100.0, 1.0, 0.0], [100.0, 3.0, 2.0]]
        assert decisions.margins.tolist() == [[101.0], [105.0]]
        assert decisions.defaulted == {0: (0,), 1: (0,)}


def test_roles_share_one_engine() -> None:
    bench = Bench(b"s", 0.5)
    for number in range(50):
        bench.arms(batch_of(f"c-{number}", f"d-{number}"))
        bench.arms(batch_of(f"c-{number}"))
    assert len(bench.engine.seen) + len(bench.other.seen) == 100
    assert {author.role for author in bench.arms.authors} == {CHAMPION, CANARY, CANARY_FAILED, MIXED}
    assert {mark.author.role for mark in bench.engine.seen if mark} == {CHAMPION, MIXED}


@pytest.mark.parametrize("outcome", ("raised", "overran"))
def test_a_failure_where_features_are_missing_is_told_and_counts_as_no_failure(outcome: str) -> None:
    """As the answers of such a version count for nothing, or it would only ever collect failures."""
    bench = all_to_canary(over_ns=0 if outcome == "overran" else 10**12)
    if outcome == "raised":
        bench.other.act = lambda: 1 / 0
    for degraded, kind in (({0: (1,)}, "degraded"), ({0: (2,)}, outcome), ({}, outcome)):  # it has two fields
        bench.failures.clear()
        assert bench.arms(replace(batch_of("c-1"), degraded=degraded)).author.role == CANARY_FAILED
        assert [(author.role, kind) for author, _, _, kind, _ in bench.failures] == [(CANARY, kind)]
    assert {kind for _, kind, _ in bench.told} == {outcome}
