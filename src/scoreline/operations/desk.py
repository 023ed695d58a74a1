"""What people ask for: each is one entry of the ledger, once the gates let it through, or a refusal with its reasons.

Commands and the control API ask here; what goes by evidence alone the controller does by itself.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any, Final, NamedTuple

from scoreline.core.errors import BundleError, NotFound, RegistryDown, RolloutRefused
from scoreline.operations import rollouts
from scoreline.operations.admission import Host, admitted, compatible, frozen, named, unwatched
from scoreline.operations.canaries import Seen, seen_of
from scoreline.operations.rollouts import By, current, stage_of
from scoreline.records.database import Database
from scoreline.records.ledger import Entry, entry_at
from scoreline.records.recent import Recent, recent
from scoreline.rollout import stages
from scoreline.rollout.gates import ShadowEvidence
from scoreline.rollout.policy import Policy
from scoreline.rollout.stages import Arm, Challenger, Stage
from scoreline.rollout.verdict import Verdict, judge, unapproved

NAMELESS: Final = ("anonymous", "admin")  # who asks without a key, and with the one of the settings


class Shown(NamedTuple):
    """What shadow shows of a challenger: for the gate, and as a report for people."""

    seen: ShadowEvidence
    report: Mapping[str, Any]


Report = Callable[[str, Stage, Challenger], Shown]  # of a model's challenger


def no_report(_: str, __: Stage, ___: Challenger) -> Shown:
    return Shown(ShadowEvidence(), {})


@dataclass(frozen=True, slots=True)
class Desk:
    """All that acting on versions takes. Raises RolloutRefused, NotFound, LedgerMoved, DatabaseDown or
    DatabaseRefused, and where a version is brought here RegistryDown and BundleError.
    """

    database: Database
    host: Host
    policy: Policy
    report: Report = field(default=no_report)

    def shadow(self, model: str, ref: str, by: By) -> Entry:
        """The version scores all traffic and answers none; the entry's evidence says what bars it from more."""
        stage = self.stage(model)
        arm, manifest = self.host.bring(model, ref)
        stages.start_shadow(stage, arm, 0, 0)
        barred = compatible(self.host.manifest(stage.champion), manifest)
        return rollouts.shadow(self.database, model, arm, by, {"barred": barred})

    def end_shadow(self, model: str, version: str, by: By) -> Entry:
        """The challenger is scored no more; the entry keeps what it has shown."""
        stage = self.stage(model)
        challenger = challenger_by(stage, version)
        shown = self._shown(model, stage, challenger)
        return rollouts.end_shadow(self.database, model, challenger.arm.digest, by, {"shadow": shown.report})

    def challenger(self, model: str, version: str) -> Challenger:
        """Who is in shadow with this version."""
        return challenger_by(self.stage(model), version)

    def canary(self, model: str, wanted: str, by: By, force: str = "") -> Entry:
        """The version answers the first share: a challenger, by its version, or what a REF names.

        `force`: why it may although shadow has not shown what the policy asks for.
        """
        stage = self.stage(model)
        arm = self._named(model, stage, wanted)
        stages.start_canary(stage, arm, 0, 0, salt="", share=1.0)  # before anything is measured
        figures = self._admitted(model, stage, arm, force)
        found, champion = self.recent(model, stage.champion), self.host.manifest(stage.champion)
        thresholds = frozen(found, champion)
        evidence = {**figures, **asdict(thresholds), "unwatched": unwatched(found, champion, thresholds)}
        by, against = _noted(_forced(by, force), evidence["unwatched"].partition(":")[0]), stage.champion.digest
        return rollouts.canary(self.database, model, arm, self.policy, thresholds, by, evidence, against)

    def advance(self, model: str, by: By) -> Entry:
        """The canary's next step, whatever the evidence."""
        stage = self.stage(model)
        return rollouts.advance(self.database, model, self.policy, by, self.numbers(model, stage), stage)

    def promote(self, model: str, by: By, version: str = "", force: str = "") -> Entry:
        """The canary becomes the champion; or a challenger, which then has to pass the gates of a canary.

        Neither without an approval that the policy asks for, which only a canary can be given.
        """
        stage = self.stage(model)
        if not version or (stage.canary and stage.canary.version == version):
            digest = stages.canary_of(stage).digest
            waits = unapproved(stage, self.policy, 1.0)
            if waits:
                raise RolloutRefused(f"{waits}; `scoreline rollout approve`")
            return rollouts.promote(self.database, model, by, digest, self.numbers(model, stage))
        challenger = challenger_by(stage, version)
        stages.promote(stage, 0, 0, challenger.arm.digest)
        if self.policy.asks_first or self.policy.needs_approval != "none":
            raise RolloutRefused("somebody has to approve it, as a canary: `scoreline rollout canary` starts one")
        figures = self._admitted(model, stage, challenger.arm, force)
        against = stage.champion.digest
        return rollouts.promote(self.database, model, _forced(by, force), challenger.arm.digest, figures, against)

    def roll_back(self, model: str, by: By) -> Entry:
        """The canary is gone."""
        stage = self.stage(model)
        if stage.canary is None:
            champion = stage.champion.version
            raise RolloutRefused(
                "there is no canary to roll back; to have the champion before answer again, name the one that goes: "
                f"`scoreline rollout rollback {model} --champion {champion}`"
            )
        return rollouts.roll_back(self.database, model, by, self.numbers(model, stage), stage)

    def take_back(self, model: str, version: str, by: By) -> Entry:
        """The champion with this version goes, and the one before answers again."""
        return rollouts.take_back(self.database, model, by, version)

    def pause(self, model: str, by: By) -> Entry:
        """The canary goes no further; harm still rolls it back."""
        stage = self.stage(model)
        return rollouts.pause(self.database, model, by, self.numbers(model, stage), stage)

    def resume(self, model: str, by: By) -> Entry:
        """A canary that is paused or held goes on."""
        stage = self.stage(model)
        return rollouts.resume(self.database, model, by, self.numbers(model, stage), stage)

    def approve(self, model: str, by: By) -> Entry:
        """Somebody approves the rollout who has not sealed the version.

        Where the bundle does not say who did, it must be somebody else than who began the rollout.
        """
        stage = self.stage(model)
        canary, sealer = stages.canary_of(stage), ""
        if by.who in NAMELESS:
            raise RolloutRefused(f"{by.who} is nobody's name: whoever approves needs a key, or a user, of their own")
        with suppress(NotFound, BundleError):  # it is not on this host
            sealer = str(self.host.manifest(canary).lineage.get("sealed_by", ""))
        if not sealer:
            began = entry_at(self.database, model, stage.rollout)
            if began and began.who == by.who:
                raise RolloutRefused(
                    f"{by.who} began this rollout, and nothing here says who sealed version {canary.version}: "
                    "somebody else must approve it"
                )
        return rollouts.approve(self.database, model, sealer, by, stage)

    def stage(self, model: str) -> Stage:
        """What the ledger says of a model now."""
        return stage_of(current(self.database, model))

    def version(self, model: str, wanted: str) -> Arm:
        """A challenger or canary, by its version, or what a REF names; its bundle is here then."""
        arm = self._named(model, self.stage(model), wanted)
        self.host.manifest(arm)
        return arm

    def recent(self, model: str, champion: Arm) -> Recent:
        """What the champion decided last."""
        return recent(self.database, model, champion.digest)

    def judged(self, model: str, stage: Stage) -> tuple[Verdict, Seen]:
        """The verdict of this moment, and what has been seen of the canary."""
        seen = seen_of(self.database, model, stage)
        evidence = seen.evidence(stage, self.policy) if stage.canary else None
        return judge(stage, evidence, self.policy, time.time_ns()), seen

    def numbers(self, model: str, stage: Stage) -> Mapping[str, Any]:
        """What the evidence is when a person acts, for the record."""
        return self.judged(model, stage)[0].numbers

    def shown(self, model: str, stage: Stage) -> Sequence[tuple[Challenger, Shown]]:
        """Every challenger with what shadow shows of it."""
        return [(each, self._shown(model, stage, each)) for each in stage.challengers]

    def shown_of(self, model: str, version: str) -> tuple[Stage, Challenger, Mapping[str, Any]]:
        """What shadow shows of a version, or where it is empty, of the only one in shadow."""
        stage = self.stage(model)
        only = stage.challengers[0].arm.version if len(stage.challengers) == 1 else ""
        challenger = challenger_by(stage, version or only)
        return stage, challenger, self._shown(model, stage, challenger).report

    def _shown(self, model: str, stage: Stage, challenger: Challenger) -> Shown:
        """With the bundles of both here, where they can be had; else the report says what is missing."""
        with suppress(NotFound, BundleError, RegistryDown):
            self.host.manifest(stage.champion)
            self.host.manifest(challenger.arm)
        return self.report(model, stage, challenger)

    def _named(self, model: str, stage: Stage, wanted: str) -> Arm:
        return named(stage, wanted) or self.host.bring(model, wanted)[0]

    def _admitted(self, model: str, stage: Stage, arm: Arm, force: str) -> Mapping[str, Any]:
        challenger = next((each for each in stage.challengers if each.arm.digest == arm.digest), None)
        seen = self._shown(model, stage, challenger).seen if challenger else None
        return admitted(self.host, stage, arm, seen, self.policy, forced=bool(force))


def challenger_by(stage: Stage, version: str) -> Challenger:
    """The challenger of a version; raises RolloutRefused."""
    for each in stage.challengers:
        if each.arm.version == version:
            return each
    known = ", ".join(each.arm.version for each in stage.challengers)
    there = f"in shadow {'are' if ',' in known else 'is'} {known}" if known else "none is in shadow"
    raise RolloutRefused(f"version {version} is not in shadow; {there}" if version else f"name a version: {there}")


def _forced(by: By, force: str) -> By:
    return _noted(by, f"forced: {force}" if force else "")


def _noted(by: By, note: str) -> By:
    return By(by.who, "; ".join(filter(None, (by.why, note))))
