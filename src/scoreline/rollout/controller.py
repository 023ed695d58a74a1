"""The controller: what the evidence makes of a stage. Pure: stage, evidence, policy and time in, stage and actions out.

Asked twice with the same evidence it does nothing the second time, so it may be asked by whoever holds the lease, from
the beginning, whenever another has died.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from scoreline.rollout.policy import Policy
from scoreline.rollout.stages import HOLD_BACK, SILENCE, Stage, hold, promote, resume, roll_back, step_up
from scoreline.rollout.verdict import ADVANCE, NS, ROLL_BACK, CanaryEvidence, Verdict, judge, next_step

OFTEN: Final = 10  # units in the silence that is allowed, or more: a canary that answers seldom would flap otherwise


@dataclass(frozen=True, slots=True)
class Action:
    """One entry for the ledger: `kind` is advance, hold, resume, roll_back or promote."""

    kind: str
    why: str
    numbers: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Since:
    """When the ledger's last entry was written, and how many units the canary had answered by then in its step."""

    at_ns: int = 0
    units: int = 0


UNKNOWN: Final = Since()


def decide(
    stage: Stage, evidence: CanaryEvidence | None, policy: Policy, now_ns: int, seq: int, since: Since = UNKNOWN
) -> tuple[Stage, tuple[Action, ...]]:
    """The stage after this look and the action that led to it; none where nothing changes.

    `seq` is the number the ledger's next entry gets. Harm rolls back whatever the state. A canary that is paused, or
    held for a person, goes no further; one held for silence goes on when it answers again, often.
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
    if not verdict.held_for and stage.held_for == SILENCE and _answers_often(verdict, policy, now_ns, since):
        return _done("resume", resume(stage, now_ns), verdict, "the canary answers again")
    return stage, ()


def _answers_often(verdict: Verdict, policy: Policy, now_ns: int, since: Since) -> bool:
    """Whether a canary held for silence has answered since as one that is never silent so long, for as long as that."""
    lasted_s, units = (now_ns - since.at_ns) / NS, verdict.numbers["units_step"] - since.units
    return lasted_s >= policy.silence_s and units >= OFTEN * lasted_s / policy.silence_s


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
