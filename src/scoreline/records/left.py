"""What left before: the files that may hold decisions about an entity, which Scoreline cannot reach."""

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, func, or_, select

from scoreline.records.rows import author_of
from scoreline.records.tables import AUTHORS, DECISIONS, ERASURES, EXPORTS, MOVED, STUMPS

_Spans = dict[str, tuple[int, int]]  # the first and last time by the model


@dataclass(frozen=True, slots=True)
class Left:
    """A file that left before and may hold what was erased."""

    kind: str
    name: str
    digest: str
    who: str
    at_ns: int


def left(connection: Connection, entity: bytes) -> list[Left]:
    """Exports that may hold decisions about an entity.

    The decisions tell which, but not once some of them may have gone: then it is every export not of others only.
    """
    gone = select(STUMPS.c.segment).exists(), select(ERASURES.c.id).where(ERASURES.c.entity == entity).exists()
    spans = None if connection.scalar(select(or_(*gone))) else _spans(connection, entity)
    found = connection.execute(select(EXPORTS).order_by(EXPORTS.c.id))
    return [Left(row.kind, row.name, row.digest, row.who, row.at_ns) for row in found if _may_hold(row, entity, spans)]


def _spans(connection: Connection, entity: bytes) -> _Spans:
    spans: _Spans = {}
    models = {id_: author_of(text).model for id_, text in connection.execute(select(AUTHORS.c.id, AUTHORS.c.json))}
    for table in (DECISIONS, MOVED):
        for author, first_ns, last_ns in connection.execute(_span(table, entity)):
            model = models.get(author, "")
            known = spans.get(model, (first_ns, last_ns))
            spans[model] = min(known[0], first_ns), max(known[1], last_ns)
    return spans


def _span(table: Table, entity: bytes) -> Any:
    times: list[ColumnElement[Any]] = [func.min(table.c.time_ns), func.max(table.c.time_ns)]
    return select(table.c.author, *times).where(table.c.entity == entity).group_by(table.c.author)


def _may_hold(export: Any, entity: bytes, spans: _Spans | None) -> bool:
    by = json.loads(export.filter)
    if by.get("entity") not in (None, entity.hex()) or not export.rows:
        return False
    return spans is None or any(
        by.get("model") in (None, "", model)
        and (export.from_ns is None or export.from_ns <= last_ns)
        and (export.until_ns is None or export.until_ns >= first_ns)
        for model, (first_ns, last_ns) in spans.items()
    )
