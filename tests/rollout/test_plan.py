"""What a rollout will take, said beforehand: which limit each step has, and what never comes."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreline.evidence.planning import outcomes_to_safe
from scoreline.rollout.plan import Plan, Traffic, plan
from scoreline.rollout.policy import Policy

POLICY = Policy(min_step_s=600, min_requests=500)
CLEAN = {"errors": 0.0, "overruns": 0.0}


def limits(found: Plan) -> list[str]:
    return [step.limit for step in found.steps]


def test_without_events_the_fewest_requests_limit_a_small_step_and_time_a_large_one() -> None:
    found = plan(Traffic(20.0, CLEAN), POLICY)
    assert limits(found) == ["min_requests", "min_step_s", "min_step_s", "min_step_s"]
    assert [step.lasts_s for step in found.steps] == pytest.approx([2500, 600, 600, 600])
    assert found.canary_s == pytest.approx(4300)
    assert not any(step.held for step in found.steps)


def test_what_is_proven_in_one_step_need_not_be_again() -> None:
    few = Policy(min_step_s=1, min_requests=1)
    found = plan(Traffic(20.0, {"errors": 0.001, "slow": 0.01}), few)
    assert limits(found)[:3] == ["slow", "min_step_s", "min_step_s"]
    at_once = plan(Traffic(20.0, {"slow": 0.01}), Policy(steps=(0.01, 0.5, 1.0), min_step_s=1, min_requests=1))
    assert at_once.steps[0].units == found.steps[0].units and at_once.steps[1].units == pytest.approx(10)


def test_but_for_the_last_where_no_champion_is_beside_it_any_more() -> None:
    few = Policy(min_step_s=1, min_requests=1)
    last = plan(Traffic(20.0, {"errors": 0.001, "slow": 0.01}), few).steps[-1]
    assert last.limit == "slow_alone" and last.units is not None and 1000 < last.units < 2000
    clean = plan(Traffic(20.0, CLEAN), few).steps[-1]
    assert (clean.limit, clean.units) == ("errors_alone", 415)
    held_back = plan(Traffic(20.0, CLEAN), Policy(min_step_s=1, min_requests=1, hold_back=0.05)).steps[-1]
    assert (held_back.share, held_back.limit) == (0.95, "min_step_s")
    never = plan(Traffic(20.0, {"overruns": 0.6}), few).steps[-1]
    assert (never.limit, never.units, never.held) == ("overruns_alone", None, True)


def test_a_step_longer_than_the_horizon_or_of_more_requests_than_allowed_will_be_held() -> None:
    long = plan(Traffic(0.0001, CLEAN), POLICY)
    assert [step.held for step in long.steps] == [True, True, True, True]
    assert long.canary_s is not None and long.canary_s > POLICY.horizon_s
    many = plan(Traffic(1e5, CLEAN), POLICY)
    assert [step.held for step in many.steps] == [False, True, True, True]


@pytest.mark.parametrize(
    ("traffic", "limit"),
    [
        (Traffic(0.0, CLEAN), "min_requests"),
        (Traffic(20.0, {**CLEAN, "scores": 0.0}), "scores"),
        (Traffic(20.0, {"errors": 0.02}), "errors"),
    ],
)
def test_what_never_comes_is_said_with_its_reason(traffic: Traffic, limit: str) -> None:
    """Without traffic nothing; without a baseline beside it a canary that errs more than tolerated cannot be proven."""
    found = plan(traffic, Policy(steps=(1.0,)))
    assert [(step.units, step.lasts_s, step.limit, step.held) for step in found.steps] == [(None, None, limit, True)]
    assert found.canary_s is None


def test_shadow_waits_for_outcomes_and_for_them_to_be_final() -> None:
    known = Traffic(20.0, CLEAN, outcomes_per_s=2.0, variance=0.01, maturity_s=86_400)
    found = plan(known, POLICY)
    assert found.shadow_outcomes is not None and found.shadow_s == pytest.approx(found.shadow_outcomes / 2 + 86_400)
    assert plan(Traffic(20.0, CLEAN, variance=0.01), POLICY).shadow_s is None
    assert plan(Traffic(20.0, CLEAN, outcomes_per_s=2.0), POLICY).shadow_outcomes is None


@pytest.mark.parametrize(
    ("policy", "bound"),
    [
        (Policy(), 1.0),
        (Policy(loss="log"), math.log(0.999 / 0.001)),
        (Policy(loss="cost", costs=("decline/0=25", "approve/1=100")), 100.0),
    ],
)
def test_shadow_takes_as_long_as_its_report_will_say(policy: Policy, bound: float) -> None:
    found = plan(Traffic(20.0, CLEAN, outcomes_per_s=2.0, variance=0.001), policy)
    assert found.shadow_outcomes == outcomes_to_safe(0.001, policy.delta, policy.alpha_shadow, bound)


def test_harm_is_rolled_back_after_a_few_events_of_the_canary() -> None:
    found = plan(Traffic(20.0, {**CLEAN, "slow": 0.01}), POLICY).rollbacks
    assert found["errors"].rate == 0.01 and found["errors"].units == pytest.approx(200)
    assert found["errors"].after_s == pytest.approx(1000)
    assert found["slow"].rate == 0.02 and found["slow"].units is not None and found["slow"].units > 1000


RATES = st.dictionaries(
    st.sampled_from(("errors", "overruns", "slow", "scores")), st.just(0.0) | st.floats(1e-9, 1), min_size=1
)


@given(st.just(0.0) | st.floats(1e-6, 1e6), RATES, st.sampled_from((0.0, 0.05)), st.none() | st.floats(0, 1))
def test_any_plan_is_json_and_its_steps_are_those_of_the_policy(
    units_per_s: float, rates: dict[str, float], hold_back: float, variance: float | None
) -> None:
    policy = Policy(hold_back=hold_back)
    found = plan(Traffic(units_per_s, rates, 1.0, variance), policy)
    assert tuple(step.share for step in found.steps) == policy.shares
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["canary_s"] == found.canary_s
    for step in found.steps:
        assert step.lasts_s is None or step.lasts_s >= policy.min_step_s * (1 - 1e-9)
