"""`[access]`: who may do what."""

from dataclasses import dataclass

from scoreline.access.scopes import SCOPES
from scoreline.core.errors import SettingError
from scoreline.settings.option import option


@dataclass(frozen=True, slots=True)
class Access:
    admin_key: str = option("", "A key with every scope, at least 24 characters.", secret=True)
    anonymous: tuple[str, ...] = option((), f"Scopes anyone has without a key: {', '.join(SCOPES)}.")

    def __post_init__(self) -> None:
        unknown = sorted(set(self.anonymous) - set(SCOPES))
        if unknown:
            raise SettingError(f"access.anonymous: unknown scope {unknown[0]!r}; known: {', '.join(SCOPES)}")
        if self.admin_key and len(self.admin_key) < 24:
            raise SettingError("access.admin_key: at least 24 characters; `openssl rand -hex 24` makes one")
        if not self.admin_key.isascii():
            raise SettingError("access.admin_key: ASCII only, because it travels in a header")
