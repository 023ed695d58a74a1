"""Thresholds: from a score to an outcome, exactly at the threshold and beside it."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreline.core.errors import SchemaError
from scoreline.core.policy import ThresholdPolicy

THREE = ThresholdPolicy(("approve", "review", "decline"), (0.3, 0.7))


def outcome(policy: ThresholdPolicy, *scores: float) -> str:
    return policy.outcomes[policy.codes(np.array([scores]))[0]]


@pytest.mark.parametrize(
    ("score", "wanted"),
    [
        (0.0, "approve"),
        (math.nextafter(0.3, 0), "approve"),
        (0.3, "review"),
        (math.nextafter(0.3, 1), "review"),
        (math.nextafter(0.7, 0), "review"),
        (0.7, "decline"),
        (1.0, "decline"),
        (-5.0, "approve"),
        (1e300, "decline"),
    ],
)
def test_outcome_holds_from_its_threshold_on(score: float, wanted: str) -> None:
    assert outcome(THREE, score) == wanted


@given(
    st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=6, unique=True).map(sorted),
    st.lists(st.floats(-1e10, 1e10), min_size=1, max_size=40),
    st.data(),
)
def test_outcome_of_a_row_alone_is_its_outcome_in_a_batch(
    thresholds: list[float], scores: list[float], data: st.DataObject
) -> None:
    beside = [math.nextafter(bound, way) for bound in thresholds for way in (-math.inf, math.inf)]
    scores = [*scores, *thresholds, *beside]
    policy = ThresholdPolicy(tuple(f"o{i}" for i in range(len(thresholds) + 1)), tuple(thresholds))
    column = np.array(scores)[:, None]
    together = list(policy.codes(column))
    assert together == [policy.codes(column[row : row + 1])[0] for row in range(len(column))]
    assert together == [sum(score >= bound for bound in thresholds) for score in scores]


def test_outcome_of_a_model_with_classes_is_the_likeliest_class() -> None:
    policy = ThresholdPolicy(("low", "mid", "high"), likeliest=True)
    scores = np.array([[0.2, 0.5, 0.3], [0.6, 0.2, 0.2], [0.1, 0.1, 0.8], [0.4, 0.4, 0.2]])
    assert [policy.outcomes[code] for code in policy.codes(scores)] == ["mid", "low", "high", "low"]
    assert [policy.codes(scores[row : row + 1])[0] for row in range(4)] == list(policy.codes(scores))


def test_without_a_policy_there_is_no_outcome() -> None:
    assert ThresholdPolicy().codes(np.zeros((3, 1))) == ()
    assert ThresholdPolicy().codes(np.zeros((1, 1))) == ()


@pytest.mark.parametrize(
    ("outcomes", "thresholds", "likeliest", "problem"),
    [
        (("a", "a"), (0.5,), False, "every outcome has a name of its own"),
        (("a", ""), (0.5,), False, "every outcome has a name of its own"),
        (("a", "b"), (), False, "one outcome more than there are thresholds"),
        (("a", "b"), (0.1, 0.2), False, "one outcome more than there are thresholds"),
        ((), (0.5,), False, "one outcome more than there are thresholds"),
        (("a", "b"), (0.5,), True, "one outcome more than there are thresholds"),
        (("a", "b", "c"), (0.5, 0.5), False, "finite and rise"),
        (("a", "b", "c"), (0.6, 0.5), False, "finite and rise"),
        (("a", "b"), (math.nan,), False, "finite and rise"),
        (("a", "b"), (math.inf,), False, "finite and rise"),
    ],
)
def test_contradictory_policy_is_refused(
    outcomes: tuple[str, ...], thresholds: tuple[float, ...], likeliest: bool, problem: str
) -> None:
    with pytest.raises(SchemaError, match=problem):
        ThresholdPolicy(outcomes, thresholds, likeliest=likeliest)
