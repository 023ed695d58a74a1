"""`[limits]`: how often who may ask, and how idempotency keys are kept."""

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from scoreline.access.limits import limit_of
from scoreline.core.errors import SettingError
from scoreline.settings.option import option

_SCHEMES: Final = ("redis", "rediss", "unix")


@dataclass(frozen=True, slots=True)
class Limits:
    per_address: str = option("", "Most requests for predictions from one address, as `100/second`; empty: any number.")
    per_caller: str = option("", "The same of one caller; who needs no key is the caller `anonymous`.")
    per_model: str = option("", "The same for one model, whoever asks.")
    redis: str = option(
        "",
        "URL of the Redis in which hosts count and keep idempotency keys together, as redis://:PASSWORD@HOST:6379/0.",
        secret=True,
    )
    redis_ms: int = option(50, "How long Redis may take before it is left alone for a second.")
    keys_max_bytes: int = option(
        256 * 1024**2, "Most bytes of answers under idempotency keys, where a host keeps them."
    )

    def __post_init__(self) -> None:
        for kind in ("address", "caller", "model"):
            limit_of(kind, getattr(self, f"per_{kind}"))
        if self.redis and not _may_be_redis(self.redis):
            raise SettingError("limits.redis: a URL as redis://:PASSWORD@HOST:6379/0, rediss:// or unix://")
        if not 1 <= self.redis_ms <= 1000:
            raise SettingError("limits.redis_ms: between 1 and 1000")
        if self.keys_max_bytes < 1 << 20:
            raise SettingError("limits.keys_max_bytes: at least 1 MiB")


def _may_be_redis(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port  # a port that is none raises ValueError
    except ValueError:
        return False
    return parts.scheme in _SCHEMES and bool(parts.path if parts.scheme == "unix" else host)
