"""The shadow: a process that follows this host's spool and has each challenger score what was answered.

Nothing of it is on the path of a request: it lags instead of shedding, and goes on where it was after a death. Until
there is a challenger it has loaded nothing that it would need for one.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from scoreline.control.shadowmark import Mark
from scoreline.core.errors import ScorelineError
from scoreline.core.names import load
from scoreline.operations.state import State, read_state
from scoreline.settings import Settings

PAUSE_S: Final = 0.3
IDLE_S: Final = 1.0
LIMIT_S: Final = 60.0  # for one piece
NICE: Final = 19
MARK: Final = "mark.json"


def run_shadow(settings: Settings, on_ready: Callable[[], None]) -> None:
    """Runs until it is ended, which it may be at any moment."""
    os.nice(NICE)
    state_dir = Path(settings.state_dir)
    mark = Mark(state_dir / "shadow" / MARK, LIMIT_S)
    mark.clear_when_told_to_end()
    on_ready()
    shadow: Any = None
    while True:
        state = _state(state_dir)
        named = any(assignment.challengers for assignment in state.models.values())
        if shadow is None and named:
            shadow = load("scoreline.control.shadowing:Shadow")(settings, mark)
        if not (shadow and shadow.look(state)):
            time.sleep(PAUSE_S if named else IDLE_S)


def _state(state_dir: Path) -> State:
    try:
        return read_state(state_dir)
    except ScorelineError:
        return State({})
