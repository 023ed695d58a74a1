"""What has been seen of a canary: the counts of its rollout as evidence. Whoever asks finds the same."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from scoreline.evidence.alone import Rate, harm_e, harm_limit, safe_e, safe_limit
from scoreline.evidence.likelihoods import e_value, log_e_only_canary
from scoreline.evidence.ratio import RatioE
from scoreline.records.counting import DEATHS, ERRORS, KINDS, SCORES, SLOW, Counts, counts_of
from scoreline.records.database import Database
from scoreline.rollout.policy import WEIGHTS, Policy, alone
from scoreline.rollout.stages import Stage
from scoreline.rollout.verdict import Alone, CanaryEvidence, harmful_alone, watched, watched_alone


@dataclass(frozen=True, slots=True)
class Seen:
    """The evidence of a rollout so far, by kind of event; `units`: whom the canary answered, `units_b`: the others.

    `before`: the champion's units when first seen; `now`: those of the canary since it answers everything.
    """

    ratios: dict[str, RatioE]
    before: dict[str, Rate]
    now: dict[str, Rate]
    log_e_deaths: float = 0.0
    units: int = 0
    units_b: int = 0
    units_step: int = 0
    last_ns: int = 0
    deaths_c: int = 0
    deaths_b: int = 0

    @classmethod
    def of(cls, found: Sequence[Counts], step: int) -> "Seen":
        """What all steps of a rollout say; `step` is the entry of the ledger that the present one began with."""
        overall = [counts for counts in found if counts.kind == ERRORS]
        return cls(
            {kind: _ratio(kind, found) for kind in KINDS},
            {kind: _before(kind, found) for kind in KINDS},
            {kind: _now(kind, found) for kind in KINDS},
            log_e_deaths=sum(
                float(log_e_only_canary(counts.k_c, counts.k_b, counts.share))
                for counts in found
                if counts.kind == DEATHS
            ),
            units=sum(counts.new_c for counts in overall),
            units_b=sum(counts.new_b for counts in overall),
            units_step=sum(counts.step_c for counts in overall if counts.step == step),
            last_ns=max((counts.canary_ns for counts in overall), default=0),
            deaths_c=sum(counts.deaths_c for counts in overall),
            deaths_b=sum(counts.deaths_b for counts in overall),
        )

    def evidence(self, stage: Stage, policy: Policy) -> CanaryEvidence:
        """The e-values, by the limits of a policy."""
        kinds = list(watched(stage))
        harm = {kind: self._harm(kind, policy) for kind in kinds} | {DEATHS: e_value(self.log_e_deaths)}
        harm |= {alone(kind): self._harm_alone(kind, policy) for kind in harmful_alone(stage)}
        safe = {kind: self._safe(kind, policy) for kind in kinds}
        safe |= {alone(kind): self._safe_alone(kind, policy) for kind in watched_alone(stage)}
        return CanaryEvidence(
            rollout=stage.rollout,
            step=stage.step,
            e_rollback=harm,
            e_safe=safe,
            units_step=self.units_step,
            units=self.units,
            last_window_ns=self.last_ns,
            deaths_c=self.deaths_c,
            deaths_b=max(self.deaths_b, self.ratios[DEATHS].k_b),
            ratios={kind: self.ratios[kind].interval(policy.alpha_rollback) for kind in kinds},
            alone={kind: self._alone(kind, policy) for kind in harmful_alone(stage)},
        )

    def counts(self) -> dict[str, Any]:
        """Events so far, by kind, for people."""
        return {kind: {"canary": found.k_c, "champion": found.k_b} for kind, found in self.ratios.items()}

    def _harm(self, kind: str, policy: Policy) -> float:
        if kind == SCORES:
            return self.ratios[kind].outside_e(policy.score_ratio)
        return self.ratios[kind].rollback_e(policy.slow_ratio if kind == SLOW else 1.0)

    def _safe(self, kind: str, policy: Policy) -> float:
        if kind == SCORES:
            return self.ratios[kind].inside_e(policy.score_ratio)
        return self.ratios[kind].safe_e(policy.r1, policy.p_tol)

    def _harm_alone(self, kind: str, policy: Policy) -> float:
        return harm_e(self.before[kind], self.now[kind], *_limits(kind, policy))

    def _safe_alone(self, kind: str, policy: Policy) -> float:
        before, now = self.before[kind], self.now[kind]
        return safe_e(before, now, policy.r1, policy.p_tol, policy.alpha_advance)

    def _alone(self, kind: str, policy: Policy) -> Alone:
        before, now = self.before[kind], self.now[kind]
        safe = safe_limit(before, policy.r1, policy.p_tol, policy.alpha_advance)
        return Alone(now.n, now.k, harm_limit(before, *_limits(kind, policy)), safe)


def seen_of(database: Database, model: str, stage: Stage) -> Seen:
    """What the database has of the rollout a stage is in; of none, nothing."""
    return Seen.of(counts_of(database, model, stage.rollout) if stage.rollout else (), stage.stepped)


def _ratio(kind: str, found: Sequence[Counts]) -> RatioE:
    """The events of a kind; whom the canary answered stands beside the errors."""
    ratio = RatioE()
    for counts in found:
        if counts.kind in (kind, ERRORS):
            k_c, k_b, late_c, late_b = counts[4:8] if counts.kind == kind else (0, 0, 0, 0)
            ratio = ratio.add_sticky(counts.new_c, k_c, k_b, share=counts.share, late_c=late_c, late_b=late_b)
    return ratio


def _before(kind: str, found: Sequence[Counts]) -> Rate:
    """The champion's units beside the canary, and those with an event of a kind, when they were first seen."""
    beside = [counts for counts in found if counts.share < 1.0]
    events = sum(counts.k_b - counts.late_b for counts in beside if counts.kind == kind)
    return Rate(sum(counts.new_b for counts in beside if counts.kind == ERRORS), events)


def _now(kind: str, found: Sequence[Counts]) -> Rate:
    """The same of the canary's units, in the step in which it answers everything."""
    lone = [counts for counts in found if counts.share >= 1.0]
    events = sum(counts.sight_c for counts in lone if counts.kind == kind)
    return Rate(sum(counts.step_c for counts in lone if counts.kind == ERRORS), events)


def _limits(kind: str, policy: Policy) -> tuple[float, float, float]:
    """What counts as harm, and the part of alpha that its rule has. No death is tolerated as such."""
    p_tol = 0.0 if kind == DEATHS else policy.p_tol
    return policy.r1, p_tol, WEIGHTS[alone(kind)] * policy.alpha_rollback
