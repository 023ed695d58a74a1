"""Who is admitted to what."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreline.access.caller import ANONYMOUS, Caller
from scoreline.access.keyring import Keyring, hash_key, offered_key
from scoreline.access.scopes import PUBLIC, SCOPES
from scoreline.core.errors import Denied, Malformed, Unauthenticated
from somekeys import caller, ring

KEY = "k" * 32
RAW = KEY.encode()


def admitted(keyring: Keyring, scope: str, key: bytes, model: str = "") -> str:
    """The caller, or the name of the refusal."""
    try:
        return keyring.admit(scope, key, model).name
    except Denied as error:
        return type(error).__name__


@pytest.mark.parametrize("scope", SCOPES)
def test_without_any_credentials_this_machine_may_do_everything(scope: str) -> None:
    assert Keyring().is_open
    assert admitted(Keyring(), scope, b"") == ANONYMOUS
    assert admitted(Keyring(), scope, b"some key") == ANONYMOUS
    assert Keyring().admit(scope, b"").is_admin


@pytest.mark.parametrize("scope", SCOPES)
def test_what_is_guarded_is_shut_even_where_no_key_is_known(scope: str) -> None:
    shut = Keyring(guarded=True)
    assert not shut.is_open
    for key in (b"", b"some key"):
        assert admitted(shut, scope, key) == "Unauthenticated"


@pytest.mark.parametrize("scope", SCOPES)
def test_with_an_admin_key_only_that_key_opens(scope: str) -> None:
    keyring = Keyring.of(KEY)
    assert not keyring.is_open
    assert admitted(keyring, scope, RAW) == "admin"
    assert admitted(keyring, scope, b"") == "Unauthenticated"
    for wrong in (RAW[:-1], RAW + b"k", RAW.upper(), hash_key(RAW), hash_key(RAW).hex().encode(), b" ", b"\xff"):
        assert admitted(keyring, scope, wrong) == "Unauthenticated"


def test_anonymous_scopes_open_nothing_else() -> None:
    for keyring in (Keyring.of("", ("predict",)), Keyring.of(KEY, ("predict",))):
        assert not keyring.is_open
        assert admitted(keyring, "predict", b"") == ANONYMOUS
        for scope in ("feedback", "read", "admin"):
            assert admitted(keyring, scope, b"") == "Unauthenticated"


def test_a_wrong_key_is_refused_even_where_none_is_needed() -> None:
    assert admitted(Keyring.of(KEY, ("predict",)), "predict", b"wrong") == "Unauthenticated"


def test_a_key_opens_its_own_scopes_only_and_names_its_caller() -> None:
    keyring = ring({"reader": caller("dashboard", "read")})
    assert admitted(keyring, "read", b"reader") == "dashboard"
    assert admitted(keyring, "predict", b"reader") == "Denied"
    with pytest.raises(Denied, match="'predict'"):
        keyring.admit("predict", b"reader")


@given(
    st.frozensets(st.sampled_from(SCOPES)),
    st.none() | st.frozensets(st.sampled_from(("fraud", "churn"))),
    st.sampled_from(SCOPES),
    st.sampled_from(("", "fraud", "churn", "other")),
)
def test_a_key_opens_what_it_is_for_and_nothing_else(
    scopes: frozenset[str], models: frozenset[str] | None, scope: str, model: str
) -> None:
    keyring = ring({KEY: Caller("team", scopes, models)})
    may = scope in scopes and (not model or models is None or model in models)
    assert admitted(keyring, scope, RAW, model) == ("team" if may else "Denied")


def test_a_model_that_is_not_there_is_refused_in_the_same_words() -> None:
    keyring = ring({KEY: caller("team", "predict", models=["fraud"])})
    said = set()
    for model in ("churn", "none-of-this-name"):
        with pytest.raises(Denied) as refused:
            keyring.admit("predict", RAW, model)
        said.add(str(refused.value))
    assert len(said) == 1


def test_a_key_that_ended_is_answered_as_one_that_never_was() -> None:
    now_ns = time.time_ns()
    ended = Caller("team", frozenset(SCOPES), expires_ns=now_ns - 1)
    lasts = Caller("team", frozenset(SCOPES), expires_ns=now_ns + 3_600_000_000_000)
    keyring = ring({"ended": ended, "lasts": lasts})
    assert admitted(keyring, "read", b"lasts") == "team"
    said = set()
    for key in (b"ended", b"never was"):
        with pytest.raises(Unauthenticated) as refused:
            keyring.admit("read", key)
        said.add(str(refused.value))
    assert len(said) == 1


def test_the_numbers_of_keys_that_were_used_are_kept_and_no_others() -> None:
    keyring = ring({"one": Caller("a", frozenset(("read",)), number=1), "two": Caller("b", frozenset(), number=2)})
    keyring.admit("read", b"one")
    assert admitted(keyring, "read", b"two") == "Denied"
    assert keyring.used == {1}


@given(st.sampled_from(("", KEY)), st.sets(st.sampled_from(SCOPES)), st.binary(max_size=5))
def test_public_routes_admit_anyone(admin_key: str, anonymous: set[str], key: bytes) -> None:
    assert Keyring.of(admin_key, anonymous).admit(PUBLIC, key).name == ANONYMOUS


@pytest.mark.parametrize(
    ("headers", "key"),
    (
        ({}, b""),
        ({b"x-api-key": b"abc"}, b"abc"),
        ({b"authorization": b"Bearer abc"}, b"abc"),
        ({b"authorization": b"bearer  abc "}, b"abc"),
        ({b"authorization": b"Basic abc"}, b""),
        ({b"authorization": b"abc"}, b""),
        ({b"x-api-key": b""}, b""),
        ({b"x-api-key": b"\xff"}, b"\xff"),
    ),
)
def test_a_key_is_taken_from_either_header(headers: dict[bytes, bytes], key: bytes) -> None:
    assert offered_key(headers) == key


@pytest.mark.parametrize("authorization", (b"Bearer def", b"Bearer abc", b"Basic abc", b""))
def test_two_credentials_are_refused_whichever_would_open(authorization: bytes) -> None:
    with pytest.raises(Malformed) as refused:
        offered_key({b"x-api-key": b"abc", b"authorization": authorization})
    assert "abc" not in str(refused.value)


def test_refusals_never_repeat_a_key() -> None:
    for keyring, key in ((Keyring.of(KEY), b"a wrong one"), (ring({KEY: caller("x")}), RAW)):
        with pytest.raises(Denied) as caught:
            keyring.admit("predict", key)
        assert key.decode() not in str(caught.value)
    assert isinstance(caught.value, Denied) and not isinstance(caught.value, Unauthenticated)


def test_a_keyring_shows_neither_keys_nor_hashes() -> None:
    shown = repr(Keyring.of(KEY))
    assert KEY not in shown and repr(hash_key(RAW))[2:20] not in shown
