"""Whose address a request comes from."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreline.access.peers import FORWARDED, X_FORWARDED_FOR, client_address, networks
from scoreline.core.errors import SettingError

PROXIES = networks(["10.0.0.0/8", "fd00::/8"])
INSIDE = st.builds(lambda n: str(ipaddress.IPv4Address((10 << 24) + n)), st.integers(0, 2**24 - 1))
OUTSIDE = st.ip_addresses().map(str).filter(lambda text: not any(ipaddress.ip_address(text) in net for net in PROXIES))
ANYTHING = st.text(st.characters(codec="latin-1", exclude_characters="\r\n\0"), max_size=40)


def forwarded(*hops: str, header: str = X_FORWARDED_FOR) -> list[tuple[bytes, bytes]]:
    return [(header.encode(), ", ".join(hops).encode("latin-1"))]


@given(st.ip_addresses().map(str), ANYTHING)
def test_without_trusted_proxies_headers_say_nothing(peer: str, said: str) -> None:
    headers = forwarded(said) + forwarded(said, header=FORWARDED)
    assert client_address(peer, headers, ()) == peer


@given(OUTSIDE, ANYTHING)
def test_a_peer_that_is_no_proxy_is_the_client_whatever_it_says(peer: str, said: str) -> None:
    assert client_address(peer, forwarded(said), PROXIES) == peer


@given(ANYTHING, OUTSIDE, st.lists(INSIDE, max_size=5), INSIDE)
def test_what_the_client_itself_wrote_changes_nothing(said: str, client: str, between: list[str], peer: str) -> None:
    """Each proxy adds whom it was asked by, at the right."""
    for headers in (forwarded(said, client, *between), forwarded(said) + forwarded(client, *between)):
        assert client_address(peer, headers, PROXIES) == client


@given(OUTSIDE, INSIDE, ANYTHING)
def test_only_the_named_header_is_read(client: str, peer: str, said: str) -> None:
    headers = forwarded(client) + forwarded(f"for={said}", header=FORWARDED)
    assert client_address(peer, headers, PROXIES) == client


@given(ANYTHING, INSIDE)
def test_the_answer_is_always_an_address(said: str, peer: str) -> None:
    for header in (X_FORWARDED_FOR, FORWARDED):
        ipaddress.ip_address(client_address(peer, forwarded(said, header=header), PROXIES, header))


@pytest.mark.parametrize(
    ("said", "client"),
    (
        ("for=192.0.2.60;proto=http;by=203.0.113.43", "192.0.2.60"),
        ('For="[2001:db8:cafe::17]:4711"', "2001:db8:cafe::17"),
        ('for=192.0.2.43, for="198.51.100.17:80";secret=x', "198.51.100.17"),
        ("for=192.0.2.43, for=10.1.1.1", "192.0.2.43"),
        ("for=192.0.2.43, for=unknown", "10.0.0.1"),
        ("for=192.0.2.43, for=_hidden, for=10.1.1.1", "10.1.1.1"),
        ("by=192.0.2.43", "10.0.0.1"),
        ("", "10.0.0.1"),
    ),
)
def test_forwarded_is_read_as_rfc_7239_has_it(said: str, client: str) -> None:
    assert client_address("10.0.0.1", forwarded(said, header=FORWARDED), PROXIES, FORWARDED) == client


@pytest.mark.parametrize(
    ("said", "client"),
    (
        ("192.0.2.1:4711", "192.0.2.1"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("fd00::7, 10.2.3.4", "fd00::7"),
        ("127.0.0.1", "127.0.0.1"),
        ("192.0.2.1,", "10.0.0.1"),
        ("010.1.1.1", "10.0.0.1"),
    ),
)
def test_addresses_are_read_with_ports_and_without(said: str, client: str) -> None:
    assert client_address("10.0.0.1", forwarded(said), PROXIES) == client


def test_a_proxy_of_version_4_is_known_on_a_socket_of_version_6() -> None:
    assert client_address("::ffff:10.0.0.1", forwarded("192.0.2.1"), PROXIES) == "192.0.2.1"


def test_a_thousand_hops_end_somewhere() -> None:
    assert client_address("10.0.0.1", forwarded(*["10.0.0.2"] * 1000), PROXIES) == "10.0.0.2"


@pytest.mark.parametrize("given", ("10.0.0.1/8", "proxy.example", "10.0.0.0/33", ""))
def test_networks_that_are_none_are_refused(given: str) -> None:
    with pytest.raises(SettingError, match=r"server\.trusted_proxies"):
        networks([given])
