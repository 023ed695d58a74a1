"""Challengers: who is worse on outcomes leaves shadow, who has proven safe goes on to answer its first requests.

One stays in shadow while it is the canary: where it turns out worse then, it is rolled back.

It goes by the same gates as people do; what these refuse is said once and tried again after a while.
"""

import logging
import time
from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

from scoreline.core.errors import BundleError, NotFound, RolloutRefused
from scoreline.operations.desk import Desk, Shown
from scoreline.operations.rollouts import By, end_shadow, roll_back, stage_of
from scoreline.records.ledger import Entry
from scoreline.rollout.gates import check_shadow
from scoreline.rollout.policy import Policy
from scoreline.rollout.stages import Challenger, Stage

AGAIN_S: Final = 600.0
END: Final = "end"
BEGIN: Final = "begin"
BACK: Final = "back"
log = logging.getLogger("scoreline.steward.challenge")


class Next(NamedTuple):
    """What is to be done with a challenger, and why."""

    what: str
    challenger: Challenger
    shown: Shown
    why: str


def what_next(
    stage: Stage, shown: Sequence[tuple[Challenger, Shown]], policy: Policy, refused: Collection[str] = ()
) -> Next | None:
    """The next thing to do, one at a time: whoever fails or is WORSE goes; the first that passes becomes the canary.

    A canary that is WORSE is rolled back. `refused`: digests that the gates have refused of late; they begin nothing.
    """
    limit = 1 / policy.alpha_shadow
    for challenger, found in shown:
        if found.seen.e_worse >= limit:
            why = f"WORSE on {found.seen.pairs} outcomes: e-value {found.seen.e_worse:.4g} reaches {limit:g}"
            is_canary = stage.canary is not None and stage.canary.digest == challenger.arm.digest
            return Next(BACK if is_canary else END, challenger, found, why)
        if found.report.get("given_up"):
            return Next(END, challenger, found, "its engine failed again and again in shadow")
    if stage.canary is not None or policy.shadow_gate == "none":
        return None
    for challenger, found in shown:
        if challenger.arm.digest in refused:
            continue
        try:
            check_shadow(challenger.arm.version, found.seen, policy)
        except RolloutRefused:
            continue
        why = f"shadow has shown what rollout.shadow_gate = {policy.shadow_gate} asks for"
        return Next(BEGIN, challenger, found, why)
    return None


class Challenges:
    """Looks at the challengers of models; `desk` knows the gates and what shadow has shown."""

    def __init__(self, desk: Desk, who: str) -> None:
        self._desk = desk
        self._who = who
        self._refused: dict[tuple[str, str, int], float] = {}

    def look(self, entry: Entry) -> None:
        """Takes the next step of a model's challengers, where there is one; raises as the desk does."""
        stage, now_s = stage_of(entry), time.monotonic()
        shown = [(each, self._desk.report(entry.model, stage, each)) for each in stage.challengers]
        refused = [
            each.arm.digest for each in stage.challengers if self._refused.get(_key(entry.model, each), 0.0) > now_s
        ]
        found = what_next(stage, shown, self._desk.policy, refused)
        if found is None:
            return
        by, arm = By(self._who, found.why), found.challenger.arm
        evidence = {"shadow": dict(found.shown.report)}
        try:
            if found.what == END:
                end_shadow(self._desk.database, entry.model, arm.digest, by, evidence)
            elif found.what == BACK:
                roll_back(self._desk.database, entry.model, by, evidence, stage)
            else:
                self._desk.canary(entry.model, arm.version, by)
            log.info("%s: version %s: %s", entry.model, arm.version, found.why)
        except (RolloutRefused, BundleError, NotFound) as error:
            self._refused[_key(entry.model, found.challenger)] = now_s + AGAIN_S
            log.warning("%s: version %s stays in shadow: %s", entry.model, arm.version, error)


def _key(model: str, challenger: Challenger) -> tuple[str, str, int]:
    return model, challenger.arm.digest, challenger.since
