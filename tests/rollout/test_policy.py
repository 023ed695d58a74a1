"""The knobs of a rollout: one set of defaults, ranges with reasons, and what follows from several together."""

import dataclasses
from typing import Any

import pytest

from scoreline.core.errors import SettingError
from scoreline.rollout.policy import WEIGHTS, Policy
from scoreline.settings import Rollout, Settings, load_settings
from scoreline.wiring import policy


def test_the_settings_are_the_policy_and_have_its_defaults() -> None:
    assert policy(Settings()) == Policy()
    names = [field.name for field in dataclasses.fields(Rollout)]
    assert [field.name for field in dataclasses.fields(Policy)] == [*names, "budgets"]


def test_what_is_set_is_what_the_policy_says() -> None:
    given = {"SCORELINE_ROLLOUT__STEPS": "0.05,1", "SCORELINE_ROLLOUT__ALPHA_ROLLBACK": "0.001"}
    given |= {"SCORELINE_ROLLOUT__LOSS": "cost", "SCORELINE_ROLLOUT__COSTS": "decline/0=25, approve/1=100"}
    found = policy(load_settings(None, {**given, "SCORELINE_CONFIG": "/dev/null"}))
    assert (found.steps, found.alpha_rollback) == ((0.05, 1.0), 0.001)
    assert found.cost_of == {("decline", "0"): 25.0, ("approve", "1"): 100.0}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"steps": (0.1, 0.1, 1.0)}, "rollout.steps: each share is larger"),
        ({"steps": ()}, "rollout.steps: shares above 0, the last of them 1"),
        ({"alpha_rollback": 0.6}, "rollout.alpha_rollback: between 1e-09 and 0.5"),
        ({"min_step_s": 0}, "rollout.min_step_s: between 1 and"),
        ({"max_requests": 499}, "rollout.max_requests: at least rollout.min_requests"),
        ({"needs_approval": "always"}, "rollout.needs_approval: one of none, first, last"),
        ({"loss": "cost"}, 'rollout.costs: as \\["decline/0=25"'),
        ({"costs": ("decline/0=25",)}, "for the loss cost and no other"),
        *(
            ({"loss": "cost", "costs": (text,)}, "OUTCOME/ACTUAL=COST")
            for text in ("decline", "decline=3", "/0=3", "decline/0=", "decline/0=-1", "decline/0=inf", "a/0=nan")
        ),
    ],
)
def test_a_policy_that_cannot_be_meant_is_refused_by_the_name_of_its_setting(given: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingError, match=words):
        Policy(**given)


def test_an_outcome_may_have_any_name() -> None:
    assert Policy(loss="cost", costs=("a/b=c/1=2",)).cost_of == {("a/b=c", "1"): 2.0}


@pytest.mark.parametrize(
    ("hold_back", "shares"),
    [(0.0, (0.01, 0.1, 0.5, 1.0)), (0.05, (0.01, 0.1, 0.5, 0.95)), (0.5, (0.01, 0.1, 0.5)), (0.6, (0.01, 0.1, 0.4))],
)
def test_no_step_takes_what_is_held_back(hold_back: float, shares: tuple[float, ...]) -> None:
    assert Policy(hold_back=hold_back).shares == shares


@pytest.mark.parametrize(
    ("given", "first"),
    [
        ({}, 0.01),
        ({"needs_approval": "first"}, 0.0),
        ({"needs_approval": "last"}, 0.01),
        ({"needs_approval": "last", "steps": (1.0,)}, 0.0),
        ({"shadow_gate": "agreement"}, 0.0),
        ({"shadow_gate": "none"}, 0.01),
    ],
)
def test_a_canary_begins_with_nothing_where_somebody_is_asked_first(given: dict[str, Any], first: float) -> None:
    assert Policy(**given).first_share == first


def test_the_weights_of_the_classes_add_up_to_one() -> None:
    assert sum(WEIGHTS.values()) == pytest.approx(1.0, abs=1e-12)
