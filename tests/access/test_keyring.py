"""Who is admitted to what."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreline.access.keyring import ANONYMOUS, Keyring, check_host, hash_key, offered_key
from scoreline.access.scopes import PUBLIC
from scoreline.core.errors import Denied, Unauthenticated

KEY = "k" * 32
SCOPES = ("predict", "feedback", "read", "admin")


def admitted(ring: Keyring, scope: str, key: str) -> str:
    """The caller, or the name of the refusal."""
    try:
        return ring.admit(scope, key)
    except Denied as error:
        return type(error).__name__


@pytest.mark.parametrize("scope", SCOPES)
def test_without_any_credentials_this_machine_may_do_everything(scope: str) -> None:
    ring = Keyring.of("", (), SCOPES)
    assert ring.open_on_loopback
    assert admitted(ring, scope, "") == ANONYMOUS
    assert admitted(ring, scope, "some key") == ANONYMOUS


@pytest.mark.parametrize("scope", SCOPES)
def test_with_an_admin_key_only_that_key_opens(scope: str) -> None:
    ring = Keyring.of(KEY, (), SCOPES)
    assert not ring.open_on_loopback
    assert admitted(ring, scope, KEY) == "admin"
    assert admitted(ring, scope, "") == "Unauthenticated"
    for wrong in (KEY[:-1], KEY + "k", KEY.upper(), hash_key(KEY), " ", "é", "\udcff"):
        assert admitted(ring, scope, wrong) == "Unauthenticated"


def test_anonymous_scopes_open_nothing_else() -> None:
    for ring in (Keyring.of("", ("predict",), SCOPES), Keyring.of(KEY, ("predict",), SCOPES)):
        assert not ring.open_on_loopback
        assert admitted(ring, "predict", "") == ANONYMOUS
        for scope in ("feedback", "read", "admin"):
            assert admitted(ring, scope, "") == "Unauthenticated"


def test_a_wrong_key_is_refused_even_where_none_is_needed() -> None:
    assert admitted(Keyring.of(KEY, ("predict",), SCOPES), "predict", "wrong") == "Unauthenticated"


def test_a_key_opens_its_own_scopes_only_and_names_its_caller() -> None:
    ring = Keyring({hash_key("reader"): ("dashboard", frozenset(("read",)))})
    assert admitted(ring, "read", "reader") == "dashboard"
    assert admitted(ring, "predict", "reader") == "Denied"
    with pytest.raises(Denied, match="'predict'"):
        ring.admit("predict", "reader")


@given(st.sampled_from(("", KEY)), st.sets(st.sampled_from(SCOPES)), st.text(max_size=5))
def test_public_routes_admit_anyone(admin_key: str, anonymous: set[str], key: str) -> None:
    assert Keyring.of(admin_key, anonymous, SCOPES).admit(PUBLIC, key) == ANONYMOUS


@pytest.mark.parametrize(
    ("headers", "key"),
    (
        ({}, ""),
        ({b"x-api-key": b"abc"}, "abc"),
        ({b"authorization": b"Bearer abc"}, "abc"),
        ({b"authorization": b"bearer  abc "}, "abc"),
        ({b"authorization": b"Basic abc"}, ""),
        ({b"authorization": b"abc"}, ""),
        ({b"x-api-key": b"abc", b"authorization": b"Bearer def"}, "abc"),
        ({b"x-api-key": b""}, ""),
        ({b"x-api-key": b"\xff"}, "ÿ"),
    ),
)
def test_a_key_is_taken_from_either_header(headers: dict[bytes, bytes], key: str) -> None:
    assert offered_key(headers) == key


def test_refusals_never_repeat_a_key() -> None:
    for ring, key in (
        (Keyring.of(KEY, (), SCOPES), "a wrong one"),
        (Keyring({hash_key(KEY): ("x", frozenset())}), KEY),
    ):
        with pytest.raises(Denied) as caught:
            ring.admit("predict", key)
        assert key not in str(caught.value)
    assert isinstance(caught.value, Denied) and not isinstance(caught.value, Unauthenticated)


def test_a_keyring_holds_no_key() -> None:
    assert KEY not in repr(Keyring.of(KEY, (), SCOPES))


@pytest.mark.parametrize("host", ("localhost", "localhost:8000", "127.0.0.1", "127.0.0.1:1", "[::1]", "[::1]:8000"))
def test_without_credentials_the_names_of_this_machine_are_answered(host: str) -> None:
    check_host(Keyring(), {b"host": host.encode()})


@pytest.mark.parametrize(
    "host",
    ("evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example:80", "", "::1", "[::2]"),
)
def test_without_credentials_no_other_name_is_answered(host: str) -> None:
    """A page could have its own name lead here (DNS rebinding) and read what the service answers."""
    with pytest.raises(Denied):
        check_host(Keyring(), {b"host": host.encode()})
    for ring in (Keyring.of(KEY, (), SCOPES), Keyring.of("", ("predict",), SCOPES)):
        check_host(ring, {b"host": host.encode()})


@pytest.mark.parametrize("scope", ("", *SCOPES))
@pytest.mark.parametrize("key", ("", KEY, "another"))
@pytest.mark.parametrize(
    "ring", (Keyring.of("", (), SCOPES), Keyring.of(KEY, (), SCOPES), Keyring.of("", ("read",), SCOPES))
)
def test_a_key_has_a_scope_where_it_would_be_admitted(ring: Keyring, scope: str, key: str) -> None:
    assert ring.has(scope, key) == (admitted(ring, scope, key) not in ("Denied", "Unauthenticated"))
