"""What the evidence says of a canary: ADVANCE, HOLD or ROLL_BACK, why, and by which numbers.

No data and not sure are a HOLD each, with their reason: nothing passes because nothing was seen.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from scoreline.evidence.ratio import combined
from scoreline.rollout.policy import DEATHS, WEIGHTS, Policy, alone
from scoreline.rollout.stages import APPROVAL, HOLD_BACK, NO_VERDICT, PAUSED, PERSON, SILENCE, Stage

ADVANCE: Final = "ADVANCE"
HOLD: Final = "HOLD"
ROLL_BACK: Final = "ROLL_BACK"
NS: Final = 1_000_000_000
DEADLY: Final = 2  # deaths in the canary, with none in the champion: it goes no further by itself


@dataclass(frozen=True, slots=True)
class Alone:
    """What was seen of a class of events while the canary answers everything: units, and those with an event.

    The rate is held against two limits: above the one it is harm, below the other it is safe.
    """

    units: int
    events: int
    harm_limit: float
    safe_limit: float


@dataclass(frozen=True, slots=True)
class CanaryEvidence:
    """What was seen of the canary of one rollout (by its entry), up to one step of it.

    `e_rollback` and `e_safe` are e-values by rule, as they are (not weighted): those of a class of events over the
    whole rollout, those of the canary alone over this step. `ratios` are the intervals of canary over champion. Units
    are entities, or requests that name none, that the canary answered: in this step, and in all. `last_window_ns` is
    when it last answered any.
    """

    rollout: int
    step: int
    e_rollback: Mapping[str, float]
    e_safe: Mapping[str, float]
    units_step: int
    units: int
    last_window_ns: int
    deaths_c: int = 0
    deaths_b: int = 0
    ratios: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    alone: Mapping[str, Alone] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Verdict:
    """`word` is ADVANCE, HOLD or ROLL_BACK. `held_for` is what a HOLD asks the stage to be held for; empty: nothing."""

    word: str
    why: str
    numbers: Mapping[str, Any]
    held_for: str = ""


def judge(stage: Stage, evidence: CanaryEvidence | None, policy: Policy, now_ns: int) -> Verdict:
    """The verdict of this moment. Evidence of another rollout is none."""
    if stage.canary is None:
        return Verdict(HOLD, f"there is no canary; version {stage.champion.version} answers", {})
    seen = evidence if evidence and evidence.rollout == stage.rollout else None
    numbers = _numbers(stage, seen, policy)
    harm = _harm(seen, policy)
    if harm:
        return Verdict(ROLL_BACK, harm, numbers)
    if stage.state == PAUSED or stage.held_for in (PERSON, NO_VERDICT, HOLD_BACK):
        return Verdict(HOLD, stage.why, numbers, stage.held_for)
    missing = list(_missing(stage, seen, policy, now_ns)) if stage.share else []  # before the first request: nothing
    if not missing:
        following = next_step(stage, policy)
        waits = unapproved(stage, policy, following[1] if following else stage.share)
        return Verdict(HOLD, waits, numbers, APPROVAL) if waits else Verdict(ADVANCE, _proven(stage, policy), numbers)
    why, held_for = _held(stage, seen, policy, now_ns, "; ".join(missing))
    return Verdict(HOLD, why, numbers, held_for)


def next_step(stage: Stage, policy: Policy) -> tuple[int, float] | None:
    """Number and share of the step after this one; None after the last."""
    return next(((step, share) for step, share in enumerate(policy.shares) if share > stage.share), None)


def unapproved(stage: Stage, policy: Policy, share: float) -> str:
    """Which approval is missing before the canary answers `share`, whoever wants it to; empty: none."""
    if stage.approvals or share <= stage.share:
        return ""
    if not stage.share and policy.asks_first:
        return "it waits for approval before its first step"
    if policy.needs_approval == "last" and share >= policy.shares[-1]:
        return "it waits for approval before its last step"
    return ""


def watched(stage: Stage) -> Iterator[str]:
    """The classes of events that this rollout counts in both arms; each must be safe for a step further."""
    yield from ("errors", "overruns")
    if stage.slow_ns:
        yield "slow"
    if stage.high_score is not None:
        yield "scores"


def watched_alone(stage: Stage) -> list[str]:
    """Those that are counted anew, and must be safe once more, while the canary answers everything; else none.

    Not scores: they are the same function of a row at every share, and what rows there are changes with the day.
    """
    return [kind for kind in watched(stage) if kind != "scores"] if stage.share >= 1.0 else []


def harmful_alone(stage: Stage) -> list[str]:
    """Those that roll back while the canary answers everything; else none."""
    return [*watched_alone(stage), DEATHS] if stage.share >= 1.0 else []


def to_be_safe(stage: Stage) -> list[str]:
    """What must be proven safe for a step further, by the names of its e-values."""
    return [*watched(stage), *map(alone, watched_alone(stage))]


def harmful(stage: Stage) -> list[str]:
    """What rolls this step back, by the names of its e-values."""
    return [*watched(stage), DEATHS, *map(alone, harmful_alone(stage))]


def _harm(seen: CanaryEvidence | None, policy: Policy) -> str:
    """Why the canary must go; empty where nothing says so."""
    if seen is None:
        return ""
    found = combined(seen.e_rollback, WEIGHTS)
    if found.e < 1 / policy.alpha_rollback:
        return ""
    told = _told(seen, found.leading)
    return f"{found.leading}: e-value {found.e:.4g} reaches {1 / policy.alpha_rollback:g}; {told}"


def _told(seen: CanaryEvidence, rule: str) -> str:
    """What was seen of the rule that rolls back."""
    if rule == DEATHS:
        return f"{seen.deaths_c} workers died in the canary and none in the champion"
    lone = next((found for kind, found in seen.alone.items() if alone(kind) == rule), None)
    if lone:
        return (
            f"{lone.events} of {lone.units} entities or requests have one now that the canary answers everything, "
            f"and more than {lone.harm_limit * 100:.3g} % is harm"
        )
    low, high = _ratio(seen, rule)
    return f"the canary has between {low:.3g} and {high:.3g} times the champion's"


def _is_deadly(seen: CanaryEvidence | None) -> bool:
    return seen is not None and seen.deaths_c >= DEADLY and not seen.deaths_b


def _proven(stage: Stage, policy: Policy) -> str:
    if not stage.share:
        return "it may answer its first requests"
    return f"every class is safe (e-values reach {1 / policy.alpha_advance:g}), long enough and often enough"


def _missing(stage: Stage, seen: CanaryEvidence | None, policy: Policy, now_ns: int) -> Iterator[str]:
    """What a step further still lacks."""
    quiet_s = _quiet_s(stage, seen, now_ns)
    if quiet_s > policy.silence_s:
        yield f"the canary has answered nothing for {_time(quiet_s)}"
    lasted_s = (now_ns - stage.stepped_ns) / NS
    if lasted_s < policy.min_step_s:
        yield f"this step has lasted {_time(lasted_s)} of {_time(policy.min_step_s)}"
    units = _units(stage, seen)
    if units < policy.min_requests:
        yield f"{units} of {policy.min_requests} entities or requests seen in this step"
    unknown = [name for name in harmful(stage) if seen and name not in seen.e_rollback]
    if unknown:
        yield f"whether it does harm is not known of {', '.join(unknown)}"
    if seen and _is_deadly(seen) and not _is_extended(stage):
        yield f"{seen.deaths_c} workers died in the canary and none in the champion"
    for name in to_be_safe(stage):
        e = seen.e_safe.get(name, 1.0) if seen else 1.0
        if not e >= 1 / policy.alpha_advance:
            yield f"{name} not proven safe: e-value {e:.3g} of {1 / policy.alpha_advance:g}"


def _held(stage: Stage, seen: CanaryEvidence | None, policy: Policy, now_ns: int, why: str) -> tuple[str, str]:
    """Why it goes no further, and what for it is to be held."""
    since_s = (now_ns - max(stage.stepped_ns, stage.extended_ns)) / NS
    ends = _units(stage, seen) >= policy.max_requests or _is_deadly(seen)
    if since_s >= policy.horizon_s or (ends and not _is_extended(stage)):
        return f"no verdict in {_time(since_s)}: {why}; resume it, promote it or roll it back", NO_VERDICT
    return why, SILENCE if _quiet_s(stage, seen, now_ns) > policy.silence_s else ""


def _is_extended(stage: Stage) -> bool:
    """Whether a person let this step go on."""
    return stage.extended_ns > stage.stepped_ns


def _quiet_s(stage: Stage, seen: CanaryEvidence | None, now_ns: int) -> float:
    return (now_ns - max(stage.stepped_ns, seen.last_window_ns if seen else 0)) / NS


def _units(stage: Stage, seen: CanaryEvidence | None) -> int:
    return seen.units_step if seen and seen.step == stage.step else 0


def _ratio(seen: CanaryEvidence, name: str) -> tuple[float, float]:
    """How many times the champion's events the canary has: between these two; not known is 0 to infinity."""
    return seen.ratios.get(name, (0.0, math.inf))


def _numbers(stage: Stage, seen: CanaryEvidence | None, policy: Policy) -> dict[str, Any]:
    """What the verdict is based on, as JSON."""
    if seen is None:
        return {"share": stage.share, "units": 0, "units_step": 0, "units_needed": policy.min_requests}
    found = combined(seen.e_rollback, WEIGHTS)
    units = _units(stage, seen)
    return {
        "share": stage.share,
        "e_rollback": found.e,
        "e_rollback_limit": 1 / policy.alpha_rollback,
        "leading": found.leading,
        "terms": dict(found.terms),
        "ratio": [bound if math.isfinite(bound) else None for bound in _ratio(seen, found.leading)],
        "e_safe": {name: seen.e_safe.get(name, 1.0) for name in to_be_safe(stage)},
        "e_safe_limit": 1 / policy.alpha_advance,
        "units": seen.units,
        "units_step": units,
        "units_needed": max(policy.min_requests - units, _still_needed(stage, seen, policy), 0),
        "deaths_canary": seen.deaths_c,
        "deaths_champion": seen.deaths_b,
        "alone": {kind: asdict(found) for kind, found in seen.alone.items()},
    }


def _still_needed(stage: Stage, seen: CanaryEvidence, policy: Policy) -> int:
    """Units without any event until the last class is proven safe by its rate: at least so many are needed."""
    limits = {alone(kind): found.safe_limit for kind, found in seen.alone.items()}
    needed = []
    for name in to_be_safe(stage):
        wanted = -math.log(policy.alpha_advance) - math.log(max(seen.e_safe.get(name, 1.0), 1e-300))
        needed.append(wanted / -math.log1p(-limits.get(name, policy.p_tol)))
    return math.ceil(max(needed))


def _time(seconds: float) -> str:
    for unit, length in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:.0f} s"
