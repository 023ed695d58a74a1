"""Under which names a service answers, and to pages of which sites."""

import pytest

from scoreline.access.hosts import check_host, check_site, names
from scoreline.access.keyring import Keyring
from scoreline.core.errors import Denied

KEY = "k" * 32
OTHERS = (
    "evil.example",
    "evil.example:8000",
    "localhost.evil.example",
    "127.0.0.1.evil.example:80",
    "",
    "::1",
    "[::2]",
)


@pytest.mark.parametrize("host", ("localhost", "LocalHost:8000", "127.0.0.1", "127.0.0.1:1", "[::1]", "[::1]:8000"))
def test_without_credentials_the_names_of_this_machine_are_answered(host: str) -> None:
    check_host(Keyring(), {b"host": host.encode()})


@pytest.mark.parametrize("host", OTHERS)
def test_without_credentials_no_other_name_is_answered(host: str) -> None:
    """A page could have its own name lead here (DNS rebinding) and read what the service answers."""
    with pytest.raises(Denied):
        check_host(Keyring(), {b"host": host.encode()})
    for keyring in (Keyring.of(KEY), Keyring.of("", ("predict",))):
        check_host(keyring, {b"host": host.encode()})


@pytest.mark.parametrize("keyring", (Keyring(hosts=names(["Scores.example", "::1", "10.0.0.7"])),))
@pytest.mark.parametrize("host", ("scores.example", "SCORES.EXAMPLE:8000", "[::1]:1", "10.0.0.7:80"))
def test_of_named_hosts_each_is_answered(keyring: Keyring, host: str) -> None:
    check_host(keyring, {b"host": host.encode()})


@pytest.mark.parametrize(
    "host", (*OTHERS, "localhost", "scores.example.evil", "scores.example:80:80", "scores.example@x")
)
@pytest.mark.parametrize("keyring", (Keyring(), Keyring.of(KEY), Keyring.of("", ("predict",))))
def test_of_named_hosts_no_other_is_answered_with_credentials_or_without(keyring: Keyring, host: str) -> None:
    named = Keyring(keyring.keys, keyring.anonymous, hosts=names(["scores.example"]))
    with pytest.raises(Denied):
        check_host(named, {b"host": host.encode()})


def test_where_hosts_are_named_a_request_without_one_is_refused() -> None:
    with pytest.raises(Denied):
        check_host(Keyring(hosts=names(["scores.example"])), {})


@pytest.mark.parametrize(
    "headers",
    (
        {b"origin": b"https://evil.example", b"host": b"localhost"},
        {b"origin": b"null", b"host": b"localhost"},
        {b"sec-fetch-site": b"cross-site"},
        {b"sec-fetch-site": b"same-site"},
    ),
)
def test_a_page_of_another_site_is_refused(headers: dict[bytes, bytes]) -> None:
    with pytest.raises(Denied):
        check_site(headers)


@pytest.mark.parametrize(
    "headers", ({}, {b"origin": b"http://localhost:1", b"host": b"localhost:1"}, {b"sec-fetch-site": b"same-origin"})
)
def test_what_no_page_sends_and_the_own_page_pass(headers: dict[bytes, bytes]) -> None:
    check_site(headers)
