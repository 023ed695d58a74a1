"""What drift promises, simulated with fixed seeds; `make evidence` does the same at full size."""

import math

import numpy as np
import pytest
from simulated import (
    Detector,
    alarms_in_years,
    false_alarms,
    log_e_by_tick,
    middle_of,
    reference_like,
    requests_to_alarm,
    scores_of,
)
from somereference import DEFAULT, NO_TOLERANCE

from scoreline.drift.fold import Fold
from scoreline.drift.rules import Rules
from scoreline.drift.state import State

LOG_A = Rules(DEFAULT).log_alarm_at  # one false alarm a year, at a tick every 10 seconds


def test_the_simulation_does_what_the_service_does() -> None:
    rng = np.random.default_rng(1)
    reference = reference_like(rng, 2000, 0.1, DEFAULT)
    scores, first = scores_of(rng, 300, -1.0), np.array([0, 1, 40, 200])
    fold, state, detector = Fold(reference), State.new(reference), Detector(reference, math.inf, 1)
    by_tick = log_e_by_tick(reference, scores, first)
    for log_e, rows in zip(by_tick, np.split(scores, first[1:]), strict=True):
        counts = fold(np.full((len(rows), 1), np.nan), rows[:, None])
        assert reference.log_e(counts) == pytest.approx(log_e)
        state = state.tick(reference, counts)
        detector.tick(log_e[None])
    assert state.logs[detector.is_bet] == pytest.approx(detector.logs[0])


def test_a_mean_that_goes_from_10_to_50_percent_alarms_within_20_requests() -> None:
    for per_tick in (1, 20):
        rng = np.random.default_rng(2)
        reference = reference_like(rng, 100_000, 0.1, DEFAULT)
        needed = [requests_to_alarm(rng, reference, LOG_A, 0.5, per_tick, 300, 200) for _ in range(25)]
        assert np.median(needed) <= 20


def test_a_mean_that_goes_from_10_to_12_percent_alarms_within_2000_requests_without_tolerance() -> None:
    rng = np.random.default_rng(3)
    reference = reference_like(rng, 100_000, 0.1, NO_TOLERANCE)
    needed = [requests_to_alarm(rng, reference, LOG_A, 0.12, 5, 300, 6000) for _ in range(15)]
    assert np.median(needed) <= 2000


def test_a_reference_of_2000_rows_gives_no_false_alarm_and_many_if_it_were_taken_for_the_truth() -> None:
    rng, alarms, as_truth = np.random.default_rng(4), 0, 0
    for _ in range(6):
        reference = reference_like(rng, 2000, 0.1, DEFAULT)
        alarms += false_alarms(rng, reference, LOG_A, 20_000, 10, 5)
        truth = reference_like(rng, 2000, 0.1, NO_TOLERANCE, as_if_of=10**12)
        as_truth += false_alarms(rng, truth, LOG_A, 20_000, 10, 5)
    assert alarms == 0
    assert as_truth >= 10


def test_days_that_go_up_and_down_within_the_tolerance_alarm_no_more_than_is_said() -> None:
    """Where A is small, 2,000 ticks: 10 streams of two days may alarm 86 times."""
    rng = np.random.default_rng(5)
    reference = reference_like(rng, 20_000, 0.1, DEFAULT)
    ticks, streams, a = 2 * 8640, 10, 2000.0
    alarms = alarms_in_years(rng, reference, math.log(a), ticks, streams, 0.1)
    assert alarms <= ticks * streams / a


def test_the_middle_is_that_of_the_mean() -> None:
    rng = np.random.default_rng(6)
    assert scores_of(rng, 200_000, middle_of(0.1)).mean() == pytest.approx(0.1, abs=0.002)
