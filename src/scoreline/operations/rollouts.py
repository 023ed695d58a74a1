"""Acting on the versions of a model: each action is one entry of the ledger, or none where it cannot be taken.

Whoever acts reads the last entry, takes a step of `rollout.stages` and appends what comes of it under the next number.
Where someone else was faster, the step is taken once more, from what they left.
"""

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from scoreline.core.errors import LedgerMoved, NotFound, RolloutRefused
from scoreline.records.database import Database
from scoreline.records.ledger import Entry, append, last
from scoreline.records.rows import plain
from scoreline.rollout import stages
from scoreline.rollout.policy import Policy
from scoreline.rollout.stages import Arm, Stage
from scoreline.rollout.verdict import next_step, unapproved

TRIES: Final = 5
SALT_BYTES: Final = 16
Evidence = Mapping[str, Any]
Step = Callable[[Stage, int, int], Stage]  # from a stage, the number of the entry and the time


@dataclass(frozen=True, slots=True)
class By:
    """Who acts, and why, as every database keeps it; `seen` is the entry that this was decided on, 0: the last one."""

    who: str
    why: str = ""
    seen: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "who", plain(self.who))
        object.__setattr__(self, "why", plain(self.why))


def seed(database: Database, model: str, arm: Arm, by: By) -> Entry:
    """The first entry of a model; where there is one already, the last."""
    found = last(database, model)
    if found is None:
        stage = Stage(arm, epoch=1)
        found = Entry(model, 1, time.time_ns(), "seed", by.who, by.why, stage.to_json(), {})
        try:
            append(database, found)
        except LedgerMoved:
            return seed(database, model, arm, by)
    return found


def act(database: Database, model: str, action: str, by: By, step: Step, evidence: Evidence | None = None) -> Entry:
    """Takes a step and appends it; raises RolloutRefused, NotFound, LedgerMoved, DatabaseDown or DatabaseRefused.

    The step is taken from what is there by then: what it is about (which canary, which step) it has to know itself.
    """
    for tries in range(TRIES):
        seen = current(database, model)
        if by.seen and seen.seq != by.seen:
            raise LedgerMoved(f"{model} is at entry {seen.seq}, not at {by.seen} any more; look, and decide again")
        now_ns, seq = time.time_ns(), seen.seq + 1
        stage = step(stage_of(seen), seq, now_ns)
        entry = Entry(model, seq, now_ns, action, by.who, by.why, stage.to_json(), evidence or {})
        try:
            append(database, entry)
        except LedgerMoved:
            if tries == TRIES - 1:
                raise
        else:
            return entry
    raise AssertionError


def current(database: Database, model: str) -> Entry:
    """The last entry of a model; raises NotFound."""
    found = last(database, model)
    if found is None:
        raise NotFound(f"no service with this database serves {model!r} yet: `scoreline serve` it first")
    return found


def stage_of(entry: Entry) -> Stage:
    """What an entry left the model in; raises RolloutRefused where a newer version wrote it."""
    return Stage.from_json(entry.stage)


def shadow(database: Database, model: str, arm: Arm, by: By, evidence: Evidence | None = None) -> Entry:
    """`arm` scores all traffic and answers none."""
    return act(
        database, model, "shadow", by, lambda stage, seq, now: stages.start_shadow(stage, arm, seq, now), evidence
    )


def end_shadow(database: Database, model: str, digest: str, by: By, evidence: Evidence | None = None) -> Entry:
    """The challenger with this digest is scored no more."""
    return act(database, model, "end_shadow", by, lambda stage, seq, _: stages.end_shadow(stage, digest, seq), evidence)


@dataclass(frozen=True, slots=True)
class Frozen:
    """Thresholds of events, from the champion's traffic before the canary: 0 and None are not counted."""

    slow_ns: int = 0
    high_score: float | None = None


def canary(
    database: Database,
    model: str,
    arm: Arm,
    policy: Policy,
    frozen: Frozen,
    by: By,
    evidence: Evidence | None = None,
    against: str = "",
) -> Entry:
    """`arm` answers the first share; the gates are the caller's, who names the champion they were held `against`."""

    def begin(stage: Stage, seq: int, now_ns: int) -> Stage:
        _still(stage, against)
        return stages.start_canary(
            stage,
            arm,
            seq,
            now_ns,
            salt=secrets.token_hex(SALT_BYTES),
            share=policy.first_share,
            slow_ns=frozen.slow_ns,
            high_score=frozen.high_score,
        )

    return act(database, model, "canary", by, begin, evidence)


def advance(
    database: Database,
    model: str,
    policy: Policy,
    by: By,
    evidence: Evidence | None = None,
    of: Stage | None = None,
) -> Entry:
    """A person's step further, whatever the evidence, but not without an approval that the policy asks for.

    To the next share, or at the last one to champion; from where the canary was in `of`, and only from there.
    """
    seen = of or stage_of(current(database, model))

    def up(stage: Stage, seq: int, now_ns: int) -> Stage:
        if _same(stage, seen).step != seen.step:
            raise RolloutRefused(f"the canary has gone a step further meanwhile, to {stage.share:.6g}; look again")
        stages.not_paused(stage)
        following = next_step(stage, policy)
        if following is None:
            return stages.promote(stage, seq, now_ns)
        waits = unapproved(stage, policy, following[1])
        if waits:
            raise RolloutRefused(f"{waits}; `scoreline rollout approve`")
        return stages.step_up(stage, *following, seq, now_ns)

    return act(database, model, "advance", by, up, evidence)


def promote(
    database: Database, model: str, by: By, digest: str = "", evidence: Evidence | None = None, against: str = ""
) -> Entry:
    """The canary becomes the champion, or the challenger with this digest; `against` as of a canary."""

    def crown(stage: Stage, seq: int, now_ns: int) -> Stage:
        _still(stage, against)
        return stages.promote(stage, seq, now_ns, digest)

    return act(database, model, "promote", by, crown, evidence)


def _still(stage: Stage, champion: str) -> None:
    """Raises RolloutRefused where another version is champion than the one (by digest) that gates were held against."""
    if champion and stage.champion.digest != champion:
        raise RolloutRefused(f"version {stage.champion.version} has become the champion meanwhile; ask again")


def serve_arm(database: Database, model: str, arm: Arm, by: By) -> Entry:
    """`arm` becomes the champion without a rollout."""
    return act(database, model, "serve", by, lambda stage, seq, now: stages.serve(stage, arm, seq, now))


def roll_back(
    database: Database, model: str, by: By, evidence: Evidence | None = None, of: Stage | None = None
) -> Entry:
    """The canary is gone. As with all that follow: the canary of `of`, else the one there is at the first look."""
    return _with(database, model, "roll_back", by, stages.roll_back, evidence, of)


def pause(database: Database, model: str, by: By, evidence: Evidence | None = None, of: Stage | None = None) -> Entry:
    """The canary keeps its share and goes no further; harm still rolls it back."""
    why = by.why or f"by {by.who}"
    return _with(database, model, "pause", by, lambda stage, _, __: stages.pause(stage, why), evidence, of)


def resume(database: Database, model: str, by: By, evidence: Evidence | None = None, of: Stage | None = None) -> Entry:
    """A canary that is paused, or held, goes on."""
    return _with(database, model, "resume", by, lambda stage, _, now: stages.resume(stage, now), evidence, of)


def approve(database: Database, model: str, sealer: str, by: By, of: Stage | None = None) -> Entry:
    """Somebody other than the sealer approves the rollout."""
    return _with(database, model, "approve", by, lambda stage, _, __: stages.approve(stage, by.who, sealer), None, of)


def take_back(database: Database, model: str, by: By, version: str) -> Entry:
    """The champion with this version is champion no more: the one before answers again."""
    return act(database, model, "roll_back", by, lambda stage, seq, now: stages.take_back(stage, version, seq, now))


def _with(
    database: Database, model: str, action: str, by: By, step: Step, evidence: Evidence | None, of: Stage | None
) -> Entry:
    """A step of the canary that was there when it was decided, and of no other."""
    seen = of or stage_of(current(database, model))
    return act(database, model, action, by, lambda stage, *given: step(_same(stage, seen), *given), evidence)


def _same(stage: Stage, of: Stage) -> Stage:
    """The stage, if it has the rollout of another; raises RolloutRefused."""
    stages.canary_of(of)
    if stage.rollout != of.rollout:
        gone = f"version {stages.canary_of(of).version} is not the canary any more"
        raise RolloutRefused(f"{gone}: someone was faster; `scoreline rollout history` says who")
    return stage
