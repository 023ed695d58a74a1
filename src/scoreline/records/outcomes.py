"""Outcomes in the decision database: only ever added, and joined to decisions when they are read.

Because the join is made at reading, it is the same whatever came first. Of the reports of one target the one observed
last counts, and the others are its history. An outcome by entity belongs to the last decision of its model about that
entity at or before the event; decisions before that one are reported and not counted. Decisions in the archive are
found by their stubs (`moved`).
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, Select, Table, exists, func, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from scoreline.core.outcome import Outcome
from scoreline.records.authors import numbers_by_model
from scoreline.records.database import POSTGRESQL, Database
from scoreline.records.moved import SHIPPED, shipped
from scoreline.records.tables import OUTCOMES

BATCH: Final = 5000
Target = tuple[bytes, str, bytes, int]  # prediction, model, entity hash, event_ns


@dataclass(frozen=True, slots=True)
class Report:
    """An outcome as it is kept; `key` names it. `value` is a number or the name of a class."""

    key: bytes
    target: Target
    value: float | str
    observed_ns: int
    received_ns: int
    caller: str


@dataclass(frozen=True, slots=True)
class Match:
    """What an outcome is of: the 16 bytes of a prediction's id (none: unmatched), and how many decisions before it."""

    report: Report
    prediction: bytes
    others: int = 0


@dataclass(slots=True)
class Known:
    """What is known of one decision: the report that counts, those it corrects (oldest first)."""

    current: Report
    history: list[Report] = field(default_factory=list)


def add_outcomes(
    database: Database, outcomes: Sequence[tuple[Outcome, bytes]], caller: str, now_ns: int
) -> tuple[list[Report], int]:
    """Adds outcomes, each with the hash of its entity, all or none; returns what is kept of them and how many are new.

    One without a time counts as observed now, unless it says again what is known of its target. Raises DatabaseDown or
    DatabaseRefused.
    """
    kept: list[Report] = []
    added = 0
    with database.writing() as connection:
        for start in range(0, len(outcomes), BATCH):
            part = outcomes[start : start + BATCH]
            latest = _latest(connection, [_target(*found) for found in part])
            for place, (outcome, entity) in enumerate(part, start):
                kept.append(_report(outcome, entity, caller, now_ns, place, latest))
        for start in range(0, len(kept), BATCH):
            added += _insert(connection, kept[start : start + BATCH])
    return kept, added


def match(connection: Connection, reports: Iterable[Report]) -> Iterator[Match]:
    """What each outcome is of, as the decisions stand now."""
    found = list(reports)
    known = shipped(connection, sorted({report.target[0] for report in found} - {b""}))
    by_entity = _match_entities(connection, [report for report in found if not report.target[0]])
    for report in found:
        prediction = report.target[0]
        if prediction:
            yield Match(report, prediction if prediction in known else b"")
        else:
            yield Match(report, *by_entity[report.key])


def known_of(connection: Connection, decisions: Mapping[bytes, bytes]) -> dict[bytes, Known]:
    """What is known of some decisions, given as id to the hash of their entity (empty: not told)."""
    ids, entities = list(decisions), sorted({entity for entity in decisions.values() if entity})
    found: dict[bytes, list[Report]] = defaultdict(list)
    for report in _select(connection, OUTCOMES.c.prediction, ids):
        found[report.target[0]].append(report)  # the decision is there: it may not be shipped yet
    for matched in match(connection, _select(connection, OUTCOMES.c.entity, entities)):
        if matched.prediction in decisions:
            found[matched.prediction].append(matched.report)
    known = {}
    for prediction, several in found.items():
        *history, current = sorted(several, key=_rank)
        known[prediction] = Known(current, history)
    return known


def has_texts(connection: Connection, model: str) -> bool:
    """Whether the name of a class was reported for decisions of a model, ever."""
    authors = numbers_by_model(connection, model).get(model, [])
    by_id = [
        exists(select(table.c.id).where(table.c.id == OUTCOMES.c.prediction, table.c.author.in_(authors)))
        for table in SHIPPED
    ]
    of_model = or_(OUTCOMES.c.model == model, *by_id)
    return connection.scalar(select(OUTCOMES.c.id).where(OUTCOMES.c.label.is_not(None), of_model).limit(1)) is not None


def models_of(connection: Connection, ids: Sequence[bytes]) -> dict[bytes, str]:
    """The models of those decisions that are in the database or in the archive."""
    models = {author: model for model, authors in numbers_by_model(connection).items() for author in authors}
    found: dict[bytes, str] = {}
    for start, table in product(range(0, len(ids), BATCH), SHIPPED):
        wanted = select(table.c.id, table.c.author).where(table.c.id.in_(ids[start : start + BATCH]))
        found |= {id_: models.get(author, "") for id_, author in connection.execute(wanted)}
    return found


def unmatched(database: Database) -> Iterator[Report]:
    """The outcomes that belong to no decision there is, in the order of their coming."""
    with database.reading() as connection:
        rows = connection.execute(select(OUTCOMES).order_by(OUTCOMES.c.id).execution_options(yield_per=BATCH))
        for part in rows.partitions(BATCH):
            yield from (found.report for found in match(connection, map(_as_report, part)) if not found.prediction)


def _rank(report: Report) -> tuple[int, bytes]:
    """The last observed counts; at the same time the order is arbitrary, and always the same."""
    return report.observed_ns, report.key


def _target(outcome: Outcome, entity: bytes) -> Target:
    return outcome.prediction, outcome.model, entity, outcome.event_ns


def _report(
    outcome: Outcome, entity: bytes, caller: str, now_ns: int, place: int, latest: dict[Target, Report]
) -> Report:
    target, observed_ns = _target(outcome, entity), outcome.observed_ns
    known = latest.get(target)
    if observed_ns is None:
        if known is not None and known.value == outcome.value:
            return known
        observed_ns = now_ns + place  # of several in one call the later one counts
    report = Report(_key(target, outcome.value, observed_ns), target, outcome.value, observed_ns, now_ns, caller)
    if known is None or _rank(report) > _rank(known):
        latest[target] = report
    return report


def _key(target: Target, value: float | str, observed_ns: int) -> bytes:
    prediction, model, entity, event_ns = target
    said = json.dumps([prediction.hex(), model, entity.hex(), event_ns, value, observed_ns])
    return hashlib.sha256(said.encode()).digest()


def _latest(connection: Connection, targets: list[Target]) -> dict[Target, Report]:
    """Of each target what counts now."""
    ids = sorted({target[0] for target in targets if target[0]})
    entities = sorted({target[2] for target in targets if not target[0]})
    found: dict[Target, Report] = {}
    reports = (*_select(connection, OUTCOMES.c.prediction, ids), *_select(connection, OUTCOMES.c.entity, entities))
    for report in sorted(reports, key=_rank):
        found[report.target] = report
    return found


def _select(connection: Connection, column: ColumnElement[Any], values: Sequence[bytes]) -> Iterator[Report]:
    for start in range(0, len(values), BATCH):
        wanted = select(OUTCOMES).where(column.in_(values[start : start + BATCH]))
        yield from map(_as_report, connection.execute(wanted))


def _insert(connection: Connection, reports: list[Report]) -> int:
    """Inserts those that are new, and returns how many that was."""
    new = {report.key: _as_row(report) for report in reports}
    for key in connection.scalars(select(OUTCOMES.c.key).where(OUTCOMES.c.key.in_(list(new)))).all():
        del new[key]
    if new:
        upsert = postgresql.insert if connection.dialect.name == POSTGRESQL else sqlite.insert
        connection.execute(upsert(OUTCOMES).on_conflict_do_nothing(), list(new.values()))
    return len(new)


def _match_entities(connection: Connection, reports: list[Report]) -> dict[bytes, tuple[bytes, int]]:
    """By key: the last decision about the entity at or before the event, and how many there are before that one."""
    counts = {report.key: 0 for report in reports}
    newest: dict[bytes, tuple[int, bytes]] = {}
    for model, authors in numbers_by_model(connection).items() if reports else ():
        keys = [report.key for report in reports if report.target[1] == model]
        for start, table in product(range(0, len(keys), BATCH), SHIPPED):
            wanted = _last_of(table, authors).where(OUTCOMES.c.key.in_(keys[start : start + BATCH]))
            for key, time_ns, prediction, n_decisions in connection.execute(wanted):
                if n_decisions:
                    counts[key] += n_decisions
                    newest[key] = max(newest.get(key, (time_ns, prediction)), (time_ns, prediction))
    return {key: (newest[key][1], count - 1) if count else (b"", 0) for key, count in counts.items()}


def _last_of(table: Table, authors: list[int]) -> Select[Any]:
    """Of each outcome's decisions in a table the last one's time and id, and how many there are."""
    row = table.c
    earlier = row.entity == OUTCOMES.c.entity, row.author.in_(authors), row.time_ns <= OUTCOMES.c.event_ns
    newest = row.time_ns.desc(), row.id.desc()
    found = [
        select(column).where(*earlier).order_by(*newest).limit(1).correlate(OUTCOMES).scalar_subquery()
        for column in (row.time_ns, row.id)
    ]
    count = select(func.count()).select_from(table).where(*earlier).correlate(OUTCOMES).scalar_subquery()
    return select(OUTCOMES.c.key, *found, count)


def _as_row(report: Report) -> dict[str, Any]:
    prediction, model, entity, event_ns = report.target
    is_class = isinstance(report.value, str)
    return {
        "key": report.key,
        "prediction": prediction or None,
        "model": model or None,
        "entity": entity or None,
        "event_ns": event_ns or None,
        "value": None if is_class else report.value,
        "label": report.value if is_class else None,
        "observed_ns": report.observed_ns,
        "received_ns": report.received_ns,
        "caller": report.caller,
    }


def _as_report(row: Row[Any]) -> Report:
    target = (row.prediction or b"", row.model or "", row.entity or b"", row.event_ns or 0)
    value = row.label if row.label is not None else row.value
    return Report(row.key, target, value, row.observed_ns, row.received_ns, row.caller)
