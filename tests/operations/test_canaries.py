"""Windows folded into evidence: what was proven beside a champion does not pass what happens without one."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from scoreline.operations.canaries import Fold
from scoreline.records.windows import KINDS, Window
from scoreline.rollout.policy import Policy
from scoreline.rollout.stages import Stage, step_up
from scoreline.rollout.verdict import ADVANCE, HOLD, ROLL_BACK, Verdict, judge
from somestages import SECOND, in_canary

POLICY = Policy()
LAST = 7
NOW_S = 10_000


def window(number: int, epoch: int, share: float, kind: str = "errors", **counts: Any) -> Window:
    """Requests that name nobody; `n_c` and `n_b` of them, `k_c` and `k_b` with an event."""
    given = dict.fromkeys(Window._fields, 0) | counts
    if kind == "errors":
        given |= {"new_c": given["n_c"], "step_c": given["n_c"], "new_b": given["n_b"]}
    given |= {"id": number, "epoch": epoch, "kind": kind, "share": share, "sticky": False, "sight_c": given["k_c"]}
    return Window(**given | {"at_ns": NOW_S * SECOND})


def at_hundred() -> Stage:
    return step_up(in_canary(), 3, 1.0, LAST, 2000 * SECOND)


def proven(**events: int) -> Fold:
    """50,000 requests of each arm at 50 %."""
    fold = Fold(4)
    fold.add([window(1, 6, 0.5, n_c=50_000, n_b=50_000, **events), window(2, 6, 0.5, "slow", k_c=500, k_b=500)])
    return fold


def judged(fold: Fold, stage: Stage) -> Verdict:
    return judge(stage, fold.evidence(stage, POLICY), POLICY, NOW_S * SECOND)


def test_a_canary_that_fails_every_request_at_hundred_percent_is_rolled_back() -> None:
    for before in ({}, {"k_c": 1000, "k_b": 1000}):
        fold = proven(**before)
        assert judged(fold, step_up(in_canary(), 2, 0.5, 6, 2000 * SECOND)).word == ADVANCE or before
        assert judged(fold, at_hundred()).word == HOLD, "nothing is proven there yet"
        fold.add([window(3, LAST, 1.0, n_c=20, k_c=20)])
        found = judged(fold, at_hundred())
        assert (found.word, found.numbers["leading"]) == (ROLL_BACK, "errors_alone")
        assert "20 of 20 entities or requests have one now that the canary answers everything" in found.why


def test_one_that_goes_on_as_before_becomes_champion_once_that_is_proven() -> None:
    fold = proven(k_c=500, k_b=500)
    fold.add([window(3, LAST, 1.0, n_c=600, k_c=6)])
    found = judged(fold, at_hundred())
    assert found.word == HOLD and "errors_alone not proven safe" in found.why
    assert found.numbers["alone"]["errors"]["units"] == 600 and found.numbers["units_needed"] > 0
    fold.add([window(4, LAST, 1.0, n_c=5000, k_c=50), window(5, LAST, 1.0, "slow", k_c=56)])
    assert judged(fold, at_hundred()).word == ADVANCE


@given(
    st.integers(0, 10**6).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(0, n))),
    st.lists(st.integers(1, 10**5), min_size=1, max_size=4),
    st.floats(0.55, 1.0),
)
def test_no_safety_of_before_passes_what_fails_in_most_requests(
    before: tuple[int, int, int], pieces: list[int], rate: float
) -> None:
    n, k_c, k_b = before
    fold, stage = Fold(4), at_hundred()
    fold.add([window(1, 6, 0.5, n_c=n, n_b=n, k_c=k_c, k_b=k_b)])
    for number, piece in enumerate(pieces):
        fold.add([window(number + 2, LAST, 1.0, n_c=piece, k_c=-int(-piece * rate // 1))])
        assert judged(fold, stage).word != ADVANCE


def test_deaths_roll_back_where_they_are_too_many_for_chance_and_before_that_ask_a_person() -> None:
    def died(share: float, k_c: int, k_b: int = 0) -> Verdict:
        fold, stage = Fold(4), step_up(in_canary(), 1, share, 6, 2000 * SECOND)
        errors = window(1, 6, share, n_c=900, n_b=900, k_c=k_c, k_b=k_b)._replace(deaths_c=k_c, deaths_b=k_b)
        fold.add([errors, window(2, 6, share, "deaths", k_c=k_c, k_b=k_b)])
        return judged(fold, stage)

    assert [died(0.5, k).word for k in (2, 9, 10)] == [HOLD, HOLD, ROLL_BACK]
    assert "2 workers died in the canary and none in the champion" in died(0.5, 2).why
    assert [died(0.1, k).word for k in (2, 3)] == [HOLD, ROLL_BACK]
    assert died(0.1, 3).why.endswith("3 workers died in the canary and none in the champion")
    assert died(0.5, 10, 10).word == HOLD
    assert "died" not in died(0.5, 10, 10).why


def test_windows_that_do_not_tell_what_was_seen_at_first_prove_nothing_at_hundred_percent() -> None:
    fold = proven()
    old = window(3, LAST, 1.0, n_c=5000)._replace(sight_c=None, new_b=None)
    fold.add([old])
    evidence = fold.evidence(at_hundred(), POLICY)
    assert {kind: fold.now[kind].n for kind in KINDS} == dict.fromkeys(KINDS, 0)
    assert evidence.e_safe["errors_alone"] <= 0.5 + 1e-9


@given(st.permutations(range(6)))
def test_in_any_order_it_is_the_same(order: list[int]) -> None:
    many = [
        window(1, 6, 0.5, n_c=100, n_b=90, k_c=2, k_b=1),
        window(2, 6, 0.5, "deaths", k_c=1),
        window(3, LAST, 1.0, n_c=50, k_c=3),
        window(4, LAST, 1.0, "slow", k_c=2),
        window(5, LAST, 1.0, "deaths", k_c=1),
        window(6, LAST, 1.0, n_c=70),
    ]
    one, other = Fold(4), Fold(4)
    one.add(many)
    other.add([many[place] for place in order])
    told, again = (fold.evidence(at_hundred(), POLICY) for fold in (one, other))
    assert told.alone == again.alone
    for name, e in told.e_rollback.items():
        assert abs(e - again.e_rollback[name]) <= 1e-9 * max(e, 1.0)
