"""Keys and what they open. Only SHA-256 of keys is kept."""

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from scoreline.access.scopes import PUBLIC
from scoreline.core.errors import Denied, Unauthenticated

ANONYMOUS = "anonymous"
_LOOPBACK_NAMES = frozenset((b"localhost", b"127.0.0.1", b"[::1]"))


@dataclass(frozen=True, slots=True)
class Keyring:
    """Hashes of keys by the caller they name, each with its scopes, and what anyone may do without a key.

    Without any key and without `anonymous` scopes it is for loopback only, and open there: `open_on_loopback`.
    """

    keys: Mapping[str, tuple[str, frozenset[str]]] = field(default_factory=dict)
    anonymous: frozenset[str] = frozenset()

    @classmethod
    def of(cls, admin_key: str, anonymous: Iterable[str], scopes: Iterable[str]) -> "Keyring":
        """A keyring of one static key with all `scopes`, or none where `admin_key` is empty."""
        keys = {hash_key(admin_key): ("admin", frozenset(scopes))} if admin_key else {}
        return cls(keys, frozenset(anonymous))

    @property
    def open_on_loopback(self) -> bool:
        return not self.keys and not self.anonymous

    def admit(self, scope: str, key: str) -> str:
        """The caller a key names, `anonymous` where none is needed; raises Unauthenticated or Denied."""
        if scope == PUBLIC or (not key and (scope in self.anonymous or self.open_on_loopback)):
            return ANONYMOUS
        if not key:
            raise Unauthenticated("this route needs a key: send it as `X-API-Key` or `Authorization: Bearer`")
        if self.open_on_loopback:
            return ANONYMOUS
        offered = hash_key(key)
        for known, (caller, scopes) in self.keys.items():
            if hmac.compare_digest(offered, known):
                if scope not in scopes:
                    raise Denied(f"this key does not have the scope {scope!r}")
                return caller
        raise Unauthenticated("this key is not known here; it may have been revoked")

    def has(self, scope: str, key: str) -> bool:
        """Whether `admit` would."""
        try:
            self.admit(scope, key)
        except Denied:
            return False
        return True


def check_host(keyring: Keyring, headers: Mapping[bytes, bytes]) -> None:
    """While everything is open on loopback, only loopback's own names are answered; raises Denied.

    Otherwise a web page could reach the service under a name of its own that leads here (DNS rebinding).
    """
    if keyring.open_on_loopback and not _is_loopback_name(headers.get(b"host", b"localhost")):
        raise Denied("without credentials only localhost, 127.0.0.1 and [::1] are answered here")


@lru_cache(maxsize=64)
def _is_loopback_name(host: bytes) -> bool:
    name, _, port = host.rpartition(b":")
    return (name if name and port.isdigit() else host) in _LOOPBACK_NAMES


def hash_key(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def offered_key(headers: Mapping[bytes, bytes]) -> str:
    """The key a request carries in `X-API-Key` or `Authorization: Bearer`, empty where it carries none."""
    key = headers.get(b"x-api-key")
    if key is not None:
        return key.decode("latin-1")
    scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
    return token.strip().decode("latin-1") if scheme.lower() == b"bearer" else ""
