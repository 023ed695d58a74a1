"""What a rollout asks of a version, and what it does when: every knob, once, with the range it must lie in."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, pairwise
from typing import Final

from scoreline.core.budget import Budgets
from scoreline.core.errors import SettingError

LOSSES: Final = ("brier", "log", "cost")
NEEDS_APPROVAL: Final = ("none", "first", "last")
SHADOW_GATES: Final = ("outcomes", "agreement", "none")
QUOTES_ON_ROLLBACK: Final = ("honour", "refuse")
ALIAS_MOVED: Final = ("shadow", "serve", "ignore")
MAX_QUOTE_DAYS: Final = 30

DEATHS: Final = "deaths"
_ALONE: Final = "_alone"
# The part of `alpha_rollback` that each rule has which rolls back. They add up to 1, whatever depends on whatever.
WEIGHTS: Final[Mapping[str, float]] = {
    "errors": 0.55,
    "overruns": 0.06,
    "slow": 0.06,
    "scores": 0.06,
    DEATHS: 0.15,
    "errors_alone": 0.06,
    "overruns_alone": 0.02,
    "slow_alone": 0.02,
    "deaths_alone": 0.02,
}

_CHOICES: Final = {
    "loss": LOSSES,
    "needs_approval": NEEDS_APPROVAL,
    "shadow_gate": SHADOW_GATES,
    "quotes_on_rollback": QUOTES_ON_ROLLBACK,
    "alias_moved": ALIAS_MOVED,
}
_RANGES: Final[Mapping[str, tuple[float, float]]] = {
    "min_step_s": (1, 366 * 86_400),
    "min_requests": (1, 10**12),
    "silence_s": (1, 366 * 86_400),
    "horizon_s": (1, 3660 * 86_400),
    "max_requests": (1, 10**15),
    "alpha_rollback": (1e-9, 0.5),
    "alpha_advance": (1e-9, 0.5),
    "alpha_shadow": (1e-9, 0.5),
    "r1": (1.01, 100),
    "p_tol": (1e-9, 0.5),
    "slow_ratio": (1, 100),
    "score_ratio": (1, 100),
    "delta": (1e-9, 1e9),
    "hold_back": (0, 0.99),
    "hang_ms": (1, 3_600_000),
    "quote_days": (0, MAX_QUOTE_DAYS),
}


def alone(kind: str) -> str:
    """The rule about a class of events while the canary answers everything, as WEIGHTS names it."""
    return f"{kind}{_ALONE}"


@dataclass(frozen=True)
class Policy:
    """The settings `[rollout]`, where docs/settings.md says what each means; raises SettingError by their names.

    `budgets` are those of `[latency]`.
    """

    steps: tuple[float, ...] = (0.01, 0.1, 0.5, 1.0)
    min_step_s: int = 600
    min_requests: int = 500
    silence_s: int = 600
    horizon_s: int = 14 * 86_400
    max_requests: int = 1_000_000
    alpha_rollback: float = 0.01
    alpha_advance: float = 0.05
    r1: float = 2.0
    p_tol: float = 0.01
    slow_ratio: float = 1.5
    score_ratio: float = 1.5
    hold_back: float = 0.0
    needs_approval: str = "none"
    shadow_gate: str = "outcomes"
    alpha_shadow: float = 0.01
    delta: float = 0.005
    loss: str = "brier"
    costs: tuple[str, ...] = ()
    segment: str = ""
    hang_ms: int = 1000
    quote_days: int = 0
    quotes_on_rollback: str = "honour"
    alias_moved: str = "shadow"
    budgets: Budgets = field(default_factory=Budgets)

    def __post_init__(self) -> None:
        for problem in chain(self._wrong_values(), self._wrong_steps(), self._wrong_together()):
            raise SettingError(f"rollout.{problem}")

    def _wrong_values(self) -> Iterator[str]:
        for name, known in _CHOICES.items():
            if getattr(self, name) not in known:
                yield f"{name}: one of {', '.join(known)}"
        for name, (least, most) in _RANGES.items():
            if not least <= getattr(self, name) <= most:
                yield f"{name}: between {least:g} and {most:g}"

    def _wrong_steps(self) -> Iterator[str]:
        if not self.steps or self.steps[-1] != 1.0 or not self.steps[0] > 0.0:
            yield "steps: shares above 0, the last of them 1"
        if not all(low < high for low, high in pairwise(self.steps)):
            yield "steps: each share is larger than the one before"

    def _wrong_together(self) -> Iterator[str]:
        if self.max_requests < self.min_requests:
            yield "max_requests: at least rollout.min_requests"
        if (self.loss == "cost") != bool(self.cost_of):
            yield 'costs: as ["decline/0=25", "approve/1=100"], for the loss cost and no other'

    @cached_property
    def shares(self) -> tuple[float, ...]:
        """The shares of the steps, each once; none takes what is held back for the champion."""
        most = 1.0 - self.hold_back
        return tuple(dict.fromkeys(min(step, most) for step in self.steps))

    @property
    def first_share(self) -> float:
        """What a canary begins with: 0 where it waits for approval."""
        return 0.0 if self.asks_first else self.shares[0]

    @property
    def asks_first(self) -> bool:
        """Whether somebody must approve before the first request: agreement alone proves nothing."""
        return self.needs_approval == "first" or self.shadow_gate == "agreement" or self._asks_last_at_once

    @property
    def _asks_last_at_once(self) -> bool:
        return self.needs_approval == "last" and len(self.shares) == 1

    @cached_property
    def cost_of(self) -> Mapping[tuple[str, str], float]:
        """What an outcome costs when something else really happened, by (outcome, actual); others cost nothing."""
        found = {}
        for text in self.costs:
            named, _, number = text.rpartition("=")
            outcome, _, actual = named.rpartition("/")
            try:
                cost = float(number)
            except ValueError:
                cost = math.nan
            if not outcome.strip() or not actual.strip() or not 0.0 <= cost < math.inf:
                raise SettingError('rollout.costs: each as "OUTCOME/ACTUAL=COST", the cost a number of at least 0')
            found[outcome.strip(), actual.strip()] = cost
        return found
