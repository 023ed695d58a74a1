"""Keys as people make, change and see them. A key is told once, to whoever makes it; what is kept is its SHA-256."""

import secrets
import time
from dataclasses import dataclass
from typing import Any, Final

from scoreline.access.caller import ANONYMOUS, NORMAL, PRIORITIES
from scoreline.access.keyring import hash_key
from scoreline.access.scopes import SCOPES
from scoreline.core.errors import Malformed
from scoreline.core.manifest import NAME
from scoreline.operations.maturity import utc
from scoreline.records import apikeys
from scoreline.records.actions import By
from scoreline.records.apikeys import Grant, Key, all_keys
from scoreline.records.database import Database

PREFIX: Final = "scoreline_"  # scanners for secrets find keys by it
KEY_BYTES: Final = 32
MAX_NUMBER: Final = (1 << 31) - 1
MAX_DAYS: Final = 3650
GRACE_S: Final = 86_400
MAX_GRACE_S: Final = 90 * 86_400
TAKEN: Final = (ANONYMOUS, "admin", "controller", "import", "registry", "serve")
_DAY_NS: Final = 86_400_000_000_000
_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Made:
    """A new key: its number, and the key itself, which nobody can tell again."""

    number: int
    key: str


def grant_of(
    name: str,
    scopes: list[str],
    models: list[str] | None,
    priority: str = NORMAL,
    expires_days: int | None = None,
    *,
    now_ns: int,
) -> Grant:
    """What a new key opens, checked; raises Malformed."""
    if not NAME.fullmatch(name) or name in TAKEN:
        raise Malformed(f"name: letters, digits, '.', '_' and '-', at most 100, none of {', '.join(TAKEN)}")
    if not scopes or not set(scopes) <= set(SCOPES):
        raise Malformed(f"scopes: at least one of {', '.join(SCOPES)}")
    if models is not None and not (models and all(map(NAME.fullmatch, models))):
        raise Malformed("models: names of models; left out, the key is for every one")
    if priority not in PRIORITIES:
        raise Malformed(f"priority: one of {', '.join(PRIORITIES)}")
    if expires_days is not None and not 1 <= expires_days <= MAX_DAYS:
        raise Malformed(f"expires_days: between 1 and {MAX_DAYS}")
    only = None if models is None else tuple(sorted(set(models)))
    ends_ns = None if expires_days is None else now_ns + expires_days * _DAY_NS
    return Grant(name, tuple(sorted(set(scopes))), only, priority, ends_ns)


def create(database: Database, grant: Grant, by: By) -> Made:
    """A new key. Raises DatabaseDown or DatabaseRefused."""
    key = _new()
    return Made(apikeys.add(database, grant, _digest(key), by, time.time_ns()), key)


def revoke(database: Database, number: int, by: By) -> None:
    """Ends a key on every host within seconds; raises NotFound."""
    apikeys.revoke(database, _checked(number), by, time.time_ns())


def rotate(database: Database, number: int, by: By, grace_s: int = GRACE_S) -> Made:
    """A new key in the place of an old one, which ends after `grace_s`; raises NotFound or Malformed."""
    if not 0 <= grace_s <= MAX_GRACE_S:
        raise Malformed(f"grace_s: between 0 and {MAX_GRACE_S}")
    key, now_ns = _new(), time.time_ns()
    until_ns = now_ns + grace_s * _NS
    return Made(apikeys.rotate(database, _checked(number), _digest(key), until_ns, by, now_ns), key)


def listed(database: Database, now_ns: int) -> list[dict[str, Any]]:
    """Every key as people see it: what it opens, whether it counts, when it was last used. No key can be told."""
    return [_seen(key, now_ns) for key in all_keys(database)]


def _seen(key: Key, now_ns: int) -> dict[str, Any]:
    grant = key.grant
    state = "active" if key.is_active(now_ns) else "expired" if key.revoked_ns is None else "revoked"
    return {
        "number": key.number,
        "name": grant.name,
        "state": state,
        "scopes": list(grant.scopes),
        "models": None if grant.models is None else list(grant.models),
        "priority": grant.priority,
        "created": utc(key.created_ns),
        "created_by": key.created_by,
        "expires": _utc(grant.expires_ns),
        "revoked": _utc(key.revoked_ns),
        "revoked_by": key.revoked_by,
        "last_used": _utc(key.used_ns),
    }


def _utc(time_ns: int | None) -> str | None:
    return None if time_ns is None else utc(time_ns)


def _checked(number: int) -> int:
    """PostgreSQL would refuse a number that its column cannot have; there is no such key."""
    return number if 0 < number <= MAX_NUMBER else 0


def _new() -> str:
    return PREFIX + secrets.token_urlsafe(KEY_BYTES)


def _digest(key: str) -> bytes:
    return hash_key(key.encode())
