"""How a model stands: its status, its history, the plan of a rollout, and the verdict on a version, as plain JSON."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any, Final

from scoreline.core.errors import BundleError, NotFound
from scoreline.operations.admission import Host, frozen
from scoreline.operations.canaries import Seen
from scoreline.operations.desk import Desk
from scoreline.operations.maturity import utc
from scoreline.operations.rollouts import Frozen, current, stage_of
from scoreline.records.ledger import Entry, entry_at, history
from scoreline.records.recent import Recent
from scoreline.rollout.plan import Traffic, plan
from scoreline.rollout.stages import Arm, Stage
from scoreline.rollout.verdict import ADVANCE, HOLD, ROLL_BACK, Verdict

LOOKED_THROUGH: Final = 1000  # entries, for the end of a version that is neither champion nor canary any more
_NS: Final = 1_000_000
Json = dict[str, Any]


def status(desk: Desk, model: str) -> Json:
    """Who answers, who is compared, and what the evidence says; raises NotFound, DatabaseDown, DatabaseRefused."""
    entry = current(desk.database, model)
    stage = stage_of(entry)
    verdict, seen = desk.judged(model, stage)
    return {
        "model": model,
        "seq": entry.seq,
        "epoch": stage.epoch,
        "state": stage.state,
        "champion": asdict(stage.champion),
        "previous": asdict(stage.previous) if stage.previous else None,
        "canary": _canary(stage.canary, stage, seen, desk, model) if stage.canary else None,
        "challengers": [
            {**asdict(each.arm), "since": utc(each.since_ns), "report": dict(shown.report)}
            for each, shown in desk.shown(model, stage)
        ],
        "verdict": _verdict(verdict),
    }


def told_history(desk: Desk, model: str, limit: int) -> Sequence[Json]:
    """Every action on a model, the newest first: who, when, why, on what evidence, and where it led."""
    current(desk.database, model)
    return [told_entry(each) for each in history(desk.database, model, limit)]


def told_entry(entry: Entry) -> Json:
    """One action as JSON."""
    stage = stage_of(entry)
    return {
        "seq": entry.seq,
        "at": utc(entry.at_ns),
        "action": entry.action,
        "who": entry.who,
        "why": entry.why,
        "champion": stage.champion.version,
        "canary": stage.canary.version if stage.canary else None,
        "share": stage.share,
        "state": stage.state,
        "challengers": [each.arm.version for each in stage.challengers],
        "evidence": dict(entry.evidence),
    }


def planned(desk: Desk, model: str) -> Json:
    """How long a rollout would take at the traffic of late, by the policy as it is."""
    stage = desk.stage(model)
    found = desk.recent(model, stage.champion)
    variances = (shown.report.get("variance") for _, shown in desk.shown(model, stage))
    variance = next(filter(None, variances), None)
    traffic = _traffic(desk.host, stage, found, desk.policy.budgets.over_ns(model), variance)
    taken_from = {"decisions": len(found), "span_s": found.span_s}
    return {
        "model": model,
        "taken_from": taken_from,
        "traffic": asdict(traffic),
        **plan(traffic, desk.policy).to_json(),
    }


def verdict_on(desk: Desk, model: str, version: str = "") -> Json:
    """ADVANCE, HOLD or ROLL_BACK with its numbers, in one flat object: of the canary, or of the version named.

    A version that became champion is ADVANCE; one that was rolled back stays ROLL_BACK until it is tried again. What
    nothing was seen of has an e-value of 1, as every e-value begins.
    """
    stage = desk.stage(model)
    verdict, _ = desk.judged(model, stage)
    if version and (stage.canary is None or stage.canary.version != version):
        verdict = _ended(desk, model, stage, version)
    canary = stage.canary.version if stage.canary else None
    facts = {"model": model, "champion": stage.champion.version, "canary": canary, "state": stage.state}
    return {"e_rollback": 1.0, **_verdict(verdict), **facts, "share": stage.share, "step": stage.step}


def _ended(desk: Desk, model: str, stage: Stage, version: str) -> Verdict:
    """The verdict on a version that is not the canary: where it stood last in the ledger, and what came next."""
    if stage.champion.version == version:
        return Verdict(ADVANCE, f"version {version} is the champion", {})
    if version in (each.arm.version for each in stage.challengers):
        return Verdict(HOLD, f"version {version} is in shadow", {})
    after: Entry | None = None
    for entry in history(desk.database, model, LOOKED_THROUGH):
        there = stage_of(entry)
        if version in (arm.version for arm in (there.canary, there.champion) if arm):
            gone_back = after is not None and after.action == "roll_back"
            return Verdict(
                ROLL_BACK if gone_back else HOLD, _left(version, after), dict(after.evidence) if after else {}
            )
        after = entry
    return Verdict(HOLD, f"version {version} has not answered yet", {})


def _left(version: str, after: Entry | None) -> str:
    if after is None:
        return f"version {version} is gone"
    why = f": {after.why}" if after.why else ""
    return f"version {version} left with entry {after.seq}, {after.action} by {after.who}{why}"


def _verdict(verdict: Verdict) -> Json:
    return {"verdict": verdict.word, "why": verdict.why, **verdict.numbers}


def _canary(arm: Arm, stage: Stage, seen: Seen, desk: Desk, model: str) -> Json:
    began = entry_at(desk.database, model, stage.rollout)
    return {
        **asdict(arm),
        "share": stage.share,
        "step": stage.step,
        "shares": list(desk.policy.shares),
        "since": utc(stage.began_ns),
        "step_since": utc(stage.stepped_ns),
        "state": stage.state,
        "why": stage.why,
        "held_for": stage.held_for,
        "approvals": list(stage.approvals),
        "slow_ms": stage.slow_ns / _NS if stage.slow_ns else None,
        "high_score": stage.high_score,
        "unwatched": began.evidence.get("unwatched", "") if began else "",
        "units": {"canary": seen.units, "champion": seen.units_b},
        "events": seen.counts(),
    }


def _traffic(host: Host, stage: Stage, found: Recent, over_ns: int, variance: float | None) -> Traffic:
    """Errors are assumed to be none: what the champion fails in is no decision."""
    span_s, manifest = found.span_s, None
    with suppress(NotFound, BundleError):  # the champion is not on this host
        manifest = host.manifest(stage.champion)
    limits = Frozen(stage.slow_ns, stage.high_score) if stage.canary else Frozen()
    if not stage.canary and manifest:
        limits = frozen(found, manifest)
    return Traffic(
        units_per_s=found.units / span_s if span_s else 0.0,
        rates=dict(_rates(found, limits, over_ns)),
        outcomes_per_s=found.known / span_s if span_s else 0.0,
        variance=variance,
        maturity_s=manifest.maturity_s if manifest else 0.0,
    )


def _rates(found: Recent, limits: Frozen, over_ns: int) -> Mapping[str, float]:
    rates = {"errors": 0.0, "overruns": 0.0}
    if len(found):
        rates["overruns"] = float((found.model_ns > over_ns).mean())
    if limits.slow_ns and len(found):
        rates["slow"] = float((found.model_ns > limits.slow_ns).mean())
    if limits.high_score is not None and len(found):
        rates["scores"] = float((found.scores > limits.high_score).mean())
    return rates
