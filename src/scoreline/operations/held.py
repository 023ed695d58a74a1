"""Who runs in a state folder: the workers' part of a service and its steward each hold a file, however they end."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from scoreline.core.errors import SettingError

SERVICE: Final = "serve.lock"
STEWARD: Final = "steward.lock"
_WHO: Final = {SERVICE: "service", STEWARD: "steward"}


@contextmanager
def held(state_dir: Path, *names: str) -> Iterator[None]:
    """Holds a state folder for one service, or one part of it: two would assign each other's models.

    Raises SettingError.
    """
    if not names:
        yield
        return
    state_dir.mkdir(parents=True, exist_ok=True)
    with (state_dir / names[0]).open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            who = _WHO[names[0]]
            raise SettingError(f"another {who} runs in {state_dir}; choose another --state-dir") from None
        with held(state_dir, *names[1:]):
            yield


def is_held(state_dir: Path, name: str) -> bool:
    """Whether one of them runs."""
    try:
        with (state_dir / name).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
