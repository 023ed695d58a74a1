"""`scoreline drained`."""

import os
import time
from pathlib import Path
from typing import Annotated, Final

import typer

from scoreline.cli.flags import Config, StateDir
from scoreline.cli.output import errors_as_exit, say, tell
from scoreline.operations.held import SERVICE, is_held
from scoreline.records.segments import segments, size_of
from scoreline.settings import load_settings
from scoreline.wiring import spool_folder

LOOK_S: Final = 0.2
LEFT: Final = 3


def drained(
    wait_s: Annotated[float, typer.Option(min=0.0, help="How long to wait for it.")] = 0.0,
    state_dir: StateDir = None,
    config: Config = None,
) -> None:
    """Whether a service has ended and all it recorded has left its spool. Exit code 3: not yet."""
    with errors_as_exit():
        settings = load_settings(config, os.environ, {"state_dir": state_dir})
        folder, spool = Path(settings.state_dir), spool_folder(settings)
        deadline_s = time.monotonic() + wait_s
        while (found := left(folder, spool)) and time.monotonic() < deadline_s:
            time.sleep(LOOK_S)
    if found:
        tell(found)
        raise typer.Exit(LEFT)
    say("drained: nothing runs, and the spool is empty")


def left(state_dir: Path, spool: Path) -> str:
    """What keeps a state folder from being drained; empty: nothing."""
    if is_held(state_dir, SERVICE):
        return f"not drained: the service runs in {state_dir}"
    found = segments(spool)
    n_bytes = sum(size_of(segment.path) for segment in found)
    return f"not drained: {len(found)} files of the spool ({n_bytes} bytes) wait for the steward" if found else ""
