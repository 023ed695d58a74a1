"""`[features]`: where features of entities are kept, and how long one waits for them."""

from dataclasses import dataclass
from typing import Final

from scoreline.core.errors import SettingError
from scoreline.settings.option import option

STORES: Final = ("sqlite", "redis", "feast")


@dataclass(frozen=True, slots=True)
class Features:
    store: str = option("sqlite", "Where features are kept: `sqlite` (in `state_dir`), `redis`, or `feast`.")
    url: str = option("", "Redis, as redis://HOST:6379/0, or Feast's server, as http://HOST:6566.", secret=True)
    known_max_rows: int = option(
        100_000, "How many rows a worker keeps of what it looked up, for when the store does not answer."
    )
    feast_key: str = option("", "The join key of Feast's entity, as customer_id.")
    feast_integer_key: bool = option(False, "Whether Feast has this key as a number.")

    def __post_init__(self) -> None:
        if self.store not in STORES:
            raise SettingError(f"features.store is one of {', '.join(STORES)}")
        if self.store != "sqlite" and not self.url:
            raise SettingError(f"features.url: where is {self.store}?")
        if self.store == "feast" and not self.feast_key:
            raise SettingError("features.feast_key: the name of the join key that entities have in Feast")
        if self.known_max_rows < 0:
            raise SettingError("features.known_max_rows: 0 or more")
