"""What options of several commands have in common."""

import getpass
from pathlib import Path
from typing import Annotated

import typer

from scoreline.core.entities import ENTITY_PROBLEM, entity_hash, entity_of
from scoreline.core.errors import SettingError
from scoreline.core.outcome import time_ns_of
from scoreline.settings import Settings
from scoreline.wiring import entity_key

State = Annotated[str | None, typer.Option("--state-dir", help="Folder of everything the service keeps.")]
Config = Annotated[Path | None, typer.Option(help="Settings file; else SCORELINE_CONFIG, else scoreline.toml.")]


def moment(name: str, text: str | None) -> int | None:
    """Nanoseconds since 1970 of an option's time, or of the beginning of a day in UTC; raises SettingError."""
    if text is None:
        return None
    found = time_ns_of(text) if "T" in text or " " in text else time_ns_of(f"{text}T00:00:00Z")
    if found is None:
        raise SettingError(f"{name}: a day as 2026-11-24, or a time with its zone as 2026-11-24T10:00:00Z")
    return found


def entity(given: str, settings: Settings) -> bytes:
    """Whom an option names, as the record does; raises SettingError."""
    known = entity_of(given)
    if not known:
        raise SettingError(f"--entity: {ENTITY_PROBLEM}")
    return entity_hash(known, entity_key(settings))


def user() -> str:
    """Who acts, for the record."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        return "unknown"
