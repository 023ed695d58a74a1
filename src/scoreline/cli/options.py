"""What options of several commands have in common."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from scoreline.core.entities import ENTITY_PROBLEM, entity_hash, entity_of
from scoreline.core.errors import NotFound, SettingError
from scoreline.core.outcome import time_ns_of
from scoreline.records.database import Database
from scoreline.settings import Settings
from scoreline.wiring import ENTITY_KEY, database_file, database_of, entity_key


def moment(name: str, text: str | None) -> int | None:
    """Nanoseconds since 1970 of an option's time, or of the beginning of a day in UTC; raises SettingError."""
    if text is None:
        return None
    found = time_ns_of(text) if "T" in text or " " in text else time_ns_of(f"{text}T00:00:00Z")
    if found is None:
        raise SettingError(f"{name}: a day as 2026-11-24, or a time with its zone as 2026-11-24T10:00:00Z")
    return found


def span(since: str | None, until: str | None) -> tuple[int | None, int | None]:
    """The times of --from and --until; raises SettingError."""
    first, last = moment("--from", since), moment("--until", until)
    if first is not None and last is not None and first >= last:
        raise SettingError("--from comes after --until: nothing lies between them")
    return first, last


@contextmanager
def kept_database(settings: Settings) -> Iterator[Database]:
    """The decision database, where there is one; a folder that was mistyped is not made. Raises NotFound."""
    if not settings.records.database and not database_file(settings).exists():
        raise NotFound(f"nothing is recorded in {settings.state_dir}: say with --state-dir where the service keeps it")
    with closing(database_of(settings)) as database:
        database.prepare()
        yield database


def entity(given: str, settings: Settings) -> bytes:
    """Whom an option names, as the record does; raises SettingError or NotFound."""
    known = entity_of(given)
    if not known:
        raise SettingError(f"--entity: {ENTITY_PROBLEM}")
    if not settings.records.entity_key and not (Path(settings.state_dir) / ENTITY_KEY).exists():
        raise NotFound(f"no {ENTITY_KEY} in {settings.state_dir}, and no records.entity_key: nobody can be found")
    return entity_hash(known, entity_key(settings))
