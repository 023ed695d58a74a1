"""URLs in settings."""

from typing import Final
from urllib.parse import urlsplit

_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")


def is_safe(url: str) -> bool:
    """Whether a secret may be sent to a URL, and what it answers believed: https, or http on loopback."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port  # a port that is none raises ValueError
    except ValueError:
        return False
    if not url.isascii() or not url.isprintable() or " " in url:
        return False
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and host in _LOOPBACK))
