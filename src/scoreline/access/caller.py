"""Who asks: what a key, a token or nothing at all says of a caller."""

from dataclasses import dataclass
from typing import Final

ANONYMOUS: Final = "anonymous"
PRIORITIES: Final = ("high", "normal", "low")
NORMAL: Final = "normal"


@dataclass(frozen=True, slots=True)
class Caller:
    """A caller by the name that stands in the record, with its scopes, and its models (None: every one).

    `number` is that of its key in the database, 0 where it has none; `expires_ns` is when the key ends, 0: never.
    """

    name: str
    scopes: frozenset[str]
    models: frozenset[str] | None = None
    priority: str = NORMAL
    number: int = 0
    expires_ns: int = 0

    @property
    def is_admin(self) -> bool:
        return "admin" in self.scopes

    def may_use(self, model: str) -> bool:
        return self.models is None or model in self.models
