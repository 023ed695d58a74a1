"""Which address a request counts for: its peer's, as one customer has it."""

import pytest

from scoreline.access.peers import address_of, network_of


@pytest.mark.parametrize(
    ("address", "network"),
    (
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:aaaa::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:bbbb::2", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::/64"),
        ("/run/scoreline.sock", "/run/scoreline.sock"),
    ),
)
def test_an_address_counts_as_its_network(address: str, network: str) -> None:
    assert network_of(address) == network


def test_headers_have_no_say_in_the_address() -> None:
    headers = [(name, b"203.0.113.9") for name in (b"x-forwarded-for", b"forwarded", b"x-real-ip", b"client-ip")]
    assert address_of({"client": ("192.0.2.7", 4711), "headers": headers}) == "192.0.2.7"
    assert address_of({"client": None, "headers": headers}) == ""
