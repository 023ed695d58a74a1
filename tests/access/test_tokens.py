"""Tokens of an issuer: which are believed, and everything that is forged about them."""

import hashlib
import hmac
import json
import time
from typing import Any, Final

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from scoreline.access.caller import Caller
from scoreline.access.keyring import Keyring, hash_key
from scoreline.access.tokens import CACHED, Rules, Tokens, usable_keys
from scoreline.core.errors import Denied, Unauthenticated
from someissuer import AUDIENCE, ISSUER, KINDS, Issuer, claims, part, published

RULES: Final = Rules(ISSUER, AUDIENCE, ("RS256", "ES256", "EdDSA"), 30, "scope", "scoreline:", "scoreline_models")
SOON: Final = 10_000.0
GOOD: Final = Issuer()
FORGER: Final = Issuer()


def tokens(jwks: list[Any] | None = None, *, asked: list[bool] | None = None, until_s: float = 0) -> Tokens:
    asked = [] if asked is None else asked
    keys = GOOD.jwks if jwks is None else jwks
    return Tokens(RULES, keys, until_s or time.time() + SOON, lambda: asked.append(True))


def caller(token: str, found: Tokens | None = None) -> Caller:
    return (found or tokens()).caller(token.encode(), hash_key(token.encode()))


def refusal(token: str, found: Tokens | None = None) -> str:
    """Why it is refused; nothing of it is repeated."""
    with pytest.raises(Unauthenticated) as refused:
        caller(token, found)
    for piece in token.split("."):
        assert len(piece) < 8 or piece not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("kid", KINDS)
def test_a_token_of_each_kind_names_its_caller_and_scopes(kid: str) -> None:
    found = caller(GOOD.token(kid))
    assert found == Caller("oauth:shop", frozenset(("predict", "read")))


@pytest.mark.parametrize(
    ("given", "scopes"),
    (
        ("scoreline:predict", {"predict"}),
        (["scoreline:admin", "scoreline:none"], {"admin"}),
        ("predict admin", set()),
        ("", set()),
        (None, set()),
    ),
)
def test_scopes_are_those_of_ours_alone(given: Any, scopes: set[str]) -> None:
    assert caller(GOOD.token(scope=given)).scopes == scopes


@pytest.mark.parametrize(
    ("given", "models"), ((["fraud"], {"fraud"}), ("fraud churn", {"fraud", "churn"}), ([], set()), ("", set()))
)
def test_models_are_those_of_the_claim_and_an_empty_one_is_none(given: Any, models: set[str]) -> None:
    found = caller(GOOD.token(scoreline_models=given))
    assert found.models == models
    assert [name for name in ("fraud", "churn", "other") if found.may_use(name)] == sorted(models, reverse=True)


def test_a_token_for_several_audiences_is_for_us_too() -> None:
    assert caller(GOOD.token(aud=["another", AUDIENCE])).name == "oauth:shop"


def saying(members: bytes, *, but: str = "sub scope") -> bytes:
    """Good claims as JSON with other members before them, and without some."""
    rest = {name: value for name, value in claims().items() if name not in but.split()}
    return b"{" + members + b"," + json.dumps(rest).encode()[1:]


def unsigned(algorithm: str) -> str:
    return f"{part({'alg': algorithm, 'kid': 'es', 'typ': 'JWT'})}.{part(claims())}."


def with_hmac_of_the_public_key(kid: str) -> str:
    """RS/HS confusion: the public key, which everybody has, as the secret of an HMAC."""
    public = GOOD.private[kid].public_key()
    kind = serialization.PublicFormat.SubjectPublicKeyInfo
    pem = public.public_bytes(serialization.Encoding.PEM, kind)
    said = f"{part({'alg': 'HS256', 'kid': kid})}.{part(claims())}"
    return f"{said}.{part(hmac.new(pem, said.encode(), hashlib.sha256).digest())}"


def resigned(token: str) -> str:
    """Other claims under the signature of a good token."""
    head, _, signature = token.split(".")
    return f"{head}.{part(claims(scope='scoreline:admin'))}.{signature}"


NOW: Final = int(time.time())
ES: Final = {"alg": "ES256", "kid": "es"}
FORGED: Final[dict[str, str]] = {
    "alg none": unsigned("none"),
    "alg NONE": unsigned("NONE"),
    "alg empty": unsigned(""),
    "no alg": f"{part({'kid': 'es'})}.{part(claims())}.",
    "alg none with a good signature": GOOD.signed({"alg": "none", "kid": "es"}, claims()),
    "HS256 with the RSA key": with_hmac_of_the_public_key("rs"),
    "HS256 with the EC key": with_hmac_of_the_public_key("es"),
    "the algorithm of another key": GOOD.signed({"alg": "RS256", "kid": "es"}, claims()),
    "the key of another algorithm": GOOD.signed({"alg": "ES256", "kid": "rs"}, claims()),
    "PS256": jwt.encode(claims(), GOOD.private["rs"], "PS256", {"kid": "rs"}),
    "another's key under our name": FORGER.token("es"),
    "another's RSA key": FORGER.token("rs"),
    "another's Ed25519 key": FORGER.token("ed"),
    "other claims under a good signature": resigned(GOOD.token()),
    "another issuer": GOOD.token(iss="https://issuer.example"),
    "an issuer in a list": GOOD.signed(ES, claims(iss=[ISSUER])),
    "no issuer": GOOD.token(iss=None),
    "another audience": GOOD.token(aud="another"),
    "an audience that begins alike": GOOD.token(aud=AUDIENCE + "-2"),
    "no audience": GOOD.token(aud=None),
    "an empty audience": GOOD.token(aud=[]),
    "an audience that is a number": GOOD.signed(ES, claims(aud=7)),
    "expired": GOOD.token(exp=NOW - 60),
    "no expiry": GOOD.token(exp=None),
    "an expiry that is a text": GOOD.signed(ES, claims(exp=str(NOW + 600))),
    "an expiry that is true": GOOD.signed(ES, claims(exp=True)),
    "an expiry that is infinite": GOOD.signed(ES, saying(b'"exp":1e999', but="exp")),
    "an expiry that is no number": GOOD.signed(ES, saying(b'"exp":NaN', but="exp")),
    "not before tomorrow": GOOD.token(nbf=NOW + 86_400),
    "issued tomorrow": GOOD.token(iat=NOW + 86_400),
    "no subject": GOOD.token(sub=None),
    "an empty subject": GOOD.token(sub=""),
    "a subject that is a number": GOOD.signed(ES, claims(sub=7)),
    "a subject with a line": GOOD.token(sub="shop\nadmin"),
    "a subject without an end": GOOD.token(sub="x" * 201),
    "scopes that are an object": GOOD.token(scope={"scoreline:admin": True}),
    "models that are a number": GOOD.token(scoreline_models=7),
    "models that are null": GOOD.signed(ES, {**claims(), "scoreline_models": None}),
    "an unknown key": GOOD.signed({"alg": "ES256", "kid": "nobody's"}, claims()),
    "no kid": GOOD.signed({"alg": "ES256"}, claims()),
    "a kid that is a number": GOOD.signed({"alg": "ES256", "kid": 7}, claims()),
    "a kid that is a path": GOOD.signed({"alg": "ES256", "kid": "../../dev/null"}, claims()),
    "a kid that is SQL": GOOD.signed({"alg": "ES256", "kid": "' OR 1=1 --"}, claims()),
    "what is critical and unknown": GOOD.signed({**ES, "crit": ["exp"]}, claims()),
    "an empty crit": GOOD.signed({**ES, "crit": []}, claims()),
    "b64 false": GOOD.signed({**ES, "b64": False, "crit": ["b64"]}, claims()),
    "a claim twice": GOOD.signed(ES, saying(b'"sub":"admin","sub":"shop"')),
    "scope twice": GOOD.signed(ES, saying(b'"scope":"scoreline:admin","scope":"scoreline:read"')),
    "issuer twice": GOOD.signed(ES, saying(b'"iss":"x"', but="")),
    "alg twice": GOOD.signed(b'{"alg":"none","alg":"ES256","kid":"es"}', claims()),
    "kid twice": GOOD.signed(b'{"alg":"ES256","kid":"rs","kid":"es"}', claims()),
    "claims that are a list": GOOD.signed(ES, [claims()]),
    "claims that are no JSON": GOOD.signed(ES, b"\xff\xfe"),
    "a header that is a list": f"{part([])}.{part(claims())}.AAAA",
    "a header that nests": f"{part(b'[' * 3000)}.{part(claims())}.AAAA",
    "huge": GOOD.token(more="x" * 10_000),
    "huge and unsigned": "A" * 4_000_000 + ".A.A",
    "no signature": GOOD.token().rpartition(".")[0] + ".",
    "a signature of zeros": GOOD.token().rpartition(".")[0] + "." + part(bytes(64)),
    "a signature with junk behind": GOOD.token() + "!!!!",
    "dots": "..",
    "blanks": ". .",
}


@pytest.mark.parametrize("name", FORGED)
def test_what_is_forged_is_refused(name: str) -> None:
    assert refusal(FORGED[name]).startswith("this token ")


@pytest.mark.parametrize("header", ("jku", "x5u", "jwk", "x5c"))
def test_a_key_that_a_token_brings_or_points_to_is_not_looked_at(header: str) -> None:
    """The forger's key is in the header, or where it leads; ours is named, and another's signature is no match."""
    brought: dict[str, Any] = {"jwk": published("es", FORGER.private["es"]), "x5c": ["AAAA"]}
    value = brought.get(header, "http://127.0.0.1:1/jwks")
    refusal(FORGER.token(header={header: value}))
    assert caller(GOOD.token(header={header: value})).name == "oauth:shop"


def test_times_may_be_off_as_far_as_the_settings_say_and_no_further() -> None:
    assert caller(GOOD.token(exp=int(time.time()) - 10)).name == "oauth:shop"
    refusal(GOOD.token(exp=int(time.time()) - 40))
    assert caller(GOOD.token(nbf=int(time.time()) + 20)).name == "oauth:shop"


def test_an_unknown_key_is_asked_for_and_a_known_one_is_not() -> None:
    asked: list[bool] = []
    found = tokens(asked=asked)
    caller(GOOD.token(), found)
    refusal(FORGED["another issuer"], found)
    assert asked == []
    refusal(FORGED["an unknown key"], found)
    assert asked == [True]


def test_keys_that_were_fetched_too_long_ago_count_no_more() -> None:
    asked: list[bool] = []
    refused = refusal(GOOD.token(), tokens(asked=asked, until_s=time.time() - 1))
    assert "fetched too long ago" in refused and asked == [True]


class Forgetful(jwt.PyJWT):
    """Believes nothing that it is asked about."""

    def decode(self, *_: Any, **__: Any) -> Any:
        raise jwt.ExpiredSignatureError


@pytest.mark.parametrize(("ends_in_s", "known_for_s"), ((600, 59), (20, 19)))
def test_a_token_that_was_verified_is_known_for_a_minute_and_never_beyond_its_end(
    monkeypatch: pytest.MonkeyPatch, ends_in_s: int, known_for_s: int
) -> None:
    now_s = int(time.time())
    monkeypatch.setattr(time, "time", lambda: float(now_s))
    found, token = tokens(), GOOD.token(exp=now_s + ends_in_s)
    first = caller(token, found)
    found._jwt = Forgetful()  # type: ignore[assignment]
    monkeypatch.setattr(time, "time", lambda: now_s + known_for_s + 0.5)
    assert caller(token, found) is first
    monkeypatch.setattr(time, "time", lambda: now_s + known_for_s + 1.5)
    refusal(token, found)


def test_what_is_remembered_of_tokens_has_bounds() -> None:
    found = tokens()
    for number in range(CACHED + 10):
        found._cached[hash_key(b"%d" % number)] = (time.time() + SOON, Caller("x", frozenset()))
    caller(GOOD.token(), found)
    assert len(found._cached) == 1


def test_keys_that_are_swapped_take_the_old_tokens_with_them() -> None:
    token = GOOD.token()
    assert caller(token, tokens(GOOD.jwks)).name == "oauth:shop"
    refusal(token, tokens(FORGER.jwks))
    assert caller(FORGER.token(), tokens(FORGER.jwks)).name == "oauth:shop"


UNUSABLE: Final[dict[str, Any]] = {
    "a secret": {"kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA", "kid": "es"},
    "a secret named otherwise": {"kty": "oct", "k": "c2VjcmV0", "alg": "ES256", "kid": "es"},
    "a private key": {**published("es", GOOD.private["es"]), "d": "AAAA"},
    "for encryption": published("es", GOOD.private["es"], use="enc"),
    "for signing only": published("es", GOOD.private["es"], key_ops=["sign"]),
    "of another algorithm": published("es", GOOD.private["es"], alg="RS256"),
    "with alg none": published("es", GOOD.private["es"], alg="none"),
    "without a name": {**published("es", GOOD.private["es"]), "kid": 7},
    "short": published("rs", rsa.generate_private_key(65537, 1024)),
    "on another curve": published("es", ec.generate_private_key(ec.SECP384R1()), alg="ES384"),
    "on no curve": {**published("es", GOOD.private["es"]), "crv": "P-1"},
    "with a curve that is a list": {**published("es", GOOD.private["es"]), "crv": []},
    "off its curve": {**published("es", GOOD.private["es"]), "x": "AAAA"},
    "a number": 7,
    "a list": [],
    "empty": {},
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_keys_that_verify_nothing_are_passed_over(name: str) -> None:
    assert usable_keys([UNUSABLE[name]], RULES.algorithms) == {}


def test_only_the_algorithms_of_the_settings_count() -> None:
    assert usable_keys(GOOD.jwks, ("EdDSA",)).keys() == {"ed"}


def test_a_name_of_two_keys_names_neither() -> None:
    twice = [published("es", GOOD.private["es"]), published("es", FORGER.private["es"])]
    assert usable_keys([*twice, published("ed", GOOD.private["ed"])], RULES.algorithms).keys() == {"ed"}


def test_a_token_opens_what_it_says_and_a_key_beside_it_too() -> None:
    ring = Keyring({hash_key(b"a-key"): Caller("team", frozenset(("read",)))}, tokens=tokens())
    token = GOOD.token(scope="scoreline:predict", scoreline_models=["fraud"]).encode()
    assert ring.admit("read", b"a-key").name == "team"
    assert ring.admit("predict", token, "fraud").name == "oauth:shop"
    with pytest.raises(Denied, match="not for this model"):
        ring.admit("predict", token, "churn")
    with pytest.raises(Denied, match="'admin'"):
        ring.admit("admin", token)
    with pytest.raises(Unauthenticated):
        ring.admit("read", b"")


def test_a_token_cannot_take_the_name_of_a_key() -> None:
    """Whose decisions are whose goes by the name; names of keys have no colon."""
    assert caller(GOOD.token(sub="admin")).name == "oauth:admin"
