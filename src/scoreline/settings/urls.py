"""URLs in settings."""

from typing import Final
from urllib.parse import urlsplit

_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")


def is_url(url: str) -> bool:
    """Whether it is a URL of http or https."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port  # a port that is none raises ValueError
    except ValueError:
        return False
    return bool(host) and parts.scheme in ("http", "https") and url.isascii() and url.isprintable() and " " not in url


def is_safe(url: str) -> bool:
    """Whether a secret may be sent to a URL, and what it answers believed: https, or http on loopback."""
    if not is_url(url):
        return False
    parts = urlsplit(url)
    return parts.scheme == "https" or parts.hostname in _LOOPBACK
