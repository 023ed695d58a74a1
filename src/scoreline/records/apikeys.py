"""Keys of callers in the decision database: their hashes, what they open, and what became of them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Row, func, select, update

from scoreline.access.caller import NORMAL, Caller
from scoreline.core.errors import NotFound
from scoreline.records.access_tables import API_KEYS
from scoreline.records.actions import Action, By, put_down
from scoreline.records.database import Database

CREATE: Final = "key created"
REVOKE: Final = "key revoked"
ROTATE: Final = "key rotated"


@dataclass(frozen=True, slots=True)
class Grant:
    """What a key opens: for whom, which scopes and models (None: every one), until when (None: for ever)."""

    name: str
    scopes: tuple[str, ...]
    models: tuple[str, ...] | None = None
    priority: str = NORMAL
    expires_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Key:
    """A key as it is kept, by its number; `digest` is its SHA-256."""

    number: int
    digest: bytes
    grant: Grant
    created_by: str
    created_ns: int
    revoked_by: str | None
    revoked_ns: int | None
    used_ns: int | None

    def is_active(self, now_ns: int) -> bool:
        return self.revoked_ns is None and (self.grant.expires_ns is None or now_ns < self.grant.expires_ns)

    @property
    def caller(self) -> Caller:
        grant = self.grant
        models = None if grant.models is None else frozenset(grant.models)
        ends_ns = grant.expires_ns or 0
        return Caller(grant.name, frozenset(grant.scopes), models, grant.priority, self.number, ends_ns)


def add(database: Database, grant: Grant, digest: bytes, by: By, now_ns: int) -> int:
    """Keeps a new key, outliving the machine; returns its number. Raises DatabaseDown or DatabaseRefused."""
    with database.writing(durable=True) as connection:
        number = _insert(connection, grant, digest, by, now_ns)
        put_down(connection, Action(now_ns, by, CREATE, {"number": number, **_said(grant)}))
        return number


def revoke(database: Database, number: int, by: By, now_ns: int) -> None:
    """Ends a key, which stays in the table; raises NotFound where there is none, or it has ended."""
    with database.writing(durable=True) as connection:
        key = _active(connection, number, now_ns)
        connection.execute(_of(number).values(revoked_by=by.who, revoked_ns=now_ns))
        put_down(connection, Action(now_ns, by, REVOKE, {"number": number, "name": key.grant.name}))


def rotate(database: Database, number: int, digest: bytes, until_ns: int, by: By, now_ns: int) -> int:
    """Keeps a new key that opens what an old one does, which ends at `until_ns`; returns the new one's number.

    Raises NotFound as `revoke`.
    """
    with database.writing(durable=True) as connection:
        key = _active(connection, number, now_ns)
        ends_ns = until_ns if key.grant.expires_ns is None else min(until_ns, key.grant.expires_ns)
        new = _insert(connection, key.grant, digest, by, now_ns)
        connection.execute(_of(number).values(expires_ns=ends_ns))
        facts = {"number": number, "name": key.grant.name, "new": new, "ends_ns": ends_ns}
        put_down(connection, Action(now_ns, by, ROTATE, facts))
        return new


def all_keys(database: Database) -> list[Key]:
    """Every key there ever was, by number."""
    with database.reading() as connection:
        return [_key(row) for row in connection.execute(select(API_KEYS).order_by(API_KEYS.c.id))]


def active_keys(database: Database, now_ns: int) -> tuple[list[Key], bool]:
    """The keys that count, and whether there ever was one."""
    with database.reading() as connection:
        known = connection.scalar(select(func.count()).select_from(API_KEYS)) or 0
        rows = connection.execute(select(API_KEYS).where(API_KEYS.c.revoked_ns.is_(None)).order_by(API_KEYS.c.id))
        return [key for key in map(_key, rows) if key.is_active(now_ns)], known > 0


def keep_used(database: Database, used: Mapping[int, int]) -> None:
    """Keeps when keys were last used: times in nanoseconds by number, as far as they are later than what is known."""
    with database.writing() as connection:
        for number, at_ns in used.items():
            later = _of(number).where(func.coalesce(API_KEYS.c.used_ns, 0) < at_ns)
            connection.execute(later.values(used_ns=at_ns))


def _insert(connection: Connection, grant: Grant, digest: bytes, by: By, now_ns: int) -> int:
    models = None if grant.models is None else json.dumps(grant.models)
    facts = {"name": grant.name, "scopes": json.dumps(grant.scopes), "models": models, "priority": grant.priority}
    made = {"digest": digest, "expires_ns": grant.expires_ns, "created_by": by.who, "created_ns": now_ns}
    return int(connection.execute(API_KEYS.insert().values(**facts, **made).returning(API_KEYS.c.id)).scalar_one())


def _active(connection: Connection, number: int, now_ns: int) -> Key:
    row = connection.execute(select(API_KEYS).where(API_KEYS.c.id == number)).one_or_none()
    if row is None or not _key(row).is_active(now_ns):
        raise NotFound(f"there is no key {number}, or it has ended: `scoreline keys list` shows those that count")
    return _key(row)


def _of(number: int) -> Any:
    return update(API_KEYS).where(API_KEYS.c.id == number)


def _key(row: Row[Any]) -> Key:
    models = None if row.models is None else tuple(json.loads(row.models))
    grant = Grant(row.name, tuple(json.loads(row.scopes)), models, row.priority, row.expires_ns)
    ended = row.revoked_by, row.revoked_ns, row.used_ns
    return Key(row.id, row.digest, grant, row.created_by, row.created_ns, *ended)


def _said(grant: Grant) -> dict[str, Any]:
    facts = {"name": grant.name, "scopes": list(grant.scopes), "priority": grant.priority}
    limits = {"models": None if grant.models is None else list(grant.models), "expires_ns": grant.expires_ns}
    return facts | {name: limit for name, limit in limits.items() if limit is not None}
