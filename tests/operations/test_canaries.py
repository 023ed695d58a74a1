"""Counts as into evidence: what was proven beside a champion does not pass what happens without one."""

import math

from hypothesis import given
from hypothesis import strategies as st

from scoreline.operations.canaries import Seen
from scoreline.records.counting import Counts
from scoreline.rollout.policy import Policy
from scoreline.rollout.stages import Stage, step_up
from scoreline.rollout.verdict import ADVANCE, HOLD, ROLL_BACK, Verdict, judge
from somestages import SECOND, in_canary

POLICY = Policy()
LAST = 7
NOW_S = 10_000


def counts(step: int, share: float, kind: str = "errors", n_c: int = 0, n_b: int = 0, **events: int) -> Counts:
    """Requests that name nobody; `n_c` and `n_b` of them, `k_c` and `k_b` with an event."""
    given = dict.fromkeys(Counts._fields, 0) | events | {"sight_c": events.get("k_c", 0)}
    if kind == "errors":
        given |= {"new_c": n_c, "step_c": n_c, "new_b": n_b, "canary_ns": NOW_S * SECOND if n_c else 0}
    return Counts(**given | {"step": step, "kind": kind, "share": share})


def at_hundred() -> Stage:
    return step_up(in_canary(), 3, 1.0, LAST, 2000 * SECOND)


def proven(**events: int) -> list[Counts]:
    """50,000 requests of each arm at 50 %."""
    return [counts(6, 0.5, n_c=50_000, n_b=50_000, **events), counts(6, 0.5, "slow", k_c=500, k_b=500)]


def judged(found: list[Counts], stage: Stage) -> Verdict:
    return judge(stage, Seen.of(found, stage.stepped).evidence(stage, POLICY), POLICY, NOW_S * SECOND)


def test_a_canary_that_fails_every_request_at_hundred_percent_is_rolled_back() -> None:
    for before in ({}, {"k_c": 1000, "k_b": 1000}):
        found = proven(**before)
        assert judged(found, step_up(in_canary(), 2, 0.5, 6, 2000 * SECOND)).word == ADVANCE
        assert judged(found, at_hundred()).word == HOLD, "nothing is proven there yet"
        told = judged([*found, counts(LAST, 1.0, n_c=20, k_c=20)], at_hundred())
        assert (told.word, told.numbers["leading"]) == (ROLL_BACK, "errors_alone")
        assert "20 of 20 entities or requests have one now that the canary answers everything" in told.why


def test_one_that_goes_on_as_before_becomes_champion_once_that_is_proven() -> None:
    found = proven(k_c=500, k_b=500)
    few = judged([*found, counts(LAST, 1.0, n_c=600, k_c=6)], at_hundred())
    assert few.word == HOLD and "errors_alone not proven safe" in few.why
    assert few.numbers["alone"]["errors"]["units"] == 600 and few.numbers["units_needed"] > 0
    many = [counts(LAST, 1.0, n_c=5600, k_c=56), counts(LAST, 1.0, "slow", k_c=56)]
    assert judged(found + many, at_hundred()).word == ADVANCE


@given(
    st.integers(0, 10**6).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(0, n))),
    st.integers(1, 10**6),
    st.floats(0.55, 1.0),
)
def test_no_safety_of_before_passes_what_fails_in_most_requests(
    before: tuple[int, int, int], n_c: int, rate: float
) -> None:
    n, k_c, k_b = before
    found = [counts(6, 0.5, n_c=n, n_b=n, k_c=k_c, k_b=k_b), counts(LAST, 1.0, n_c=n_c, k_c=math.ceil(n_c * rate))]
    assert judged(found, at_hundred()).word != ADVANCE


def died(share: float, k_c: int, k_b: int = 0) -> Verdict:
    errors = counts(6, share, n_c=900, n_b=900, k_c=k_c, k_b=k_b)._replace(deaths_c=k_c, deaths_b=k_b)
    stage = step_up(in_canary(), 1, share, 6, 2000 * SECOND)
    return judged([errors, counts(6, share, "deaths", k_c=k_c, k_b=k_b)], stage)


def test_deaths_roll_back_where_they_are_too_many_for_chance_and_before_that_ask_a_person() -> None:
    assert [died(0.5, k).word for k in (2, 9, 10)] == [HOLD, HOLD, ROLL_BACK]
    assert "2 workers died in the canary and none in the champion" in died(0.5, 2).why
    assert [died(0.1, k).word for k in (2, 3)] == [HOLD, ROLL_BACK]
    assert died(0.1, 3).why.endswith("3 workers died in the canary and none in the champion")
    assert died(0.5, 10, 10).word == HOLD and "died" not in died(0.5, 10, 10).why


def test_deaths_at_hundred_percent_are_held_against_the_champions_before() -> None:
    dying = [counts(LAST, 1.0, n_c=500, k_c=5), counts(LAST, 1.0, "deaths", k_c=5)]
    told = judged(proven() + dying, at_hundred())
    assert (told.word, told.numbers["leading"]) == (ROLL_BACK, "deaths_alone"), "1 % of requests, which p_tol is, too"
    champions = counts(6, 0.5, "deaths", k_c=600, k_b=600)
    assert judged([*proven(k_c=600, k_b=600), champions, *dying], at_hundred()).word == HOLD


@given(st.permutations(range(6)))
def test_in_any_order_it_is_the_same(order: list[int]) -> None:
    many = [
        counts(6, 0.5, n_c=100, n_b=90, k_c=2, k_b=1),
        counts(6, 0.5, "deaths", k_c=1),
        counts(LAST, 1.0, n_c=50, k_c=3),
        counts(LAST, 1.0, "slow", k_c=2),
        counts(LAST, 1.0, "deaths", k_c=1),
        counts(LAST, 1.0, n_c=70),
    ]
    stage = at_hundred()
    told, again = (
        Seen.of(found, stage.stepped).evidence(stage, POLICY) for found in (many, [many[place] for place in order])
    )
    assert told.alone == again.alone
    for name, e in told.e_rollback.items():
        assert abs(e - again.e_rollback[name]) <= 1e-9 * max(e, 1.0)
