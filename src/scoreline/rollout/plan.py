"""How long a rollout takes at the present traffic, said before it starts. Means; what cannot be said is None."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from scoreline.evidence.planning import (
    alone_units_to_safe,
    canary_units_to_rollback,
    canary_units_to_safe,
    duration_s,
    outcomes_to_safe,
)
from scoreline.rollout.losses import bound_of
from scoreline.rollout.policy import WEIGHTS, Policy, alone


@dataclass(frozen=True, slots=True)
class Traffic:
    """What is known beforehand.

    `units_per_s`: entities not seen before, or requests that name none, of all arms. `rates`: the champion's events
    per unit, by class. `outcomes_per_s` become known `maturity_s` after their decision; `variance` is that of the
    paired differences of losses (None: not known yet).
    """

    units_per_s: float
    rates: Mapping[str, float]
    outcomes_per_s: float = 0.0
    variance: float | None = None
    maturity_s: float = 0.0


@dataclass(frozen=True, slots=True)
class StepPlan:
    """One step of a canary as good as the champion: the units it answers, its length, and why it is not shorter.

    `limit` is min_step_s, min_requests or a class of events. None: never, as things stand. `held`: at the policy's
    horizon, or its most requests, it will be held and a person asked.
    """

    share: float
    units: float | None
    lasts_s: float | None
    limit: str
    held: bool


@dataclass(frozen=True, slots=True)
class RollbackPlan:
    """When a canary with `rate` events per unit is rolled back, after so many units at its first share."""

    rate: float
    units: float | None
    after_s: float | None


@dataclass(frozen=True, slots=True)
class Plan:
    """The whole way of a version that is as good as the champion, and of those that do harm, by class of events."""

    shadow_outcomes: float | None
    shadow_s: float | None
    steps: tuple[StepPlan, ...]
    rollbacks: Mapping[str, RollbackPlan] = field(default_factory=dict)

    @property
    def canary_s(self) -> float | None:
        """All steps together; None where one never ends."""
        lengths = [step.lasts_s for step in self.steps if step.lasts_s is not None]
        return sum(lengths) if len(lengths) == len(self.steps) else None

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "canary_s": self.canary_s}


def plan(traffic: Traffic, policy: Policy) -> Plan:
    """How long each part takes. Evidence adds up over the steps, so what is proven in one need not be again.

    But for the canary alone, which is counted anew.
    """
    outcomes = None
    if traffic.variance is not None:
        bound = bound_of(policy.loss, policy.cost_of)
        outcomes = outcomes_to_safe(traffic.variance, policy.delta, policy.alpha_shadow, bound)
    collected = duration_s(outcomes, traffic.outcomes_per_s)
    return Plan(
        shadow_outcomes=outcomes,
        shadow_s=None if collected is None else collected + traffic.maturity_s,
        steps=tuple(_steps(traffic, policy)),
        rollbacks={name: _rollback(name, rate, traffic, policy) for name, rate in traffic.rates.items()},
    )


def _steps(traffic: Traffic, policy: Policy) -> Iterator[StepPlan]:
    seen = 0.0
    needed: dict[str, float] = {}  # the fewest units of any step so far, by class
    for share in policy.shares:
        for name, rate in traffic.rates.items():
            units = _to_safe(name, rate, share, policy)
            if units is not None:
                needed[name] = min(units, needed.get(name, units))
        wanted = {"min_step_s": policy.min_step_s * traffic.units_per_s * share}
        wanted["min_requests"] = policy.min_requests
        wanted |= {name: units - seen for name, units in needed.items()}
        lone = dict(_alone(traffic, policy)) if share >= 1.0 else {}
        wanted |= {name: units for name, units in lone.items() if units is not None}
        limit = max(wanted, key=wanted.__getitem__)
        missing = next((name for name in (*traffic.rates, *lone) if name not in needed | wanted), "")
        lasts_s = None if missing else duration_s(wanted[limit], traffic.units_per_s, share)
        if lasts_s is None:
            yield StepPlan(share, None, None, missing or limit, held=True)
            continue
        held = lasts_s > policy.horizon_s or wanted[limit] > policy.max_requests
        yield StepPlan(share, wanted[limit], lasts_s, limit, held)
        seen += wanted[limit]


def _alone(traffic: Traffic, policy: Policy) -> Iterator[tuple[str, float | None]]:
    """Units until each class is safe without a champion beside; None: never."""
    for name, rate in traffic.rates.items():
        if name != "scores":
            yield alone(name), alone_units_to_safe(rate, policy.alpha_advance, policy.r1, policy.p_tol)


def _to_safe(name: str, rate: float, share: float, policy: Policy) -> float | None:
    if name != "scores":
        return canary_units_to_safe(rate, share, policy.alpha_advance, policy.r1, policy.p_tol)
    if rate == 0.0:  # no score is high: nothing to compare
        return None
    return canary_units_to_safe(rate, share, policy.alpha_advance, policy.score_ratio, 0.0)


def _rollback(name: str, rate: float, traffic: Traffic, policy: Policy) -> RollbackPlan:
    """Of a canary that does just as much harm as `r1` and `p_tol` call harm."""
    r0 = {"slow": policy.slow_ratio, "scores": policy.score_ratio}.get(name, 1.0)
    share = policy.shares[0]
    harmful = min(max(policy.r1 * rate, policy.p_tol), 1.0)
    units = canary_units_to_rollback(rate, harmful, share, policy.alpha_rollback * WEIGHTS[name], r0)
    return RollbackPlan(harmful, units, duration_s(units, traffic.units_per_s, share))
