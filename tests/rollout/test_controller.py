"""What the controller does, by table, and the laws that hold whatever is seen."""

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreline.rollout.controller import UNKNOWN, Action, Since, decide
from scoreline.rollout.policy import WEIGHTS, Policy
from scoreline.rollout.stages import (
    APPROVAL,
    HELD,
    HOLD_BACK,
    NO_VERDICT,
    PAUSED,
    RUNNING,
    SILENCE,
    Stage,
    approve,
    hold,
    pause,
    resume,
    roll_back,
    start_canary,
    step_up,
)
from scoreline.rollout.verdict import ADVANCE, HOLD, ROLL_BACK, Alone, CanaryEvidence, judge, unapproved
from somestages import ONE, SALT, SECOND, STEADY, TWO, in_canary, in_shadow

POLICY = Policy(min_step_s=600, min_requests=500, silence_s=300, horizon_s=86_400, max_requests=10_000)
BEGAN = 1000 * SECOND
SEQ = 9
HERE = in_canary()
LAST = replace(HERE, step=3, share=1.0)
SAFE = {"errors": 25.0, "overruns": 25.0, "slow": 25.0}
ALONE = {"errors_alone": 25.0, "overruns_alone": 25.0, "slow_alone": 25.0}
HARMLESS = dict.fromkeys(WEIGHTS, 0.5)


def seen(at: int, **changed: Any) -> CanaryEvidence:
    """Everything a step further needs, seen until `at` seconds after the beginning."""
    given: dict[str, Any] = {"rollout": 4, "step": 0, "e_rollback": HARMLESS, "e_safe": SAFE | ALONE}
    given |= {"units_step": 600, "units": 600, "last_window_ns": BEGAN + at * SECOND}
    return CanaryEvidence(**given | changed)


def looked(
    stage: Stage, evidence: CanaryEvidence | None, at: int, policy: Policy = POLICY, since: Since = UNKNOWN
) -> tuple[Stage, Action | None]:
    after, actions = decide(stage, evidence, policy, BEGAN + at * SECOND, SEQ, since)
    assert len(actions) <= 1 and (bool(actions) or after == stage)
    return after, actions[0] if actions else None


@pytest.mark.parametrize(
    ("evidence", "at", "word", "held_for", "why"),
    [
        (None, 10, HOLD, "", "step has lasted 10 s of 10 min; 0 of 500 entities or requests seen in this step"),
        (None, 301, HOLD, SILENCE, "the canary has answered nothing for 5.02 min"),
        (None, 86_400, HOLD, NO_VERDICT, "no verdict in 24 h: .* nothing for 24 h.*; resume it, promote it or roll"),
        (seen(610), 620, ADVANCE, "", r"every class is safe \(e-values reach 20\)"),
        (seen(590), 599, HOLD, "", "^this step has lasted 9.98 min of 10 min$"),
        (seen(610, units_step=499), 620, HOLD, "", "^499 of 500 entities or requests seen in this step$"),
        (seen(610, step=1), 620, HOLD, "", "^0 of 500 entities"),
        (seen(610, rollout=3), 620, HOLD, SILENCE, "nothing for 10.3 min"),
        (seen(100), 620, HOLD, SILENCE, "^the canary has answered nothing for 8.67 min$"),
        (seen(610, e_safe={**SAFE, "slow": 19.9}), 620, HOLD, "", "^slow not proven safe: e-value 19.9 of 20$"),
        (
            seen(610, e_safe={"errors": 99.0, "slow": 99.0}),
            620,
            HOLD,
            "",
            "^overruns not proven safe: e-value 1 of 20$",
        ),
        (seen(610, e_safe={}), 620, HOLD, "", "errors not .*; overruns not .*; slow not"),
        (seen(90_000, e_safe={}, units_step=501), 90_001, HOLD, NO_VERDICT, "no verdict in 25 h: errors not proven"),
        (seen(610, e_safe={}, units_step=10_000), 620, HOLD, NO_VERDICT, "no verdict in 10.3 min: errors not proven"),
        (
            seen(610, deaths_c=2),
            620,
            HOLD,
            NO_VERDICT,
            "^no verdict in 10.3 min: 2 workers died in the canary and none in the champion; resume it, promote it",
        ),
        (
            seen(610, deaths_c=2, e_rollback={"deaths": 700.0}),
            620,
            ROLL_BACK,
            "",
            "^deaths: e-value 105 reaches 100; 2 workers died in the canary and none in the champion$",
        ),
        (seen(610, deaths_c=3, deaths_b=1), 620, ADVANCE, "", ""),
        (seen(610, deaths_c=1), 620, ADVANCE, "", ""),
        (
            seen(20, e_rollback={"errors": 182.0, "slow": 700.0}, ratios={"errors": (1.2, 9.0)}, e_safe={}),
            30,
            ROLL_BACK,
            "",
            "^errors: e-value 100.1 reaches 100; the canary has between 1.2 and 9 times the champion's$",
        ),
        (
            seen(20, e_rollback={"errors": 2.0, "slow": 1669.0}),
            30,
            ROLL_BACK,
            "",
            "^slow: e-value 100.1 reaches 100; the canary has between 0 and inf",
        ),
        (seen(20, e_rollback={"errors": 181.0, "slow": 1666.0}, e_safe={}), 620, HOLD, SILENCE, "nothing for 10 min"),
        (
            seen(610, e_rollback={}),
            620,
            HOLD,
            "",
            "^whether it does harm is not known of errors, overruns, slow, deaths$",
        ),
    ],
)
def test_verdicts(evidence: CanaryEvidence | None, at: int, word: str, held_for: str, why: str) -> None:
    found = judge(HERE, evidence, POLICY, BEGAN + at * SECOND)
    assert (found.word, found.held_for) == (word, held_for)
    assert re.search(why, found.why), found.why


def test_a_good_canary_goes_step_by_step_to_champion_by_itself() -> None:
    stage, at = replace(HERE, challengers=in_shadow(TWO).challengers), 0
    for step, share in ((1, 0.1), (2, 0.5), (3, 1.0)):
        at += 700
        stage, action = looked(stage, seen(at, step=step - 1), at)
        assert (
            action is not None
            and action.kind == "advance"
            and action.why.startswith(f"to {share:.0%}: every".replace("%", " %"))
        )
        assert (stage.step, stage.share, stage.epoch) == (step, share, SEQ)
        assert stage.stepped_ns == BEGAN + at * SECOND
    stage, action = looked(stage, seen(at + 700, step=3), at + 700)
    assert action is not None and action.kind == "promote"
    assert stage == Stage(TWO, SEQ, previous=ONE)
    assert looked(stage, seen(at + 800, step=3), at + 800) == (stage, None)


def test_a_policy_with_other_steps_goes_on_from_the_share_there_is() -> None:
    shares = replace(POLICY, steps=(0.005, 0.05, 1.0))
    stage, _ = looked(step_up(HERE, 1, 0.1, 5, BEGAN), seen(700, step=1), 700, shares)
    assert (stage.step, stage.share) == (2, 1.0)


def test_with_a_share_held_back_the_canary_is_held_with_the_rest_until_a_person_promotes() -> None:
    policy = replace(POLICY, hold_back=0.05)
    stage, _ = looked(replace(HERE, step=2, share=0.5), seen(700, step=2), 700, policy)
    assert stage.share == 0.95
    stage, action = looked(stage, seen(1400, step=3), 1400, policy)
    assert action is not None and action.kind == "hold"
    assert action.why == "proven at 95 %; the champion keeps the rest until a person promotes"
    assert (stage.state, stage.held_for, stage.share) == (HELD, HOLD_BACK, 0.95)
    assert looked(stage, seen(9000, step=3), 9900, policy) == (stage, None)
    gone, action = looked(stage, seen(9000, step=3, e_rollback={"deaths": 1e4}), 9001, policy)
    assert gone.canary is None and action is not None and action.kind == "roll_back"


def test_silence_holds_and_ends_by_itself_when_the_canary_answers_again() -> None:
    stage, action = looked(HERE, seen(100), 700)
    assert action is not None and (action.kind, stage.held_for) == ("hold", SILENCE)
    assert looked(stage, seen(100), 800) == (stage, None)
    since = Since(BEGAN + 700 * SECOND, 480)
    assert looked(stage, seen(990, units_step=499), 999, since=since) == (stage, None), "it may be silent again"
    assert looked(stage, seen(990, units_step=489), 1000, since=since) == (stage, None), "it answers seldom"
    back, action = looked(stage, seen(990, units_step=490), 1000, since=since)
    assert back == HERE and action is not None and (action.kind, action.why) == ("resume", "the canary answers again")
    further, action = looked(stage, seen(890), 900)
    assert (further.step, further.state) == (1, RUNNING) and action is not None and action.kind == "advance"


@pytest.mark.parametrize("every_s", (120, 310, 700))
def test_a_canary_that_answers_seldom_is_held_once(every_s: int) -> None:
    """Two days of looks, each second after an answer and before the next: people are told once."""
    stage, since, told = HERE, UNKNOWN, []
    for at in sorted({one for n in range(172_800 // every_s) for one in (n * every_s + 1, (n + 1) * every_s - 1)}):
        units = at // every_s
        evidence = seen(at // every_s * every_s, units_step=units, e_safe={})
        stage, action = looked(stage, evidence, at, replace(POLICY, horizon_s=10**7), since)
        if action:
            told.append(action.kind)
            since = Since(BEGAN + at * SECOND, units)
    assert told == ([] if every_s < POLICY.silence_s else ["hold"])


@pytest.mark.parametrize("stage", [hold(HERE, "wait for Monday"), pause(HERE, "lunch"), hold(HERE, "x", NO_VERDICT)])
def test_what_a_person_ordered_or_must_decide_only_harm_ends(stage: Stage) -> None:
    assert looked(stage, seen(700), 700) == (stage, None)
    assert looked(stage, None, 10**7) == (stage, None)
    assert judge(stage, seen(700), POLICY, BEGAN + 700 * SECOND).why == stage.why
    gone, action = looked(stage, seen(700, e_rollback={"errors": 1e300}), 700)
    assert gone == Stage(ONE, SEQ) and action is not None and action.kind == "roll_back"


def test_without_a_verdict_a_person_is_asked_and_can_give_another_horizon() -> None:
    weak = seen(86_390, e_safe={}, units_step=10_000)
    stage, action = looked(HERE, weak, 86_400)
    assert action is not None and (action.kind, stage.held_for) == ("hold", NO_VERDICT)
    further = resume(stage, BEGAN + 200_000 * SECOND)
    assert looked(further, replace(weak, last_window_ns=BEGAN + 200_100 * SECOND), 200_101) == (further, None)
    again, action = looked(further, replace(weak, last_window_ns=BEGAN + 286_400 * SECOND), 286_400)
    assert again.held_for == NO_VERDICT and action is not None and "no verdict in 24 h" in action.why


def test_approval_comes_before_the_first_step_where_it_is_asked_for() -> None:
    policy = replace(POLICY, needs_approval="first")
    stage = start_canary(STEADY, TWO, 4, BEGAN, salt=SALT, share=policy.first_share)
    assert looked(stage, None, 100_000, policy) == (stage, None)
    approved = approve(stage, "ann", "bob")
    begun, action = looked(approved, None, 100_000, policy)
    assert action is not None and action.kind == "advance"
    assert (begun.step, begun.share, begun.stepped_ns) == (0, 0.01, BEGAN + 100_000 * SECOND)
    paused = pause(stage, "lunch")
    assert looked(resume(paused, 7), None, 5, policy)[0].held_for == APPROVAL
    assert looked(stage, None, 5, POLICY)[0].share == 0.01, "the policy no longer asks"


def test_approval_comes_before_the_last_step_where_it_is_asked_for() -> None:
    policy = replace(POLICY, needs_approval="last")
    stage = replace(HERE, step=2, share=0.5)
    waiting, action = looked(stage, seen(700, step=2), 700, policy)
    assert action is not None and (action.kind, waiting.held_for) == ("hold", APPROVAL)
    assert looked(waiting, seen(710, step=2), 710, policy) == (waiting, None)
    assert looked(waiting, seen(710, step=2, e_safe={}), 710, policy) == (waiting, None)
    after, action = looked(approve(waiting, "ann", "bob"), seen(720, step=2), 720, policy)
    assert (after.share, action and action.kind) == (1.0, "advance")
    early, _ = looked(approve(stage, "ann", "bob"), seen(720, step=2), 720, policy)
    assert early.share == 1.0


@pytest.mark.parametrize(
    ("needs", "stage_share", "share", "waits"),
    [
        ("none", 0.0, 1.0, ""),
        ("first", 0.0, 0.01, "first step"),
        ("first", 0.01, 1.0, ""),
        ("last", 0.0, 0.01, ""),
        ("last", 0.01, 0.1, ""),
        ("last", 0.01, 1.0, "last step"),
        ("last", 1.0, 1.0, ""),
    ],
)
def test_an_approval_is_missing_for_a_share_whoever_asks_for_it(
    needs: str, stage_share: float, share: float, waits: str
) -> None:
    stage, policy = in_canary(share=stage_share), replace(POLICY, needs_approval=needs)
    found = unapproved(stage, policy, share)
    assert found.endswith(f"before its {waits}") if waits else found == ""
    assert unapproved(approve(stage, "ann", "bob"), policy, share) == ""


def test_numbers_say_what_the_verdict_rests_on() -> None:
    evidence = seen(
        610,
        e_rollback={"errors": 10.0, "slow": 3.0},
        e_safe={"errors": 25.0, "overruns": 25.0, "slow": 4.0},
        ratios={"errors": (0.7, float("inf"))},
        units_step=400,
        units=900,
        deaths_c=1,
    )
    numbers = judge(HERE, evidence, POLICY, BEGAN + 620 * SECOND).numbers
    assert json.loads(json.dumps(numbers, allow_nan=False)) == numbers
    assert numbers == {
        "share": 0.01,
        "e_rollback": pytest.approx(5.5),
        "e_rollback_limit": 100.0,
        "leading": "errors",
        "terms": {"errors": pytest.approx(5.5), "slow": pytest.approx(0.18)},
        "ratio": [0.7, None],
        "e_safe": {"errors": 25.0, "overruns": 25.0, "slow": 4.0},
        "e_safe_limit": 20.0,
        "units": 900,
        "units_step": 400,
        "units_needed": 161,  # ln(20 / 4) / -ln(1 - 0.01) is more than the 100 this step lacks
        "deaths_canary": 1,
        "deaths_champion": 0,
        "alone": {},
    }
    nothing = judge(HERE, None, POLICY, BEGAN).numbers
    assert nothing == {"share": 0.01, "units": 0, "units_step": 0, "units_needed": 500}


def test_alone_every_class_is_proven_once_more_and_harm_is_told_by_its_rate() -> None:
    last, at = replace(HERE, step=3, share=1.0), 620
    for missing in ALONE:
        found = judge(last, seen(610, step=3, e_safe={**SAFE, **ALONE, missing: 19.0}), POLICY, BEGAN + at * SECOND)
        assert (found.word, found.why) == (HOLD, f"{missing} not proven safe: e-value 19 of 20")
    assert judge(last, seen(610, step=3, e_safe=SAFE), POLICY, BEGAN + at * SECOND).word == HOLD
    lone = {"errors": Alone(600, 40, 0.02, 0.01)}
    harm = seen(610, step=3, e_rollback={**HARMLESS, "errors_alone": 2000.0}, alone=lone)
    found = judge(last, harm, POLICY, BEGAN + at * SECOND)
    assert (found.word, found.why) == (
        ROLL_BACK,
        "errors_alone: e-value 120 reaches 100; 40 of 600 entities or requests have one now that the canary answers "
        "everything, and more than 2 % is harm",
    )
    assert found.numbers["alone"] == {"errors": {"units": 600, "events": 40, "harm_limit": 0.02, "safe_limit": 0.01}}
    gone, action = looked(last, harm, at)
    assert gone == Stage(ONE, SEQ) and action is not None and action.kind == "roll_back"


def test_two_workers_that_died_in_the_canary_alone_ask_a_person_once_a_step() -> None:
    stage, action = looked(HERE, seen(610, deaths_c=2), 620)
    assert action is not None and (action.kind, stage.held_for) == ("hold", NO_VERDICT)
    further = resume(stage, BEGAN + 700 * SECOND)
    after, action = looked(further, seen(790, deaths_c=2), 800)
    assert action is not None and (action.kind, after.share) == ("advance", 0.1)
    again, action = looked(after, seen(890, step=1, deaths_c=2), 900)
    assert action is not None and (action.kind, again.held_for) == ("hold", NO_VERDICT)


E = st.floats(0, 1e300)
CLASSES = tuple(WEIGHTS)


@st.composite
def any_evidence(draw: st.DrawFn) -> CanaryEvidence:
    low = st.sampled_from((0.0, 0.5, 1.0, 19.9, 20.0, 99.0, 100.0, 181.0, 182.0, 1e300)) | E
    names = st.sets(st.sampled_from(CLASSES)) | st.just(set(CLASSES))
    return CanaryEvidence(
        rollout=draw(st.sampled_from((4, 4, 4, 3))),
        step=draw(st.integers(0, 3)),
        e_rollback={name: draw(low) for name in draw(names)},
        e_safe={name: draw(low) for name in draw(names)},
        units_step=draw(st.integers(0, 20_000)),
        units=draw(st.integers(0, 50_000)),
        last_window_ns=BEGAN + draw(st.integers(-10, 100_000)) * SECOND,
        deaths_c=draw(st.integers(0, 3)),
        deaths_b=draw(st.integers(0, 1)),
    )


@st.composite
def any_stage(draw: st.DrawFn) -> Stage:
    step = draw(st.integers(0, 3))
    share = draw(st.sampled_from((0.0, POLICY.shares[step])))
    score = draw(st.sampled_from((None, 0.9)))
    stage = start_canary(STEADY, TWO, 4, BEGAN, salt=SALT, share=share, slow_ns=7, high_score=score)
    stage = replace(stage, step=step, stepped_ns=BEGAN + draw(st.integers(0, 5000)) * SECOND)
    held_for = draw(st.sampled_from(("", "", SILENCE, NO_VERDICT, APPROVAL, HOLD_BACK, "person", PAUSED)))
    if held_for == PAUSED:
        return pause(stage, "why")
    approved = draw(st.sampled_from((stage, approve(stage, "ann", "bob"))))
    return hold(approved, "why", held_for) if held_for else approved


POLICIES = st.builds(
    lambda **given: replace(POLICY, **given),
    needs_approval=st.sampled_from(("none", "first", "last")),
    hold_back=st.sampled_from((0.0, 0.05)),
    min_requests=st.sampled_from((1, 500)),
    horizon_s=st.sampled_from((1, 86_400)),
)
TIMES = st.integers(0, 200_000).map(lambda at: BEGAN + at * SECOND)


@given(any_stage(), st.none() | any_evidence(), POLICIES, TIMES)
def test_asked_twice_with_the_same_evidence_it_acts_once(
    stage: Stage, evidence: CanaryEvidence | None, policy: Policy, now_ns: int
) -> None:
    after, actions = decide(stage, evidence, policy, now_ns, SEQ)
    assert bool(actions) == (after != stage)
    assert decide(after, evidence, policy, now_ns, SEQ + 1) == (after, ())


@given(
    any_stage(),
    any_evidence(),
    POLICIES,
    TIMES,
    st.sampled_from(("none", "elsewhere", "empty", "blind", "few", "quiet")),
)
def test_a_canary_never_goes_further_without_data(
    stage: Stage, evidence: CanaryEvidence, policy: Policy, now_ns: int, lack: str
) -> None:
    lacking = {
        "none": None,
        "elsewhere": replace(evidence, rollout=3),
        "empty": replace(evidence, e_safe={}),
        "blind": replace(evidence, e_rollback={}),
        "few": replace(evidence, units_step=0),
        "quiet": replace(evidence, last_window_ns=0),
    }[lack]
    after, _ = decide(stage, lacking, policy, now_ns, SEQ)
    first = stage.share == 0.0
    further = after.share > stage.share or after.champion != stage.champion
    quiet_is_early = lack == "quiet" and now_ns - stage.stepped_ns <= policy.silence_s * SECOND
    assert not further or (first and after.share == policy.shares[0]) or quiet_is_early


@given(any_stage(), st.lists(st.tuples(st.none() | any_evidence(), TIMES), max_size=5), POLICIES)
def test_rolled_back_stays_rolled_back(
    stage: Stage, later: list[tuple[CanaryEvidence | None, int]], policy: Policy
) -> None:
    gone = roll_back(stage, SEQ, BEGAN)
    for evidence, now_ns in later:
        assert decide(gone, evidence, policy, now_ns, SEQ + 1) == (gone, ())


RANK = {ROLL_BACK: 0, HOLD: 1, ADVANCE: 2}


@given(any_stage(), any_evidence(), POLICIES, TIMES, st.sampled_from(CLASSES), E)
def test_more_evidence_of_harm_never_helps_and_more_of_safety_never_hurts(
    stage: Stage, evidence: CanaryEvidence, policy: Policy, now_ns: int, name: str, more: float
) -> None:
    def rank(found: CanaryEvidence) -> int:
        return RANK[judge(stage, found, policy, now_ns).word]

    before = rank(evidence)
    if name in evidence.e_rollback:  # what was not known is no evidence of harm
        worse = {**evidence.e_rollback, name: max(more, evidence.e_rollback[name])}
        assert rank(replace(evidence, e_rollback=worse)) <= before
    if not evidence.deaths_b:
        assert rank(replace(evidence, deaths_c=evidence.deaths_c + 1)) <= before
    safer = {**evidence.e_safe, name: max(more, evidence.e_safe.get(name, 1.0))}
    assert rank(replace(evidence, e_safe=safer)) >= before
    assert rank(replace(evidence, units_step=evidence.units_step + 1000)) >= before
    assert rank(replace(evidence, last_window_ns=evidence.last_window_ns + SECOND)) >= before


@given(any_stage(), any_evidence(), POLICIES, TIMES)
def test_what_changes_the_stage_is_an_action_with_its_reason_and_numbers(
    stage: Stage, evidence: CanaryEvidence, policy: Policy, now_ns: int
) -> None:
    after, actions = decide(stage, evidence, policy, now_ns, SEQ)
    for action in actions:
        assert action.why and json.dumps(action.numbers, allow_nan=False)
        assert (after.epoch == SEQ) == (action.kind in ("advance", "roll_back", "promote"))
        assert after.share >= stage.share or action.kind in ("roll_back", "promote")
