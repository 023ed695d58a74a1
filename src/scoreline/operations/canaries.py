"""What has been seen of a canary: the windows of its rollout, folded into evidence. Whoever asks can fold them anew."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from scoreline.evidence.alone import Rate, harm_e, harm_limit, safe_e, safe_limit
from scoreline.evidence.likelihoods import e_value, log_e_only_canary
from scoreline.evidence.ratio import RatioE
from scoreline.records.database import Database
from scoreline.records.windows import DEATHS, ERRORS, KINDS, SCORES, SLOW, TAIL, Window, windows_since
from scoreline.rollout.policy import WEIGHTS, Policy, alone
from scoreline.rollout.stages import Stage
from scoreline.rollout.verdict import Alone, CanaryEvidence, harmful_alone, watched, watched_alone


@dataclass(slots=True)
class Fold:
    """The evidence of one rollout so far. Adding windows in another order gives the same.

    `before`: the champion's units when first seen; `now`: those of the canary that answers everything, in this step.
    """

    rollout: int
    ratios: dict[str, RatioE] = field(default_factory=lambda: dict.fromkeys(KINDS, RatioE()))
    before: dict[str, Rate] = field(default_factory=lambda: dict.fromkeys(KINDS, Rate()))
    now: dict[str, Rate] = field(default_factory=lambda: dict.fromkeys(KINDS, Rate()))
    log_e_deaths: float = 0.0
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
            if window.new_b is not None and window.sight_c is not None:
                self._add_rate(kind, window, is_own=kind == window.kind)
        if window.kind == DEATHS:
            self.log_e_deaths += float(log_e_only_canary(window.k_c, window.k_b, window.share))
        self.units += window.new_c
        self.units_of_step[window.epoch] = self.units_of_step.get(window.epoch, 0) + window.step_c
        self.units_b += window.new_b or 0
        self.deaths_c += window.deaths_c
        self.deaths_b += window.deaths_b
        if window.n_c:
            self.last_ns = max(self.last_ns, window.at_ns)

    def _add_rate(self, kind: str, window: Window, *, is_own: bool) -> None:
        assert window.new_b is not None and window.sight_c is not None
        if window.share >= 1.0:
            self.now[kind] += Rate(window.step_c, window.sight_c if is_own else 0)
        else:
            self.before[kind] += Rate(window.new_b, window.k_b - window.late_b if is_own else 0)

    def evidence(self, stage: Stage, policy: Policy) -> CanaryEvidence:
        """The e-values, by the limits of a policy."""
        kinds = list(watched(stage))
        harm = {kind: self._harm(kind, policy) for kind in kinds} | {DEATHS: e_value(self.log_e_deaths)}
        harm |= {alone(kind): self._harm_alone(kind, policy) for kind in harmful_alone(stage)}
        safe = {kind: self._safe(kind, policy) for kind in kinds}
        safe |= {alone(kind): self._safe_alone(kind, policy) for kind in watched_alone(stage)}
        return CanaryEvidence(
            rollout=self.rollout,
            step=stage.step,
            e_rollback=harm,
            e_safe=safe,
            units_step=self.units_of_step.get(stage.epoch, 0),
            units=self.units,
            last_window_ns=self.last_ns,
            deaths_c=self.deaths_c,
            deaths_b=max(self.deaths_b, self.ratios[DEATHS].k_b),
            ratios={kind: self.ratios[kind].interval(policy.alpha_rollback) for kind in kinds},
            alone={kind: self._alone(kind, policy) for kind in harmful_alone(stage)},
        )

    def _harm(self, kind: str, policy: Policy) -> float:
        if kind == SCORES:
            return self.ratios[kind].outside_e(policy.score_ratio)
        return self.ratios[kind].rollback_e(policy.slow_ratio if kind == SLOW else 1.0)

    def _safe(self, kind: str, policy: Policy) -> float:
        if kind == SCORES:
            return self.ratios[kind].inside_e(policy.score_ratio)
        return self.ratios[kind].safe_e(policy.r1, policy.p_tol)

    def _harm_alone(self, kind: str, policy: Policy) -> float:
        return harm_e(self.before[kind], self.now[kind], *self._limits(kind, policy))

    def _safe_alone(self, kind: str, policy: Policy) -> float:
        before, now = self.before[kind], self.now[kind]
        return safe_e(before, now, policy.r1, policy.p_tol, policy.alpha_advance)

    def _alone(self, kind: str, policy: Policy) -> Alone:
        before, now = self.before[kind], self.now[kind]
        safe = safe_limit(before, policy.r1, policy.p_tol, policy.alpha_advance)
        return Alone(now.n, now.k, harm_limit(before, *self._limits(kind, policy)), safe)

    def _limits(self, kind: str, policy: Policy) -> tuple[float, float, float]:
        """What counts as harm, and the part of alpha that its rule has. No death is tolerated as such."""
        p_tol = 0.0 if kind == DEATHS else policy.p_tol
        return policy.r1, p_tol, WEIGHTS[alone(kind)] * policy.alpha_rollback

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
