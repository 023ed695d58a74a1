"""A breaker lets one through now and then while what it guards is down, and all of them otherwise."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from scoreline.access.breaker import Breaker

STEPS = st.lists(st.tuples(st.floats(0, 2, allow_nan=False), st.booleans()), max_size=60)


@given(STEPS)
def test_after_a_failure_one_is_let_through_each_second_until_one_works(steps: Sequence[tuple[float, bool]]) -> None:
    now_s = [100.0]
    breaker = Breaker(1.0, lambda: now_s[0])
    down, tried_s = False, 0.0
    for pause_s, works in steps:
        now_s[0] += pause_s
        allowed = breaker.allows()
        assert allowed == (not down or now_s[0] >= tried_s + 1.0)
        if allowed:
            tried_s = now_s[0]
            if works:
                breaker.worked()
            else:
                assert breaker.failed() == (not down)
            down = not works
        assert breaker.is_open == down


def test_of_those_who_ask_at_once_one_is_the_probe() -> None:
    now_s = [0.0]
    breaker = Breaker(1.0, lambda: now_s[0])
    breaker.failed()
    now_s[0] = 1.5
    assert [breaker.allows() for _ in range(5)] == [True, False, False, False, False]
