"""The controller: what the evidence makes of a stage. Pure: stage, evidence, policy and time in, stage and actions out.

Asked twice with the same evidence it does nothing the second time, so it may be asked by whoever holds the lease, from
the beginning, whenever another has died.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scoreline.rollout.policy import Policy
from scoreline.rollout.stages import HOLD_BACK, SILENCE, Stage, hold, promote, resume, roll_back, step_up
from scoreline.rollout.verdict import ADVANCE, ROLL_BACK, CanaryEvidence, Verdict, judge, next_step


@dataclass(frozen=True, slots=True)
class Action:
    """One entry for the ledger: `kind` is advance, hold, resume, roll_back or promote."""

    kind: str
    why: str
    numbers: Mapping[str, Any]


def decide(
    stage: Stage, evidence: CanaryEvidence | None, policy: Policy, now_ns: int, seq: int
) -> tuple[Stage, tuple[Action, ...]]:
    """The stage after this look and the action that led to it; none where nothing changes.

    `seq` is the number the ledger's next entry gets. Harm rolls back whatever the state. A canary that is paused, or
    held for a person, goes no further; one held for silence goes on when it answers again.
    """
    if stage.canary is None:
        return stage, ()
    verdict = judge(stage, evidence, policy, now_ns)
    if verdict.word == ROLL_BACK:
        return _done("roll_back", roll_back(stage, seq, now_ns), verdict)
    if verdict.word == ADVANCE:
        return _advanced(stage, verdict, policy, now_ns, seq)
    if verdict.held_for and verdict.held_for != stage.held_for:
        return _done("hold", hold(stage, verdict.why, verdict.held_for), verdict)
    if not verdict.held_for and stage.held_for == SILENCE:
        return _done("resume", resume(stage, now_ns), verdict, "the canary answers again")
    return stage, ()


def _advanced(
    stage: Stage, verdict: Verdict, policy: Policy, now_ns: int, seq: int
) -> tuple[Stage, tuple[Action, ...]]:
    """A step further; after the last the champion, or held until a person promotes it, where a share is held back."""
    following = next_step(stage, policy)
    if following:
        step, share = following
        return _done(
            "advance", step_up(stage, step, share, seq, now_ns), verdict, f"to {share * 100:.6g} %: {verdict.why}"
        )
    if stage.share < 1.0:
        why = f"proven at {stage.share * 100:.6g} %; the champion keeps the rest until a person promotes"
        return _done("hold", hold(stage, why, HOLD_BACK), verdict, why)
    return _done("promote", promote(stage, seq, now_ns), verdict)


def _done(kind: str, stage: Stage, verdict: Verdict, why: str = "") -> tuple[Stage, tuple[Action, ...]]:
    return stage, (Action(kind, why or verdict.why, verdict.numbers),)
