"""Under which names a service answers, and to pages of which sites.

A web page can have a name of its own lead to a service in its reader's network (DNS rebinding), and can have its
reader's browser send a form to it. Neither gives a page the reader's key; both reach what needs none.
"""

import ipaddress
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

from scoreline.access.keyring import Keyring
from scoreline.core.errors import Denied

LOOPBACK: Final = frozenset((b"localhost", b"127.0.0.1", b"[::1]"))
_OWN_SITE: Final = (b"same-origin", b"none")


def names(hosts: Iterable[str]) -> frozenset[bytes]:
    """Names as `check_host` compares them: small letters, addresses of version 6 in brackets."""
    return frozenset(f"[{host}]".encode() if host.count(":") > 1 else host.lower().encode() for host in hosts)


def check_host(keyring: Keyring, headers: Mapping[bytes, bytes]) -> None:
    """Raises Denied for a `Host` that is not allowed; while everything is open only loopback's own names are."""
    allowed = keyring.hosts or (LOOPBACK if keyring.is_open else None)
    if allowed is not None and _name(headers.get(b"host", b"localhost")) not in allowed:
        raise Denied("this service is not asked under this name; server.hosts lists those it has")


def check_site(headers: Mapping[bytes, bytes]) -> None:
    """Raises Denied for what a browser sends for a page of another site."""
    origin = headers.get(b"origin")
    from_page = origin is not None and origin.split(b"://")[-1] != headers.get(b"host")
    if from_page or headers.get(b"sec-fetch-site", b"none") not in _OWN_SITE:
        raise Denied("a web page of another site may not act here without a key")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens at an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@lru_cache(maxsize=64)
def _name(host: bytes) -> bytes:
    """The name in a `Host` without its port."""
    name, colon, port = host.rpartition(b":")
    return (name if colon and port.isdigit() else host).lower()
