"""What has been seen of a canary: the counts of its rollout as evidence. Whoever asks finds the same."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from scoreline.evidence.ratio import RatioE
from scoreline.records.counting import ERRORS, KINDS, SCORES, SLOW, Counts, counts_of
from scoreline.records.database import Database
from scoreline.rollout.policy import Policy
from scoreline.rollout.stages import Stage
from scoreline.rollout.verdict import CanaryEvidence, watched


@dataclass(frozen=True, slots=True)
class Seen:
    """The evidence of a rollout so far, by kind of event; `units`: whom the canary answered, `units_b`: the others."""

    ratios: dict[str, RatioE]
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
        return CanaryEvidence(
            rollout=stage.rollout,
            step=stage.step,
            e_rollback={kind: self._harm(kind, policy) for kind in kinds},
            e_safe={kind: self._safe(kind, policy) for kind in kinds},
            units_step=self.units_step,
            units=self.units,
            last_window_ns=self.last_ns,
            deaths_c=self.deaths_c,
            deaths_b=self.deaths_b,
            ratios={kind: self.ratios[kind].interval(policy.alpha_rollback) for kind in kinds},
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
