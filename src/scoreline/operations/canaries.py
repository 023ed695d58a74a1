"""What has been seen of a canary: the windows of its rollout, folded into evidence. Whoever asks can fold them anew."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from scoreline.evidence.ratio import RatioE
from scoreline.records.database import Database
from scoreline.records.windows import ERRORS, KINDS, SCORES, SLOW, TAIL, Window, windows_since
from scoreline.rollout.policy import Policy
from scoreline.rollout.stages import Stage
from scoreline.rollout.verdict import CanaryEvidence, watched


@dataclass(slots=True)
class Fold:
    """The evidence of one rollout so far. Adding windows in another order gives the same."""

    rollout: int
    ratios: dict[str, RatioE] = field(default_factory=lambda: dict.fromkeys(KINDS, RatioE()))
    units: int = 0
    units_of_step: dict[int, int] = field(default_factory=dict)
    units_b: int = 0
    last_ns: int = 0
    deaths_c: int = 0
    deaths_b: int = 0
    newest: int = 0
    had: set[int] = field(default_factory=set)

    def add(self, windows: Iterable[Window]) -> None:
        """Folds those windows in that it has not had."""
        for window in windows:
            if window.id not in self.had:
                self.had.add(window.id)
                self.newest = max(self.newest, window.id)
                self._add(window)
        self.had = {id_ for id_ in self.had if id_ > self.newest - TAIL}

    def _add(self, window: Window) -> None:
        for kind in KINDS if window.kind == ERRORS else (window.kind,):
            counts = (window.k_c, window.k_b, window.late_c, window.late_b)
            k_c, k_b, late_c, late_b = counts if kind == window.kind else (0, 0, 0, 0)
            self.ratios[kind] = self.ratios[kind].add_sticky(
                window.new_c, k_c, k_b, share=window.share, late_c=late_c, late_b=late_b
            )
        self.units += window.new_c
        self.units_of_step[window.epoch] = self.units_of_step.get(window.epoch, 0) + window.step_c
        self.units_b += window.n_b if window.kind == ERRORS else 0
        self.deaths_c += window.deaths_c
        self.deaths_b += window.deaths_b
        if window.n_c:
            self.last_ns = max(self.last_ns, window.at_ns)

    def evidence(self, stage: Stage, policy: Policy) -> CanaryEvidence:
        """The e-values, by the limits of a policy."""
        kinds = list(watched(stage))
        return CanaryEvidence(
            rollout=self.rollout,
            step=stage.step,
            e_rollback={kind: self._harm(kind, policy) for kind in kinds},
            e_safe={kind: self._safe(kind, policy) for kind in kinds},
            units_step=self.units_of_step.get(stage.epoch, 0),
            units=self.units,
            last_window_ns=self.last_ns,
            deaths_c=self.deaths_c,
            deaths_b=self.deaths_b,
            ratios={kind: self.ratios[kind].interval(policy.alpha_rollback) for kind in kinds},
        )

    def _harm(self, kind: str, policy: Policy) -> float:
        if kind == SCORES:
            return self.ratios[kind].outside_e(policy.score_ratio)
        return self.ratios[kind].rollback_e(policy.slow_ratio if kind == SLOW else 1.0)

    def _safe(self, kind: str, policy: Policy) -> float:
        if kind == SCORES:
            return self.ratios[kind].inside_e(policy.score_ratio)
        return self.ratios[kind].safe_e(policy.r1, policy.p_tol)

    def counts(self) -> dict[str, Any]:
        """Events so far, by kind, for people."""
        return {kind: {"canary": found.k_c, "champion": found.k_b} for kind, found in self.ratios.items()}


class Canaries:
    """Keeps the fold of each model's rollout up to date, reading only what is new."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._folds: dict[str, Fold] = {}

    def fold(self, model: str, stage: Stage) -> Fold:
        """The evidence of the rollout a stage is in, as the database has it now."""
        fold = self._folds.get(model)
        if fold is None or fold.rollout != stage.rollout:
            fold = self._folds[model] = Fold(stage.rollout)
        fold.add(windows_since(self._database, model, stage.rollout, max(0, fold.newest - TAIL)))
        return fold
