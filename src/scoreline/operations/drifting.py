"""Drift, tick by tick: what all hosts have counted becomes evidence, and evidence an incident.

Delivery order of a tick of a model, all in one transaction that holds the database's lock:
  1. what is in the inbox about a version is taken out, and added up;
  2. it is added to the hour's counts, and the evidence advances by it;
  3. where the evidence reaches A, evidence begins anew, and an incident is entered unless one is open.
A death before its end leaves all as it was, and the next leader does the same: nothing is counted twice or not at all.
A model whose inbox is empty has no tick: silence is neither evidence nor the end of an incident.
"""

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from sqlalchemy import Connection

from scoreline.core.errors import BundleError, DatabaseRefused, NotFound, RolloutRefused, ScorelineError
from scoreline.core.link import Floats
from scoreline.core.manifest import Manifest
from scoreline.drift.counts import packed, unpacked
from scoreline.drift.fold import Fold
from scoreline.drift.reference import FORMAT, Reference
from scoreline.drift.rules import Rules
from scoreline.drift.state import State
from scoreline.operations.bundles import profile_of
from scoreline.operations.rollouts import stage_of
from scoreline.records.database import Database
from scoreline.records.drift import (
    BEGIN,
    END,
    HOUR_NS,
    Hour,
    Incident,
    Kept,
    add_hour,
    enter,
    forget,
    is_open,
    keep,
    kept_of,
    last_incident,
    open_incidents,
    take,
    ticked_ns,
    waiting,
)
from scoreline.records.ledger import last

QUIET_NS: Final = 24 * HOUR_NS  # of traffic without an alarm ends an incident ...
QUIET_TIMES: Final = 5.0  # ... once so many times the rows have come that an alarm of it took
REPLACED: Final = "another version is the champion"
MOST_FOLDS: Final = 64
log = logging.getLogger("scoreline.steward.drift")


class References:
    """The references of bundles in the state folder, by digest; what is not here now may be later."""

    def __init__(self, state_dir: Path, rules: Rules) -> None:
        self.rules = rules
        self._state_dir = state_dir
        self._folds: dict[str, Fold] = {}

    def find(self, digest: str) -> Reference:
        """Raises NotFound or BundleError."""
        return self._fold(digest).reference

    def fold(self, digest: str) -> Fold | None:
        """None where the bundle is not here, or has no reference that can be read."""
        with suppress(NotFound, BundleError):
            return self._fold(digest)
        return None

    def _fold(self, digest: str) -> Fold:
        found = self._folds.get(digest)
        if found is None:
            found = Fold(Reference.of(*profile_of(self._state_dir, digest), self.rules.tolerance))
            if len(self._folds) >= MOST_FOLDS:
                self._folds.clear()
            self._folds[digest] = found
        return found


def look(database: Database, references: References) -> None:
    """A tick of each model that is due; ends incidents whose champion has gone.

    What is wrong with one model holds up no other: it is raised when all have had their turn. Raises DatabaseDown,
    DatabaseRefused or RolloutRefused.
    """
    with database.reading() as connection:
        opened = open_incidents(connection)
        digests: dict[str, list[str]] = {}
        for model, digest in waiting(connection):
            digests.setdefault(model, []).append(digest)
        due = [model for model in digests if _is_due(database, connection, model, references.rules)]
    steps = [partial(_end_if_replaced, database, incident) for incident in opened]
    steps += [partial(_tick, database, references, model, digests[model]) for model in due]
    wrong: list[ScorelineError] = []
    for step in steps:
        try:
            step()
        except (DatabaseRefused, RolloutRefused) as error:
            wrong.append(error)
    if wrong:
        raise wrong[0]


def clean(database: Database) -> None:
    """Removes what is older than is told; raises as `look`."""
    with database.writing() as connection:
        database.lock(connection)
        forget(connection, database.now_ns(connection))


def _is_due(database: Database, connection: Connection, model: str, rules: Rules) -> bool:
    """Whether a tick's time has passed since the last; a clock that was put back does not stop it."""
    return not 0 <= database.now_ns(connection) - ticked_ns(connection, model) < rules.tick_ns


def _tick(database: Database, references: References, model: str, digests: Sequence[str]) -> None:
    champion = _champion(database, model)
    with database.writing() as connection:
        database.lock(connection)
        if not _is_due(database, connection, model, references.rules):
            return  # another leader was faster
        now_ns, kept = database.now_ns(connection), kept_of(connection, model)
        for digest in digests:
            fold = references.fold(digest)
            if fold is None:
                continue  # what was counted waits until its bundle is here
            reference = fold.reference
            counted, own = _taken(connection, model, digest, reference)
            hour = Hour(model, digest, now_ns // HOUR_NS, FORMAT)
            add_hour(connection, hour, partial(_merged, counted=counted, model=model))
            if own[0] and digest == (champion or digest):
                keep(connection, _advanced(connection, reference, references.rules, kept.get(digest), own, now_ns))


def _taken(connection: Connection, model: str, digest: str, reference: Reference) -> tuple[Floats, Floats]:
    """What was counted of a version, and what of it rests on the tolerances of this steward."""
    counted, own = np.zeros(reference.layout.size), np.zeros(reference.layout.size)
    for basis, raw in take(connection, model, digest):
        counts = _read(raw, len(counted), f"counts of {model}")
        if basis.partition(".")[0] == str(FORMAT):
            counted += counts
        if basis == reference.basis:
            own += counts
    return counted, own


def _merged(there: bytes | None, counted: Floats, model: str) -> bytes:
    return packed(counted if there is None else counted + _read(there, len(counted), f"hour of {model}"))


def _read(raw: bytes, size: int, what: str) -> Floats:
    """Counts as they were kept; none where they are damaged, which is told: the rest goes on."""
    try:
        counts = unpacked(raw, size)
        if not np.isfinite(counts).all():
            raise DatabaseRefused("there are numbers that are none")
    except DatabaseRefused as error:
        log.error("%s are left out of drift: %s", what, error)
        return np.zeros(size)
    return counts


def _advanced(
    connection: Connection, reference: Reference, rules: Rules, kept: Kept | None, counts: Floats, now_ns: int
) -> Kept:
    """The evidence after a tick; an incident that begins or ends by it is entered."""
    manifest = reference.manifest
    state, before = (
        State.new(reference),
        Kept(manifest.name, manifest.digest, reference.basis, 0, now_ns, now_ns, 0, 0, b""),
    )
    if kept is not None and kept.basis == reference.basis:
        before = kept
        try:
            state = State.from_bytes(kept.state, reference, kept.ticks)
        except DatabaseRefused as error:
            log.error("the evidence about %s begins anew: %s", manifest.name, error)
    elif kept is not None:
        before = replace(kept, basis=reference.basis, began_ns=now_ns)  # evidence begins anew, an incident stays
    state = state.tick(reference, counts).held_against(reference, rules.log_alarm_at, counts[0])
    if state.log_evidence(reference) >= rules.log_alarm_at:
        alarms = before.alarms if is_open(last_incident(connection, manifest.name), manifest.digest) else 0
        if not alarms:
            _begin(connection, manifest, state.explained(reference, rules.log_alarm_at), now_ns)
        after = replace(before, alarms=alarms + 1, quiet_ns=0, began_ns=now_ns)
        state = state.begun_anew(reference, again=alarms > 0)
    else:
        after = _quiet(connection, before, state, now_ns) if before.alarms else before
    return replace(after, ticks=state.ticks, ticked_ns=now_ns, state=state.to_bytes())


def _quiet(connection: Connection, kept: Kept, state: State, now_ns: int) -> Kept:
    """A tick without an alarm, of a version that had some: a day of such traffic ends its incident.

    Unless it is too little: evidence takes rows, and few of them in a day say nothing.
    """
    quiet_ns = kept.quiet_ns + min(max(now_ns - kept.ticked_ns, 0), HOUR_NS)  # a night without traffic is an hour
    if quiet_ns < QUIET_NS or state.rows < QUIET_TIMES * state.took:
        return replace(kept, quiet_ns=quiet_ns)
    newest = last_incident(connection, kept.model)
    if newest is not None and is_open(newest, kept.digest):
        _end(connection, newest, "a day of traffic without a further alarm", kept.alarms, now_ns)
    return replace(kept, quiet_ns=0, alarms=0)


def _begin(connection: Connection, manifest: Manifest, evidence: Mapping[str, Any], now_ns: int) -> None:
    newest = last_incident(connection, manifest.name)
    if newest is not None and newest.action == BEGIN:
        newest = _end(connection, newest, REPLACED, _alarms(connection, newest), now_ns)
    seq, why = newest.seq + 1 if newest else 1, "the evidence has reached the alarm"
    enter(connection, Incident(manifest.name, seq, now_ns, BEGIN, manifest.version, manifest.digest, why, evidence))


def _end(connection: Connection, begun: Incident, why: str, alarms: int, now_ns: int) -> Incident:
    ended = replace(begun, seq=begun.seq + 1, at_ns=now_ns, action=END, why=why, evidence={"alarms": alarms})
    enter(connection, ended)
    return ended


def _alarms(connection: Connection, begun: Incident) -> int:
    """How many an incident has had; of one whose evidence is gone, the one it began with."""
    kept = kept_of(connection, begun.model).get(begun.digest)
    return max(kept.alarms, 1) if kept else 1


def _end_if_replaced(database: Database, incident: Incident) -> None:
    """Where its champion answers no more; whoever comes second finds it ended."""
    if _champion(database, incident.model) in ("", incident.digest):
        return
    with database.writing() as connection:
        database.lock(connection)
        if last_incident(connection, incident.model) == incident:
            _end(connection, incident, REPLACED, _alarms(connection, incident), database.now_ns(connection))


def _champion(database: Database, model: str) -> str:
    """The digest of the version that answers by the ledger; empty: nobody has said."""
    entry = last(database, model)
    return stage_of(entry).champion.digest if entry else ""
