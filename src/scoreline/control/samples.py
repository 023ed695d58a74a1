"""What each metric has at a scrape, from what the steward knows."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Any, Final

from scoreline.core.arms import DIED, NOT_FINITE, OVERRAN, RAISED
from scoreline.core.budget import Budgets
from scoreline.core.counts import Name
from scoreline.metrics import BOUNDS_S
from scoreline.operations.driftreport import Standing
from scoreline.operations.processes import Process
from scoreline.operations.state import State
from scoreline.records.spent import SHOWN
from scoreline.records.tally import Key, Tally
from scoreline.rollout.stages import STATES
from scoreline.web.problems import BUNDLES, OURS

Sample = tuple[str, tuple[str, ...], Any]  # a metric's name, the values of its labels, and what to tell
PROCESSES: Final = ("worker", "steward", "shadow")
FAILURES: Final = (RAISED, NOT_FINITE, OVERRAN, DIED)
MOST_FIELDS: Final = 100
_SERVICE, _CALLER = "service", "caller"
_OF_ROLE: Final = ("requests", "predictions", "unsent", "high_scores", "defaulted", "degraded")


def of_tallies(tallies: Iterable[tuple[Key, Tally]]) -> Iterator[Sample]:
    """What was decided, by version and role; fields over all versions of a model."""
    defaulted: dict[tuple[str, str], int] = {}
    degraded: dict[tuple[str, str], int] = {}
    for key, tally in tallies:
        yield from _of_tally(key, tally)
        for found, fields in ((defaulted, tally.defaulted_fields), (degraded, tally.degraded_fields)):
            for name, n in fields.items():
                found[key[0], name] = found.get((key[0], name), 0) + n
    yield from (("defaulted_fields", labels, n) for labels, n in defaulted.items())
    yield from (("degraded_fields", labels, n) for labels, n in degraded.items())


def _of_tally(key: Key, tally: Tally) -> Iterator[Sample]:
    n_high = tally.high if tally.shape.high is not None else None
    counts = tally.requests, tally.decisions, tally.unsent, n_high, tally.defaulted, tally.degraded
    yield from ((name, key, count) for name, count in zip(_OF_ROLE, counts, strict=True) if count is not None)
    failed = dict.fromkeys(FAILURES, 0) | tally.failed
    yield from (("failures", (*key, kind), n) for kind, n in failed.items())
    yield from (("outcomes", (*key, outcome), n) for outcome, n in tally.outcomes.items())
    for part in SHOWN:
        counts_s, sum_s = tally.spent.histogram(part)
        yield "request_seconds", (*key, part), (_at_most(BOUNDS_S, counts_s), sum_s)
    for output, bins, total in zip(tally.outputs, tally.within, tally.score_sum, strict=True):
        yield "score", (*key, output), (_at_most(tally.shape.bounds, bins), total)
    if tally.shape.expected is not None:
        yield "high_scores_expected_ratio", key[:2], tally.shape.expected


def of_counts(counts: Mapping[Name, int], models: Iterable[str]) -> Iterator[Sample]:
    """What has no record. What alerts wait for is 0 from the beginning: Prometheus sees no first step otherwise."""
    found: dict[Name, int] = {("bundles_refused", kind): 0 for _, kind in BUNDLES}
    found |= {("process_ends", name): 0 for name in PROCESSES}
    for model in models:
        found |= {("refusals", model, kind): 0 for kind in OURS} | {("repeated", model): 0}
    for (name, *labels), n in (found | dict(counts)).items():
        fault = [_SERVICE if labels[-1] in OURS else _CALLER] if name == "refusals" else []
        yield name, (*labels, *fault), n


def of_processes(found: Iterable[Process]) -> Iterator[Sample]:
    for process in found:
        yield "process_cpu_seconds", (process.name,), process.cpu_s
        yield "process_resident_bytes", (process.name,), process.resident_bytes


def of_state(state: State, budgets: Budgets) -> Iterator[Sample]:
    """Who answers as what on this host, and how long it may take."""
    for model, assigned in state.models.items():
        yield "bundle", (model, assigned.version, assigned.digest, "champion"), {}
        if assigned.canary:
            yield "bundle", (model, assigned.canary.version, assigned.canary.digest, "canary"), {}
        for found in assigned.challengers:
            yield "bundle", (model, found.version, found.digest, "challenger"), {}
        budget = budgets.of(model)
        yield "budget_seconds", (model, "features"), budget.features_ms / 1e3
        yield "budget_seconds", (model, "model"), budget.model_ms / 1e3
        yield "budget_seconds", (model, "total"), budget.here_ms / 1e3


def of_drift(standings: Iterable[Standing]) -> Iterator[Sample]:
    """The evidence that the world has changed; of a model with many fields that of its scores and of the whole."""
    found = list(standings)
    n_fields = Counter(standing.model for standing in found if standing.kind == "field")
    for standing in found:
        if standing.kind != "field" or n_fields[standing.model] <= MOST_FIELDS:
            labels = standing.model, standing.version, standing.subject
            yield "drift_evidence", labels, standing.evidence
        if not standing.subject:
            yield "drift_evidence_needed", (standing.model,), standing.alarm_at
            yield "drift_open", (standing.model, standing.version), int(standing.is_open)


def of_status(status: Mapping[str, Any]) -> Iterator[Sample]:
    """What `GET /status` tells of spool, database, audit, rollouts, shadow and notices."""
    yield "unrecorded", (), status["missed"]
    spool, shipping, audit = status["spool"], status["database"], status["audit"]
    yield from (("spool_lag_bytes", (), spool["lag_bytes"]), ("spool_segments", (), spool["segments"]))
    told = {
        "ship_lag_bytes": shipping["lag_bytes"],
        "ship_age_seconds": shipping["seconds_since_success"],
        "ship_refused_segments": shipping["refused_segments"],
        "ship_damaged_segments": shipping["damaged_segments"],
        "shipped": shipping["shipped"],
        "database_up": int(shipping["error"] != "down"),
        "checkpoint_age_seconds": audit["seconds_since_checkpoint"],
    }
    yield from ((name, (), value) for name, value in told.items() if value is not None)
    yield "leads", ("controller",), int(status["rollouts"]["leads"])
    yield "leads", ("keeper",), int(audit["leads"])
    yield from _of_rollouts(status["rollouts"])
    for found in status["shadow"]:
        labels = found["model"], found["version"]
        yield "shadow_lag_bytes", labels, found["lag_bytes"]
        yield "shadow_missed", labels, found["missed"]
    yield "notices", ("told",), status["notify"]["told"]
    yield "notices", ("given_up",), status["notify"]["given_up"]


def _of_rollouts(rollouts: Mapping[str, Any]) -> Iterator[Sample]:
    for model, stage in rollouts["stages"].items():
        yield from (("rollout_state", (model, state), int(state == stage["state"])) for state in STATES)
        if stage["canary"]:
            yield "rollout_share_ratio", (model, stage["canary"]), stage["share"]
    for model, numbers in rollouts["evidence"].items():
        yield "rollout_evidence", (model, "harmful", "all"), numbers["e_rollback"]
        yield from (("rollout_evidence", (model, "safe", rule), e) for rule, e in numbers["e_safe"].items())
        yield "rollout_evidence_needed", (model, "harmful"), numbers["e_rollback_limit"]
        yield "rollout_evidence_needed", (model, "safe"), numbers["e_safe_limit"]


def _at_most(bounds: Iterable[float], counts: Iterable[int]) -> list[tuple[str, int]]:
    """Buckets as Prometheus has them: how many were at most each bound."""
    return list(zip([*map(_shown, bounds), "+Inf"], accumulate(counts), strict=True))


def _shown(bound: float) -> str:
    return f"{bound:.12g}"
