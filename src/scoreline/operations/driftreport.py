"""Drift as people see it: what the evidence says, what was counted beside the reference, and which fields moved."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from scoreline.core.errors import DatabaseRefused, NotFound, RolloutRefused
from scoreline.core.link import Floats
from scoreline.drift.beside import LEAST_ROWS, beside, expected_loss, moved_scores
from scoreline.drift.counts import unpacked
from scoreline.drift.reference import FORMAT, Reference
from scoreline.drift.rules import Rules
from scoreline.drift.state import State, subject_of
from scoreline.evidence.likelihoods import e_value
from scoreline.operations.drifting import References
from scoreline.operations.maturity import utc
from scoreline.operations.rollouts import stage_of
from scoreline.records.database import Database
from scoreline.records.drift import (
    HOUR_NS,
    Hour,
    Incident,
    Kept,
    hours_since,
    is_open,
    kept_of,
    last_incident,
    models_kept,
)
from scoreline.records.ledger import last

DRIFT: Final = "drift"
NONE_FOUND: Final = "no drift found"
NOT_SURE: Final = "not sure"
NO_DATA: Final = "no data"
SPANS_S: Final = {"1h": 3600, "1d": 86_400, "14d": 14 * 86_400}
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Standing:
    """How much evidence there is that a subject of a version has moved: 1 is none, and `alarm_at` an alarm by itself.

    Of the subject "" it is that about the version as a whole, which raises alarms; `is_open`: it is in an incident.
    """

    model: str
    version: str
    subject: str
    kind: str
    evidence: float
    alarm_at: float
    is_open: bool


def standings(database: Database, references: References) -> Sequence[Standing]:
    """The evidence about every champion, as it stands: what `/metrics` shows. Raises DatabaseDown, DatabaseRefused.

    A version whose bundle is not here, or that has not decided yet, has none.
    """
    found: list[Standing] = []
    with database.reading() as connection:
        known = [
            (model, kept_of(connection, model), last_incident(connection, model)) for model in models_kept(connection)
        ]
    for model, kept, newest in known:
        with suppress(DatabaseRefused, RolloutRefused):  # damaged, or of a newer version: a tick tells of it
            found += _standings(database, references, model, kept, newest)
    return found


def _standings(
    database: Database, references: References, model: str, kept: Mapping[str, Kept], newest: Incident | None
) -> Sequence[Standing]:
    entry = last(database, model)
    own = kept.get(stage_of(entry).champion.digest) if entry else None
    fold = references.fold(own.digest) if own else None
    if own is None or fold is None or own.basis != fold.reference.basis:
        return ()
    reference, state = fold.reference, State.from_bytes(own.state, fold.reference, own.ticks)
    facts: Json = {"model": model, "version": reference.manifest.version, "alarm_at": references.rules.alarm_at}
    facts["is_open"] = is_open(newest, own.digest)
    whole = Standing(subject="", kind="", evidence=e_value(state.log_evidence(reference)), **facts)
    subjects = enumerate(state.by_subject(reference))
    return [whole, *(Standing(evidence=e_value(log), **subject_of(reference, at), **facts) for at, log in subjects)]


def drift_of(database: Database, references: References, model: str, last_s: int) -> Json:
    """How the champion of a model stands, as plain JSON; raises NotFound, BundleError, DatabaseDown, DatabaseRefused.

    Counts are by the hour: those of `last_s` begin with the hour it goes back to.
    """
    entry = last(database, model)
    if entry is None:
        raise NotFound(f"no service with this database serves {model!r} yet: `scoreline serve` it first")
    reference = references.find(stage_of(entry).champion.digest)
    digest = reference.manifest.digest
    with database.reading() as connection:
        now_ns = database.now_ns(connection)
        kept, newest = kept_of(connection, model).get(digest), last_incident(connection, model)
        hours = hours_since(connection, Hour(model, digest, (now_ns - last_s * 1_000_000_000) // HOUR_NS, FORMAT))
    counts = sum((unpacked(raw, reference.layout.size) for _, raw in hours), np.zeros(reference.layout.size))
    state = State.new(reference)
    if kept and kept.basis == reference.basis:
        state = State.from_bytes(kept.state, reference, kept.ticks)
    incident = newest if is_open(newest, digest) else None
    needed = reference.rows_needed(references.rules.log_alarm_at)
    return {
        "model": model,
        "version": reference.manifest.version,
        "digest": digest,
        **_verdict(incident, int(counts[0]), needed, last_s),
        "evidence": _evidence(reference, references.rules, state, kept),
        "incident": _incident(incident, kept),
        "last_s": last_s,
        "since": utc(hours[0][0] * HOUR_NS) if hours else None,
        "decisions": int(counts[0]),
        "decisions_needed": needed,
        "subjects": _subjects(reference, state, counts),
        "expected_loss": expected_loss(reference, counts),
    }


def _verdict(incident: Incident | None, decisions: int, needed: int, last_s: int) -> Json:
    hours = f"{last_s / 3600:g} hours"
    if incident:
        return {"verdict": DRIFT, "why": f"an incident is open since {utc(incident.at_ns)}"}
    if not decisions:
        return {"verdict": NO_DATA, "why": f"nothing was counted in the last {hours}"}
    if decisions < needed:
        why = f"{decisions:,} decisions in the last {hours}; {needed:,} show scores that have moved by a logit"
        return {"verdict": NOT_SURE, "why": why}
    return {"verdict": NONE_FOUND, "why": f"{decisions:,} decisions in the last {hours} have raised no alarm"}


def _evidence(reference: Reference, rules: Rules, state: State, kept: Kept | None) -> Json:
    found: Json = {"value": e_value(state.log_evidence(reference)), "alarm_at": rules.alarm_at, "ticks": state.ticks}
    found["since"] = utc(kept.began_ns) if kept and state.ticks else None
    found["tolerances"] = {
        "mean": rules.tolerance.mean,
        "logit": rules.tolerance.logit,
        "share": rules.tolerance.share,
    }
    return found


def _incident(incident: Incident | None, kept: Kept | None) -> Json | None:
    if incident is None:
        return None
    alarms = {"alarms": kept.alarms, "quiet_s": kept.quiet_ns // 1_000_000_000} if kept else {}
    return {"seq": incident.seq, "since": utc(incident.at_ns), **alarms, **incident.evidence}


def _subjects(reference: Reference, state: State, counts: Floats) -> Sequence[Json]:
    """Scores, then fields by how far they alone move the mean score."""
    own, facts = state.by_subject(reference), beside(reference, counts)
    told = counts if counts[0] >= LEAST_ROWS else np.zeros(len(counts))  # of a few rows nothing is
    effects = moved_scores(reference, told)
    found = [
        {**subject_of(reference, at), "evidence": e_value(own[at]), **_strongest(reference, state, at)}
        | {"effect": effects[at], **facts[at]}
        for at in range(len(reference.subjects))
    ]
    n_scores = len(reference.scores)
    return found[:n_scores] + sorted(found[n_scores:], key=lambda each: -abs(each["effect"] or 0.0))


def _strongest(reference: Reference, state: State, at: int) -> Json:
    """What a subject's evidence is of; nothing where there is none."""
    if not state.ticks or not (reference.is_bet & (reference.subject_of == at)).any():
        return {"of": None, "what": None, "direction": None}
    return state.strongest(reference, at)
