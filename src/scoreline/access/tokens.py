"""OAuth 2 access tokens (JWT, RFC 9068) of one issuer, verified by PyJWT with the issuer's published keys.

A key decides by itself which algorithm it verifies; what a token says of keys (`jku`, `x5u`, `jwk`, `x5c`) is
not looked at, but for the name of the key, `kid`.
"""

import time
from base64 import urlsafe_b64decode
from binascii import Error
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import jwt
from jwt import PyJWK

from scoreline.access.caller import Caller
from scoreline.access.scopes import SCOPES
from scoreline.core.errors import Unauthenticated
from scoreline.core.strictjson import strict_json

MAX_TOKEN_BYTES: Final = 8192
MAX_NAME: Final = 200
MAX_KEYS: Final = 100
CACHED: Final = 1024
CACHED_S: Final = 60.0
REQUIRED: Final = ("exp", "iss", "aud", "sub")
_OPTIONS: Final[Any] = {"require": list(REQUIRED), "enforce_minimum_key_length": True}
_BY_CURVE: Final = {("RSA", None): "RS256", ("EC", "P-256"): "ES256", ("OKP", "Ed25519"): "EdDSA"}
_SECRET_PARTS: Final = frozenset(("d", "k"))


@dataclass(frozen=True, slots=True)
class Rules:
    """What a token must say: who issued it, for whom, signed how; and where its scopes and models stand."""

    issuer: str
    audience: str
    algorithms: tuple[str, ...]
    leeway_s: int
    scope_claim: str
    scope_prefix: str
    models_claim: str


class Tokens:
    """Reads tokens with a set of keys, as RFC 7517 has it, until `until_s` (seconds since 1970).

    `ask` is called where a token names a key that is not in the set: it may have been published since.
    """

    def __init__(self, rules: Rules, keys: Iterable[Any], until_s: float, ask: Callable[[], None]) -> None:
        self._rules = rules
        self._keys = usable_keys(keys, rules.algorithms)
        self._until_s = until_s
        self._ask = ask
        self._jwt = _StrictJWT()
        self._cached: dict[bytes, tuple[float, Caller]] = {}

    def caller(self, token: bytes, digest: bytes) -> Caller:
        """The caller a token names; one that was verified is known by its digest for a minute, and never beyond `exp`.

        Raises Unauthenticated.
        """
        now_s = time.time()
        known = self._cached.get(digest)
        if known is not None and now_s < known[0]:
            return known[1]
        if now_s >= self._until_s:
            self._ask()
            raise Unauthenticated("the issuer's keys are not known here, or were fetched too long ago: try again later")
        claims = self._verified(token)
        caller = self._caller(claims)
        if len(self._cached) >= CACHED:
            self._cached.clear()
        self._cached[digest] = min(float(claims["exp"]), now_s + CACHED_S, self._until_s), caller
        return caller

    def _verified(self, token: bytes) -> dict[str, Any]:
        key = self._key(token)
        rules = self._rules
        try:
            return self._jwt.decode(
                token,
                key,
                [key.algorithm_name],
                _OPTIONS,
                audience=rules.audience,
                issuer=rules.issuer,
                leeway=rules.leeway_s,
            )
        except jwt.InvalidTokenError as error:
            raise _refused(_REASONS.get(type(error), "is not one of this issuer's")) from None
        except (ValueError, TypeError, OverflowError):
            raise _refused("is not what a token looks like") from None

    def _key(self, token: bytes) -> PyJWK:
        """The key that a token names; nothing of it is believed yet."""
        if len(token) > MAX_TOKEN_BYTES:
            raise _refused(f"has more than {MAX_TOKEN_BYTES} bytes")
        try:
            head = token.partition(b".")[0]
            header = strict_json(urlsafe_b64decode(head + b"=" * (-len(head) % 4)))
        except (ValueError, Error):
            raise _refused("is not what a token looks like") from None
        if not isinstance(header, dict) or "crit" in header or not isinstance(header.get("kid"), str):
            raise _refused("names no key, or asks for what is not known here")
        key = self._keys.get(header["kid"])
        if key is None:
            self._ask()
            raise _refused("names a key that is not known here, or not yet")
        return key

    def _caller(self, claims: Mapping[str, Any]) -> Caller:
        rules, name = self._rules, claims["sub"]
        if not 0 < len(name) <= MAX_NAME or not name.isprintable():
            raise _refused(f"has no `sub` of 1 to {MAX_NAME} printable characters")
        given, prefix = _words(claims.get(rules.scope_claim, "")), rules.scope_prefix
        said = frozenset(one.removeprefix(prefix) for one in given if one.startswith(prefix))
        models = frozenset(_words(claims[rules.models_claim])) if rules.models_claim in claims else None
        return Caller(f"oauth:{name}", said & frozenset(SCOPES), models)


class _StrictJWT(jwt.PyJWT):
    """Claims in JSON that says everything once."""

    def _decode_payload(self, decoded: dict[str, Any]) -> dict[str, Any]:
        found = strict_json(decoded["payload"])
        times = [found.get(name, 0) for name in ("exp", "nbf", "iat")] if isinstance(found, dict) else [None]
        if not all(isinstance(each, int | float) and not isinstance(each, bool) for each in times):
            raise jwt.DecodeError("claims are an object, and times are numbers")
        return dict(found)


def usable_keys(keys: Iterable[Any], algorithms: Iterable[str]) -> dict[str, PyJWK]:
    """The public keys of a set by their names, each bound to the one algorithm of its kind, if that is allowed.

    A name that stands twice names nothing.
    """
    found: dict[str, PyJWK] = {}
    twice: set[str] = set()
    for given in list(keys)[:MAX_KEYS]:
        key = _usable(given, frozenset(algorithms))
        if key is not None:
            name = given["kid"]
            if name in found:
                twice.add(name)
            found[name] = key
    return {name: key for name, key in found.items() if name not in twice}


def _usable(given: Any, algorithms: frozenset[str]) -> PyJWK | None:
    if not isinstance(given, dict) or not isinstance(given.get("kid"), str) or given.keys() & _SECRET_PARTS:
        return None
    kind, curve = given.get("kty"), given.get("crv")
    algorithm = _BY_CURVE.get((kind, curve)) if isinstance(kind, str) and isinstance(curve, str | None) else None
    operations = given.get("key_ops", ["verify"])
    verifies = given.get("use", "sig") == "sig" and isinstance(operations, list) and "verify" in operations
    if algorithm not in algorithms or given.get("alg", algorithm) != algorithm or not verifies:
        return None
    try:
        key = PyJWK(given, algorithm)
        return None if key.Algorithm.check_key_length(key.key) else key
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None


def _words(claim: Any) -> list[str]:
    """A claim as texts: an array of them, or one text with blanks between them. Raises Unauthenticated."""
    words = claim.split() if isinstance(claim, str) else claim
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise _refused("has scopes or models that are neither a text nor an array of texts")
    return words


_REASONS: Final[Mapping[type[Exception], str]] = {
    jwt.ExpiredSignatureError: "has expired",
    jwt.ImmatureSignatureError: "is not valid yet",
    jwt.InvalidIssuedAtError: "is not valid yet",
    jwt.InvalidIssuerError: "is of another issuer",
    jwt.InvalidAudienceError: "is for another audience",
    jwt.MissingRequiredClaimError: f"lacks one of {', '.join(REQUIRED)}",
}


def _refused(why: str) -> Unauthenticated:
    return Unauthenticated(f"this token {why}")
