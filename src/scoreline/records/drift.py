"""What is kept of drift: an inbox that shipping fills and the leader empties, evidence, hours and incidents.

What writes takes a connection: it belongs to a transaction of others. Exactly once: counts come into the inbox in the
transaction that ships their decisions, and leave it in the one that keeps the evidence made of them.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from sqlalchemy import Connection, delete, func, insert, select, text

from scoreline.core.manifest import canonical_json
from scoreline.records.database import Database
from scoreline.records.drift_tables import HOURS, INBOX, INCIDENTS, STATES

HOUR_NS: Final = 3_600_000_000_000
KEPT_NS: Final = 14 * 24 * HOUR_NS
BEGIN: Final = "begin"
END: Final = "end"


@dataclass(frozen=True, slots=True)
class Kept:
    """The evidence about a version as it is kept; see `drift_tables.STATES`."""

    model: str
    digest: str
    basis: str
    ticks: int
    began_ns: int
    ticked_ns: int
    quiet_ns: int
    alarms: int
    state: bytes


@dataclass(frozen=True, slots=True)
class Hour:
    """An hour since 1970 of a version, counted in a `format`."""

    model: str
    digest: str
    hour: int
    format: int


@dataclass(frozen=True, slots=True)
class Incident:
    """The beginning or the end of an incident: what a version's evidence said, and why it ended."""

    model: str
    seq: int
    at_ns: int
    action: str
    version: str
    digest: str
    why: str
    evidence: Mapping[str, Any]


def put(connection: Connection, model: str, digest: str, basis: str, now_ns: int, counts: bytes) -> None:
    """What was counted of a piece, into the inbox."""
    row = {"model": model, "digest": digest, "basis": basis, "at_ns": now_ns, "counts": counts}
    connection.execute(insert(INBOX), row)


def waiting(connection: Connection) -> Sequence[tuple[str, str]]:
    """Models and digests that something in the inbox is about."""
    found = connection.execute(select(INBOX.c.model, INBOX.c.digest).distinct().order_by(INBOX.c.model, INBOX.c.digest))
    return [(model, digest) for model, digest in found]


def take(connection: Connection, model: str, digest: str) -> Sequence[tuple[str, bytes]]:
    """All that is in the inbox about a version, as basis and counts; it is not there any more."""
    gone = delete(INBOX).where(INBOX.c.model == model, INBOX.c.digest == digest)
    return [
        (basis, bytes(counts)) for basis, counts in connection.execute(gone.returning(INBOX.c.basis, INBOX.c.counts))
    ]


def ticked_ns(connection: Connection, model: str) -> int:
    """When the last tick of a model was; 0: there was none."""
    return int(connection.scalar(select(func.max(STATES.c.ticked_ns)).where(STATES.c.model == model)) or 0)


def kept_of(connection: Connection, model: str) -> Mapping[str, Kept]:
    """The evidence about each version of a model, by digest."""
    found = connection.execute(select(STATES).where(STATES.c.model == model))
    return {row.digest: Kept(**{**row._mapping, "state": bytes(row.state)}) for row in found}


def models_kept(connection: Connection) -> Sequence[str]:
    """The models there is evidence about."""
    return list(connection.scalars(select(STATES.c.model).distinct().order_by(STATES.c.model)))


def keep(connection: Connection, kept: Kept) -> None:
    connection.execute(_KEEP, asdict(kept))


def add_hour(connection: Connection, hour: Hour, merged: Callable[[bytes | None], bytes]) -> None:
    """Adds to what was counted in an hour: `merged` makes new counts of those there (None: none)."""
    names = asdict(hour)
    before = connection.scalar(select(HOURS.c.counts).where(*(HOURS.c[name] == names[name] for name in names)))
    connection.execute(_ADD_HOUR, names | {"counts": merged(None if before is None else bytes(before))})


def hours_since(connection: Connection, first: Hour) -> Sequence[tuple[int, bytes]]:
    """What was counted from an hour on, of the same version and format: hours since 1970 and counts, rising."""
    same = (HOURS.c[name] == getattr(first, name) for name in ("model", "digest", "format"))
    wanted = select(HOURS.c.hour, HOURS.c.counts).where(*same, HOURS.c.hour >= first.hour).order_by(HOURS.c.hour)
    return [(hour, bytes(counts)) for hour, counts in connection.execute(wanted)]


def forget(connection: Connection, now_ns: int) -> None:
    """Removes hours, evidence and what waits in vain, once they are 14 days old; incidents stay."""
    before_ns = now_ns - KEPT_NS
    connection.execute(delete(HOURS).where(HOURS.c.hour < before_ns // HOUR_NS))
    connection.execute(delete(STATES).where(STATES.c.ticked_ns < before_ns))
    connection.execute(delete(INBOX).where(INBOX.c.at_ns < before_ns))


def enter(connection: Connection, incident: Incident) -> None:
    """Writes an entry behind the last; its number is the next, because whoever writes holds the database's lock."""
    row = asdict(incident) | {"evidence": canonical_json(incident.evidence).decode()}
    connection.execute(insert(INCIDENTS), row)


def last_incident(connection: Connection, model: str) -> Incident | None:
    """The newest entry of a model: its incident is open while this is a beginning."""
    newest = select(INCIDENTS).where(INCIDENTS.c.model == model).order_by(INCIDENTS.c.seq.desc()).limit(1)
    row = connection.execute(newest).one_or_none()
    return _incident(row) if row else None


def is_open(newest: Incident | None, digest: str) -> bool:
    """Whether a model's newest entry is the beginning of an incident of this version."""
    return newest is not None and (newest.action, newest.digest) == (BEGIN, digest)


def open_incidents(connection: Connection) -> Sequence[Incident]:
    """The beginnings of incidents that have not ended."""
    newest = select(INCIDENTS.c.model, func.max(INCIDENTS.c.seq).label("seq")).group_by(INCIDENTS.c.model).subquery()
    heads = select(INCIDENTS).join(newest, (INCIDENTS.c.model == newest.c.model) & (INCIDENTS.c.seq == newest.c.seq))
    return [_incident(row) for row in connection.execute(heads.where(INCIDENTS.c.action == BEGIN))]


def incidents_of(database: Database, model: str, seq: int, limit: int) -> Sequence[Incident]:
    """The entries of a model behind a number, the oldest first."""
    behind = select(INCIDENTS).where(INCIDENTS.c.model == model, INCIDENTS.c.seq > seq)
    with database.reading() as connection:
        return [_incident(row) for row in connection.execute(behind.order_by(INCIDENTS.c.seq).limit(limit))]


def _incident(row: Any) -> Incident:
    return Incident(**{**row._mapping, "evidence": json.loads(row.evidence)})


_FACTS: Final = [column.name for column in STATES.columns]
_KEEP: Final = text(
    f"INSERT INTO drift_states ({', '.join(_FACTS)}) VALUES ({', '.join(f':{name}' for name in _FACTS)}) "
    "ON CONFLICT (model, digest) DO UPDATE SET " + ", ".join(f"{name} = excluded.{name}" for name in _FACTS[2:])
)
_ADD_HOUR: Final = text(
    "INSERT INTO drift_hours (model, digest, hour, format, counts) VALUES (:model, :digest, :hour, :format, :counts) "
    "ON CONFLICT (model, digest, hour, format) DO UPDATE SET counts = excluded.counts"
)
