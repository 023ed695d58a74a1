"""What `scoreline rollout` says to people, a line at a time, of the JSON that it would print otherwise."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from scoreline.cli.toldshadow import told_shadow

Json = Mapping[str, Any]
_RATIOS: Final = ("errors", "overruns", "slow", "scores")  # rules that compare with a champion beside
_UNITS: Final = (("days", 172_800, 86_400), ("h", 7200, 3600), ("min", 120, 60))


def told_acted(entry: Json) -> Iterator[str]:
    """What an action has led to."""
    yield f"{entry['model']}: {entry['action'].replace('_', ' ')} (entry {entry['seq']}); {_stands(entry)}"


def told_history(entries: Sequence[Json]) -> Iterator[str]:
    """Each action in a line, with the figures it went by under it."""
    for entry in entries:
        why = f": {entry['why']}" if entry["why"] else ""
        yield f"{entry['seq']:>4}  {_moment(entry['at'])}  {entry['action'].replace('_', ' ')} by {entry['who']}{why}"
        yield f"      {_stands(entry)}"
        figures = _figures(entry["evidence"])
        if figures:
            yield f"      {figures}"


def told_status(found: Json) -> Iterator[str]:
    """Who answers, who is compared, and the verdict with its reason and its figures."""
    verdict = found["verdict"]
    yield f"{found['model']}: version {found['champion']['version']} answers (entry {found['seq']})"
    if found["canary"]:
        yield from _canary(found["canary"])
    for each in found["challengers"]:
        yield f"shadow: version {each['version']} since {_moment(each['since'])}"
        yield from (f"  {line}" for line in told_shadow(each["report"]))
    yield f"verdict: {verdict['verdict']}: {verdict['why']}"
    if found["canary"]:
        yield from (f"  {line}" for line in _evidence(verdict))


def told_plan(found: Json) -> Iterator[str]:
    """How long each part takes."""
    taken, traffic = found["taken_from"], found["traffic"]
    if not taken["decisions"]:
        yield "nothing was decided of late: how long a rollout takes cannot be said"
        return
    yield (
        f"{found['model']}: {traffic['units_per_s']:.3g} entities or requests a second, "
        f"by the last {taken['decisions']:,} decisions in {_time(taken['span_s'])}"
    )
    if found["shadow_outcomes"] is None:
        yield "shadow: how many outcomes it takes is known once a challenger has some"
    else:
        yield f"shadow: about {found['shadow_outcomes']:,.0f} outcomes, {_time(found['shadow_s'])}"
    for step in found["steps"]:
        units = "never proven" if step["units"] is None else f"{step['units']:,.0f} entities or requests"
        held = "; it will be held and a person asked" if step["held"] else ""
        yield f"at {_share(step['share'])}: {units}, {_time(step['lasts_s'])}, because of {step['limit']}{held}"
    yield f"from its first request to champion: {_time(found['canary_s'])}, where it is as good as the champion"
    for name, harm in found["rollbacks"].items():
        if harm["units"] is not None:
            yield (
                f"rolled back where {_share(harm['rate'])} have {name}: after about {harm['units']:,.0f} "
                f"entities or requests of the canary, {_time(harm['after_s'])}"
            )


def _canary(canary: Json) -> Iterator[str]:
    place = f"step {canary['step'] + 1} of {len(canary['shares'])}"
    yield (
        f"canary: version {canary['version']} answers {_share(canary['share'])} ({place}, {canary['state']}) "
        f"since {_moment(canary['step_since'])}; the rollout began {_moment(canary['since'])}"
    )
    if canary["unwatched"]:
        yield f"  {canary['unwatched']}"
    if canary["approvals"]:
        yield f"  approved by {', '.join(canary['approvals'])}"


def _evidence(verdict: Json) -> Iterator[str]:
    """The e-values, the ratio's interval, what leads, and what is still needed."""
    if "e_rollback" in verdict:
        low, high = verdict["ratio"]
        most = "any number of" if high is None else f"{high:.3g}"
        harm = f"harm: e-value {verdict['e_rollback']:.3g} of {verdict['e_rollback_limit']:g}"
        ratio = f" (between {low or 0:.3g} and {most} times the champion's)" if verdict["leading"] in _RATIOS else ""
        yield f"{harm}, led by {verdict['leading']}{ratio}"
        limit = verdict["e_safe_limit"]
        yield from _alone(verdict["alone"])
        yield "safe: " + ", ".join(f"{name} {e:.3g}" for name, e in verdict["e_safe"].items()) + f" of {limit:g} each"
    yield (
        f"seen: {verdict['units']:,} entities or requests, {verdict['units_step']:,} in this step; "
        f"at least {verdict['units_needed']:,} more are needed"
    )


def _alone(found: Mapping[str, Json]) -> Iterator[str]:
    """What was seen of each class of events since no champion answers beside it."""
    for kind, one in found.items():
        limits = f"harm above {_share(one['harm_limit'])}"
        limits += f", safe below {_share(one['safe_limit'])}" if kind != "deaths" else ""
        yield f"alone: {kind} in {one['events']:,} of {one['units']:,} entities or requests ({limits})"


def _figures(evidence: Json) -> str:
    """The figures of an entry in a line; empty where it went by none."""
    parts = []
    if "e_rollback" in evidence:
        parts.append(f"harm {evidence['e_rollback']:.3g} ({evidence['leading']})")
    if "e_safe" in evidence:
        parts.append("safe " + ", ".join(f"{name} {e:.3g}" for name, e in evidence["e_safe"].items()))
    if evidence.get("units"):
        parts.append(f"{evidence['units']:,} entities or requests")
    if evidence.get("p99_ms") is not None:
        parts.append(f"p99 {evidence['p99_ms']:.3g} ms apart")
    shadow = evidence.get("shadow")
    if shadow and "e_safe" in shadow:
        parts.append(
            f"shadow SAFE {shadow['e_safe']:.3g}, BETTER {shadow['e_better']:.3g}, {shadow['pairs']:,} outcomes"
        )
    return "; ".join(parts)


def _stands(entry: Json) -> str:
    """Where an entry left the model."""
    words = [f"version {entry['champion']} answers"]
    if entry["canary"]:
        words.append(f"version {entry['canary']} has {_share(entry['share'])} of it ({entry['state']})")
    if entry["challengers"]:
        words.append(f"in shadow: {', '.join(entry['challengers'])}")
    return ", ".join(words)


def _share(share: float) -> str:
    return f"{share * 100:.4g} %"


def _moment(text: str) -> str:
    """A time of `utc`, to the second."""
    return f"{text[:19]}Z"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "for ever"
    for unit, least, length in _UNITS:
        if seconds >= least:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:.3g} s"
