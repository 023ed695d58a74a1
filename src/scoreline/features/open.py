"""Stores by name, each loaded only where it is wanted: a worker without Redis does not import its library."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from scoreline.core.names import load
from scoreline.core.ports import FeatureStore

SQLITE_FILE: Final = "features.db"


def open_store(name: str, url: str, state_dir: Path, *, key: str = "", integer_key: bool = False) -> FeatureStore:
    """The store of this name; nothing is connected yet. Raises SettingError."""
    found: dict[str, Callable[[], Any]] = {
        "sqlite": lambda: load("scoreline.features.sqlite:SqliteStore")(state_dir / SQLITE_FILE),
        "redis": lambda: load("scoreline.features.redis:RedisStore")(url),
        "feast": lambda: load("scoreline.features.feast:FeastStore")(url, key, integer=integer_key),
    }
    store: FeatureStore = found[name]()
    return store
