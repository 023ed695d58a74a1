"""Keys and what they open. Only SHA-256 of keys is kept."""

import hashlib
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from scoreline.access.caller import ANONYMOUS, Caller
from scoreline.access.scopes import PUBLIC, SCOPES
from scoreline.core.errors import Denied, Malformed, Unauthenticated


class Tokens(Protocol):
    """Who reads tokens of an issuer: an `access.tokens.Tokens`."""

    def caller(self, token: bytes, digest: bytes, /) -> Caller:
        """The caller a token names; `digest` is the token's SHA-256. Raises Unauthenticated."""
        ...


@dataclass(frozen=True, slots=True)
class Keyring:
    """Callers by the SHA-256 of their keys, who reads tokens, and the scopes of who has no key.

    Without any of these it is for loopback only, and open there, unless it is `guarded`: then it is shut.
    Numbers of keys that were used are added to `used`.
    """

    keys: Mapping[bytes, Caller] = field(default_factory=dict, repr=False)
    anonymous: frozenset[str] = frozenset()
    guarded: bool = False
    tokens: Tokens | None = field(default=None, repr=False)
    hosts: frozenset[bytes] = frozenset()
    used: set[int] = field(default_factory=set, repr=False)
    is_open: bool = field(init=False)
    nobody: Caller = field(init=False)

    def __post_init__(self) -> None:
        is_open = not (self.keys or self.anonymous or self.guarded or self.tokens)
        object.__setattr__(self, "is_open", is_open)
        object.__setattr__(self, "nobody", Caller(ANONYMOUS, frozenset(SCOPES) if is_open else self.anonymous))

    @classmethod
    def of(cls, admin_key: str, anonymous: Iterable[str] = ()) -> "Keyring":
        """A keyring of one static key with all scopes, or none where `admin_key` is empty."""
        return cls(static_keys(admin_key), frozenset(anonymous))

    def admit(self, scope: str, key: bytes, model: str = "") -> Caller:
        """The caller a key names, `nobody` where none is needed; raises Unauthenticated or Denied."""
        nobody = self.nobody
        if not key or self.is_open or scope == PUBLIC:
            if scope in nobody.scopes or scope == PUBLIC:
                return nobody
            raise Unauthenticated("this route needs a key: send it as `X-API-Key` or `Authorization: Bearer`")
        # Found by its hash: how long that takes tells of the hash, from which nobody comes to a key.
        digest = hash_key(key)
        caller = self.keys.get(digest)
        if caller is None:
            if self.tokens is None or key.count(b".") != 2:
                raise _unknown()
            caller = self.tokens.caller(key, digest)
        elif caller.expires_ns and time.time_ns() >= caller.expires_ns:
            raise _unknown()
        if scope not in caller.scopes:
            raise Denied(f"this key does not have the scope {scope!r}")
        if model:
            check_model(caller, model)
        if caller.number:
            self.used.add(caller.number)
        return caller


def check_model(caller: Caller, model: str) -> None:
    """Raises Denied, in the same words whether there is such a model or not."""
    if not caller.may_use(model):
        raise Denied("this key is not for this model")


def static_keys(admin_key: str) -> dict[bytes, Caller]:
    """The key of the settings, which may do everything, where there is one."""
    return {hash_key(admin_key.encode()): Caller("admin", frozenset(SCOPES))} if admin_key else {}


def hash_key(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def offered_key(headers: Mapping[bytes, bytes]) -> bytes:
    """The key a request carries in `X-API-Key` or `Authorization: Bearer`, empty where it carries none.

    Raises Malformed where it carries both: which of them counts is not for us to guess.
    """
    key, authorization = headers.get(b"x-api-key"), headers.get(b"authorization")
    if authorization is None:
        return key or b""
    if key is not None:
        raise Malformed("send one credential: X-API-Key or Authorization, not both")
    scheme, _, token = authorization.partition(b" ")
    return token.strip() if scheme.lower() == b"bearer" else b""


def _unknown() -> Unauthenticated:
    """The same words for a key that never was, that was revoked, and that has expired."""
    return Unauthenticated("this key is not known here; it may have been revoked or have expired")
