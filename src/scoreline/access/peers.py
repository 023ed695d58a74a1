"""Whose address a request comes from, where proxies stand between."""

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network
from typing import Any, Final

from scoreline.core.errors import SettingError

Network = IPv4Network | IPv6Network
X_FORWARDED_FOR: Final = "x-forwarded-for"
FORWARDED: Final = "forwarded"
HEADERS: Final = (X_FORWARDED_FOR, FORWARDED)
MAX_HOPS: Final = 32
_NETWORK_6: Final = 64
_FOR: Final = re.compile(r'(?:^|;)\s*for\s*=\s*("[^"]*"|[^;"\s]+)\s*(?=;|$)', re.IGNORECASE)
_WITH_PORT: Final = re.compile(r"\[(?P<v6>[^\]]*)\](?::\d+)?|(?P<v4>[^:]+)(?::\d+)?")


def networks(given: Iterable[str]) -> tuple[Network, ...]:
    """Networks as CIDR, or single addresses; raises SettingError."""
    try:
        return tuple(ipaddress.ip_network(one) for one in given)
    except ValueError:
        raise SettingError("server.trusted_proxies: networks as 10.0.0.0/8, or addresses") from None


def is_trusted(address: str, trusted: Sequence[Network]) -> bool:
    """Whether an address is of one of these networks; what is no address is of none."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return any((mapped or found) in network for network in trusted)


def client_address(
    peer: str, headers: Iterable[tuple[bytes, bytes]], trusted: Sequence[Network], header: str = X_FORWARDED_FOR
) -> str:
    """The address of who asks: the peer's, or what trusted proxies say of whom they ask for.

    Hops are read from the right, the nearest, and only as long as whoever tells of the next one is trusted: what stands
    left of the first address that is not was written by anybody. A hop that is no address ends it at who told it. Only
    `header` is read: the other one a proxy passes on as its client wrote it.
    """
    if not trusted or not is_trusted(peer, trusted):
        return peer
    found, name = peer, header.encode()
    given = b",".join(value for key, value in headers if key == name)
    for hop, _ in zip(_hops(given.decode("latin-1"), header), range(MAX_HOPS), strict=False):
        try:
            found = str(ipaddress.ip_address(hop))
        except ValueError:
            return found
        if not is_trusted(found, trusted):
            return found
    return found


def _hops(given: str, header: str) -> Iterator[str]:
    """The addresses of a header, the nearest first, each without its port; what is none is empty."""
    for element in reversed(given.split(",")):
        text = element.strip()
        if header == FORWARDED:
            match = _FOR.search(text)
            text = match[1].strip('"') if match else ""
        yield _bare(text)


def _bare(text: str) -> str:
    if text.count(":") > 1 and not text.startswith("["):
        return text
    match = _WITH_PORT.fullmatch(text)
    return (match["v6"] or match["v4"] or "") if match else ""


def address_of(scope: Mapping[str, Any], proxies: Sequence[Network] = (), header: str = "") -> str:
    """The address that a request counts for: its peer's, whatever its headers say, but for those of trusted proxies."""
    client = scope.get("client")
    return network_of(client_address(client[0], scope["headers"], proxies, header)) if client else ""


@lru_cache(maxsize=4096)
def network_of(address: str) -> str:
    """An address as limits know it: of IPv6 the network of 64 bits, which is one customer's, and IPv4 as it is."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if found.version == 6:
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, _NETWORK_6), strict=False))
    return str(found)
