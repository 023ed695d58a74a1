"""Governing: what the ledger says becomes what workers do, and what the evidence says becomes the ledger's next entry.

Every steward reads the ledger four times a second and renews its host's lease by that: without, no canary answers here.
One of them, which holds the lease in the database, also decides: once a second, for each model with a canary.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from scoreline.control.attempts import Attempts
from scoreline.control.challenge import Challenges
from scoreline.core.errors import BundleError, LedgerMoved
from scoreline.core.ports import Registry, Verifier
from scoreline.core.refs import Ref
from scoreline.operations.canaries import seen_of
from scoreline.operations.governed import alone, arm_of, assignment, fetch, is_over, missing, promised
from scoreline.operations.leased import renew
from scoreline.operations.memory import give_back_freed_memory
from scoreline.operations.rollouts import By, seed, stage_of
from scoreline.operations.state import Assignment, State, read_state, write_state
from scoreline.records.database import Database
from scoreline.records.lease import Lease
from scoreline.records.ledger import Entry, append, heads, last
from scoreline.rollout.controller import Since, decide
from scoreline.rollout.policy import Policy
from scoreline.rollout.stages import Arm, Stage
from scoreline.rollout.verdict import CanaryEvidence, judge

LOOK_S: Final = 0.25
DECIDE_S: Final = 1.0
CHALLENGE_S: Final = 5.0
HOLD_S: Final = 3.0
FETCH_S: Final = 2.0
CONTROLLER: Final = "controller"
log = logging.getLogger("scoreline.steward.govern")


class Governing:
    """`refs` are those of `serve` into registries: where first champions come from.

    Four threads: one applies the ledger, one brings bundles that are not here, two decide while it leads."""

    def __init__(
        self,
        database: Database,
        state_dir: Path,
        policy: Policy,
        registries: Mapping[str, Registry],
        trust: Callable[[], Verifier],
        refs: Sequence[str],
        challenges: Challenges,
        on_refused: Callable[[BundleError], None] = lambda _: None,
    ) -> None:
        self._database = database
        self._state_dir = state_dir
        self._policy = policy
        self._registries = registries
        self._trust = trust
        self._refs = {Ref.parse(ref).name: ref for ref in refs}
        self._challenges = challenges
        self._on_refused = on_refused
        self._lease = Lease(database, CONTROLLER)
        self.leads = False
        self._held_s = 0.0
        self._applied: dict[str, int] = {}
        self._assigned: dict[str, Assignment] = {}
        self._lacking: dict[str, list[Arm]] = {}
        self._attempts = Attempts(log, on_new=self._count)
        self._stages: dict[str, Stage] = {}
        self._seen: dict[str, tuple[Stage, CanaryEvidence]] = {}
        self._ending = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(act, pause_s), name=name, daemon=True)
            for name, act, pause_s in (
                ("ledger", self.look, LOOK_S),
                ("bundles", self.bring, FETCH_S),
                (CONTROLLER, self.decide, DECIDE_S),
                ("challenges", self.challenge, CHALLENGE_S),
            )
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def finish(self) -> None:
        """Ends the threads and gives the lease back, where the database can be asked."""
        self._ending.set()
        if self.leads:
            giving = threading.Thread(target=self._attempt, args=("controller", self._lease.give_back), daemon=True)
            giving.start()
            giving.join(1.0)

    def status(self) -> dict[str, Any]:
        """Whether this steward decides, up to which entry and how each model stands here, and what is not here yet.

        `evidence` is what the controller has seen of each canary at its last look; other stewards have none.
        """
        now_ns = time.time_ns()
        return {
            "leads": self.leads,
            "applied": dict(self._applied),
            "stages": {
                model: {
                    "state": stage.state,
                    "canary": stage.canary.version if stage.canary else None,
                    "share": stage.share,
                    "held_for": stage.held_for,
                }
                for model, stage in list(self._stages.items())
            },
            "evidence": {
                model: judge(stage, evidence, self._policy, now_ns).numbers
                for model, (stage, evidence) in (list(self._seen.items()) if self.leads else ())
            },
            "lacking": {model: [arm.version for arm in arms] for model, arms in self._lacking.items() if arms},
            "error": self._attempts.said,
        }

    def look(self) -> None:
        """Applies what is new in the ledger to this host, and renews its lease."""
        self._database.prepare_once()
        state, read_ns = read_state(self._state_dir), time.time_ns()
        found = heads(self._database)
        for model in state.models:
            if not self._attempt(f"ledger of {model}", partial(self._follow, state, model, found)):
                self._applied.pop(model, None)
                self._assign(model, alone(state.models[model]))  # it cannot be known whether its canary may go on
        renew(self._state_dir, read_ns)

    def _follow(self, state: State, model: str, found: dict[str, int]) -> None:
        if model not in found:
            found[model] = self._seed(state, model)
        assigned, ours = state.models[model], self._assigned.get(model)
        # The workers' part of a service that begins anew writes the champion alone.
        is_anew = ours is not None and assigned != ours and assigned == replace(ours, canary=None)
        if is_anew or found[model] != self._applied.get(model) or is_over(assigned, time.time_ns()):
            self._apply(model)

    def bring(self) -> None:
        """Brings the bundles that the ledger names and that are not here."""
        for model, arms in list(self._lacking.items()):
            for arm in arms:
                self._attempt(f"version {arm.version} of {model}", partial(self._fetch, model, arm))

    def _fetch(self, model: str, arm: Arm) -> None:
        fetch(arm, self._registries, self._trust(), self._state_dir)
        self._applied.pop(model, None)  # applied once more, with it

    def decide(self) -> None:
        """Takes or renews the lease; where it is held, looks at the evidence of each canary."""
        self._database.prepare_once()
        now_s = time.monotonic()
        if not self.leads or now_s - self._held_s >= HOLD_S:
            self.leads, self._held_s = self._lease.hold(), now_s
        if not self.leads:
            return
        for model in heads(self._database):
            entry = last(self._database, model)
            if entry is not None:
                self._attempt(f"controller of {model}", partial(self._decide, entry))

    def challenge(self) -> None:
        """Where the lease is held, looks at what shadow shows of the challengers."""
        for model in heads(self._database) if self.leads else ():
            entry = last(self._database, model)
            if entry is not None:
                self._attempt(f"challengers of {model}", partial(self._challenges.look, entry))

    def _decide(self, entry: Entry) -> None:
        stage = stage_of(entry)
        if stage.canary is None:
            self._seen.pop(entry.model, None)
            return
        evidence = seen_of(self._database, entry.model, stage).evidence(stage, self._policy)
        self._seen[entry.model] = stage, evidence
        now_ns, seq = time.time_ns(), entry.seq + 1
        since = Since(entry.at_ns, entry.evidence.get("units_step", 0))
        after, actions = decide(stage, evidence, self._policy, now_ns, seq, since)
        for action in actions:
            written = Entry(
                entry.model, seq, now_ns, action.kind, CONTROLLER, action.why, after.to_json(), action.numbers
            )
            try:
                append(self._database, written)
            except LedgerMoved:
                return  # someone acted meanwhile: the next look begins from there
            log.info("%s: %s: %s", entry.model, action.kind, action.why)

    def _seed(self, state: State, model: str) -> int:
        """The first entry of a model: who answers now is its champion."""
        assigned = state.models[model]
        ref = self._refs.get(model)
        arm = arm_of(ref, model, assigned.version, assigned.digest) if ref else Arm(assigned.version, assigned.digest)
        return seed(self._database, model, arm, By("serve", "nothing was decided before")).seq

    def _apply(self, model: str) -> None:
        """What the ledger's last entry says of a model, into the state that workers read."""
        entry = last(self._database, model)
        if entry is None:
            return
        stage = stage_of(entry)
        lacking = missing(stage, self._trust(), self._state_dir)
        self._lacking[model] = lacking
        self._stages[model] = stage
        pins = promised(self._database, model, self._policy, time.time_ns())
        before = read_state(self._state_dir).models[model]
        if self._assign(model, assignment(stage, pins, lacking) or alone(before)):
            log.info("%s: %s", model, told(stage))
            give_back_freed_memory()
        self._applied[model] = entry.seq

    def _assign(self, model: str, wanted: Assignment) -> bool:
        """Puts a model's assignment into the state; False where it is there already."""
        self._assigned[model] = wanted
        state = read_state(self._state_dir)
        if wanted == state.models[model]:
            return False
        write_state(self._state_dir, replace(state, models={**state.models, model: wanted}))
        return True

    def _run(self, act: Callable[[], None], pause_s: float) -> None:
        name = threading.current_thread().name
        while not self._ending.is_set():
            self._attempt(name, act)
            self._ending.wait(pause_s)

    def _attempt(self, name: str, act: Callable[[], None]) -> bool:
        """Whether it went right; never raises."""
        is_right = self._attempts(name, act)
        if not is_right and name == CONTROLLER:
            self.leads = False
        return is_right

    def _count(self, error: Exception) -> None:
        if isinstance(error, BundleError):
            self._on_refused(error)


def told(stage: Stage) -> str:
    """Who answers what, for the log."""
    words = [f"version {stage.champion.version} answers"]
    if stage.canary:
        words.append(f"version {stage.canary.version} answers {stage.share:.2%} of it ({stage.state})")
    if stage.challengers:
        words.append("in shadow: " + ", ".join(each.arm.version for each in stage.challengers))
    return ", ".join(words)
