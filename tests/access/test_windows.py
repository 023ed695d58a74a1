"""Limits hold: of one worker or several, for whoever asks when, and with the verdicts of the `limits` library."""

import multiprocessing
import time
from collections.abc import Sequence
from fractions import Fraction
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from limits import RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from scoreline.access import windows
from scoreline.access.limits import Limit, Limiter, limit_of
from scoreline.access.windows import Window, Windows
from scoreline.core.errors import RateLimited, SettingError

SECOND_NS = 1_000_000_000
PERIOD_S = 60
START_NS = 1000 * PERIOD_S * SECOND_NS
# Moments in sixteenths of a second: what a library reckons in floats is exact there.
TIMES = st.lists(st.integers(0, 16 * 4 * PERIOD_S), min_size=1, max_size=80).map(sorted)


def window(amount: int, n_workers: int = 1, worker: int = 0) -> Window:
    return Windows(Limit("caller", amount, PERIOD_S), n_workers, n_places=64).of_worker(worker)


def at(sixteenths: int) -> int:
    return START_NS + sixteenths * SECOND_NS // 16


@given(TIMES, st.integers(1, 12), st.integers(1, 4), st.randoms())
@example([0] * 20 + [960] * 20, 10, 2, None)
def test_the_law_of_a_limit_holds_however_requests_are_spread_over_workers(
    times: Sequence[int], amount: int, n_workers: int, random: Any
) -> None:
    """What fades of the window before and what this one has never come to more than the limit, nor does one window.

    And nobody is refused who asks more seldom than that.
    """
    shared = Windows(Limit("caller", amount, PERIOD_S), n_workers, n_places=64)
    workers = [shared.of_worker(number) for number in range(n_workers)]
    taken: list[int] = []
    for moment in times:
        worker = workers[random.randrange(n_workers) if random else 0]
        number, into = divmod(Fraction(moment, 16), PERIOD_S)
        current = sum(Fraction(found, 16) // PERIOD_S == number for found in taken)
        before = sum(Fraction(found, 16) // PERIOD_S == number - 1 for found in taken)
        used = current + int(before * (1 - into / PERIOD_S))
        left = worker.hit("someone", at(moment))
        assert left == (amount - used - 1 if used < amount else -1)
        taken += [moment] if left >= 0 else []
    assert shared.refused == len(times) - len(taken)
    for end in times:
        within = [found for found in taken if end - 16 * PERIOD_S < found <= end]
        assert len(within) <= 2 * amount, "at worst, where a window ends with all it may have"
        assert sum(found // (16 * PERIOD_S) == end // (16 * PERIOD_S) for found in taken) <= amount


@given(TIMES, st.integers(1, 12))
def test_verdicts_are_those_of_the_library(times: Sequence[int], amount: int) -> None:
    ours = window(amount)
    period_s = 64  # a power of two, so that shares of it are exact in floats
    ours = Windows(Limit("caller", amount, period_s), 1, n_places=64).of_worker(0)
    start_s = 1000 * period_s
    storage = MemoryStorage()
    storage.timer.cancel()
    theirs, item = SlidingWindowCounterRateLimiter(storage), RateLimitItemPerSecond(amount, period_s)
    with patch.object(storage, "_MemoryStorage__schedule_expiry", lambda: None), patch("time.time") as now:
        for moment in times:
            now.return_value = start_s + moment / 16
            left = ours.hit("someone", start_s * SECOND_NS + moment * SECOND_NS // 16)
            assert (left >= 0) == theirs.hit(item, "someone")
            if left >= 0:
                assert left == theirs.get_window_stats(item, "someone").remaining


@given(TIMES, st.integers(1, 12))
def test_who_waits_as_long_as_told_is_taken_and_not_a_moment_before(times: Sequence[int], amount: int) -> None:
    found = window(amount)
    for moment in times:
        if found.hit("someone", at(moment)) < 0:
            wait_ns = found.wait_ns("someone", at(moment))
            assert wait_ns > 0
            assert found.hit("someone", at(moment) + wait_ns - 1) < 0
            assert found.hit("someone", at(moment) + wait_ns) >= 0
            return


@given(st.integers(2, 60), st.integers(0, PERIOD_S * SECOND_NS - 1))
def test_who_asks_evenly_and_less_often_than_the_limit_is_never_refused(amount: int, phase_ns: int) -> None:
    found = window(amount)
    step_ns = PERIOD_S * SECOND_NS // (amount - 1) + 1
    assert all(found.hit("someone", START_NS + phase_ns + turn * step_ns) >= 0 for turn in range(4 * amount))


@given(st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=60))
def test_keys_do_not_count_for_one_another(keys: Sequence[str]) -> None:
    found = Windows(Limit("caller", 3, PERIOD_S), 2).of_worker(1)
    for place, key in enumerate(keys):
        assert (found.hit(key, START_NS) >= 0) == (keys[:place].count(key) < 3)


def test_more_keys_than_places_are_limited_all_the_same() -> None:
    """Those without a place of their own share one: they may have less, and together never more than one of them."""
    shared = Windows(Limit("address", 5, PERIOD_S), 2, n_places=64)
    workers = shared.of_worker(0), shared.of_worker(1)
    keys = [f"10.0.{number >> 8}.{number & 255}" for number in range(2000)]
    taken = {key: sum(workers[turn % 2].hit(key, START_NS) >= 0 for turn in range(10)) for key in keys}
    assert max(taken.values()) == 5
    assert sum(taken.values()) <= 64 * 5
    later = START_NS + 3 * PERIOD_S * SECOND_NS
    assert workers[0].hit("another", later) == 4, "places are free again once nobody uses them"


def test_a_newcomer_makes_a_worker_forget_the_one_it_has_known_longest_and_nobody_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(windows, "_MOST_KNOWN", 4)
    found = Windows(Limit("caller", 3, PERIOD_S), 1).of_worker(0)
    for key in "abcde":
        assert found.hit(key, START_NS) == 2
    assert list(found._known) == list("bcde")
    assert found.hit("a", START_NS) == 1, "what it had counted is where it was"


def test_a_request_counts_under_all_limits_or_under_none() -> None:
    caller, model = (Windows(Limit(kind, amount, PERIOD_S), 1) for kind, amount in (("caller", 2), ("model", 3)))
    limiter = Limiter([caller.of_worker(0), model.of_worker(0)])
    assert limiter.take(["a", "m"], START_NS) == [1, 60, 2, 60]
    assert limiter.take(["a", "m"], START_NS) == [0, 60, 1, 60]
    assert limiter.take(["b", "m"], START_NS + 10 * SECOND_NS) == [1, 50, 0, 50]
    with pytest.raises(RateLimited, match="at most 3 requests per minute for one model") as refused:
        limiter.take(["b", "m"], START_NS)
    assert (refused.value.kind, refused.value.retry_after_s) == ("model", 61)
    assert limiter.take(["b"], START_NS) == [0, 60], "the model refused, and the caller was not counted"
    assert (caller.refused, model.refused) == (0, 1)


def test_processes_that_count_at_the_same_time_stay_within_the_limit_and_one_that_dies_leaves_its_counts() -> None:
    fork = multiprocessing.get_context("fork")
    shared = Windows(Limit("caller", 5000, 86_400), 3)
    now_ns = time.monotonic_ns()
    taken = fork.Array("q", 3)

    def count(number: int) -> None:
        mine = shared.of_worker(number)
        for _ in range(4000):
            taken[number] += mine.hit("someone", now_ns) >= 0

    processes = [fork.Process(target=count, args=(number,)) for number in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert 0 < sum(taken) <= 5000
    assert shared.refused == 12_000 - sum(taken)
    successor = shared.of_worker(0)
    more = 0
    while successor.hit("someone", now_ns) >= 0:
        more += 1
    assert sum(taken) + more == 5000


@pytest.mark.parametrize(
    "text", ("100", "0/second", "100/fortnight", "-1/second", "1e3/second", "9999999999/day", " 1/day")
)
def test_what_is_no_limit_is_refused(text: str) -> None:
    with pytest.raises(SettingError, match=r"limits\.per_model: as 100/second"):
        limit_of("model", text)


def test_a_limit_is_a_number_in_a_second_minute_hour_or_day() -> None:
    assert limit_of("model", "") is None
    assert limit_of("model", "100/hour") == Limit("model", 100, 3600)
