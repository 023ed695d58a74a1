"""The processes of a service and what they share: the workers, and the steward with its shadow, together or apart."""

import signal
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scoreline.access.windows import Windows
from scoreline.cli.supervisor import Child
from scoreline.core.counts import N_BYTES, Counts
from scoreline.core.errors import SettingError
from scoreline.core.marks import Marks
from scoreline.operations.counted import Counted
from scoreline.operations.shared import FOLDER, Memory, forked, in_files
from scoreline.settings import Settings
from scoreline.web.server import listen
from scoreline.web.tls import Certificate
from scoreline.wiring import windows_of

STEWARD_S: Final = 8.0  # it gives itself less: 1 s for its connections, 4 to ship, 1 to sign, 1 to send traces
SHADOW_S: Final = 2.0  # it ends in no time; an engine that does not let go is killed


@dataclass(frozen=True, slots=True)
class Told:
    """What the workers' part counts and a steward tells: of limits, of each worker, of who keeps them."""

    windows: Sequence[Windows]
    workers: Sequence[Counts]
    keeper: Counts

    def to(self, *others: Counts) -> Counted:
        """As a steward reads it, with the counts of others beside it and its own."""
        return Counted(self.windows, (*self.workers, self.keeper, *others), Counts())


def told_here(settings: Settings, memory: Memory = forked) -> Told:
    workers = [Counts(memory(f"worker-{number}", N_BYTES)) for number in range(settings.server.workers)]
    return Told(windows_of(settings, memory), workers, Counts(memory("keeper", N_BYTES)))


def told_apart(settings: Settings, *, anew: bool) -> Told:
    """The same by files in the state folder, for a steward that is no fork; `anew`: by the one whose workers count."""
    return told_here(settings, in_files(Path(settings.state_dir) / FOLDER, anew=anew))


def workers_of(settings: Settings, data: socket.socket, tls: Certificate | None, counted: Told) -> list[Child]:
    """With marks and counts that outlive them."""
    return [
        _worker(number, settings, data, tls, counted, of_worker) for number, of_worker in enumerate(counted.workers)
    ]


def _worker(
    number: int, settings: Settings, data: socket.socket, tls: Certificate | None, counted: Told, counts: Counts
) -> Child:
    marks, windows = Marks(), [each.of_worker(number) for each in counted.windows]
    args = settings, data, marks, tls, windows, counts
    return Child("worker", "scoreline.doors.http.worker:run_worker", args, marks, title=f"worker-{number}")


def steward_of(
    settings: Settings, refs: Sequence[str], control: socket.socket, tls: Certificate | None, counted: Counted
) -> list[Child]:
    """The steward and the shadow, which ends first."""
    args = settings, refs, control, tls, counted
    return [
        Child("steward", "scoreline.control.steward:run_steward", args, patience_s=STEWARD_S),
        Child("shadow", "scoreline.control.shadow:run_shadow", (settings,), patience_s=SHADOW_S),
    ]


def end_when_told() -> None:
    """Has SIGTERM end this process before it keeps others: the first one of a container ignores it otherwise."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))


def listening(host: str, port: int, option: str) -> socket.socket:
    """A socket that children inherit; raises SettingError where the port is taken."""
    try:
        return listen(host, port)
    except OSError as error:
        raise SettingError(f"cannot listen on {host}:{port}: {error.strerror}; choose another with {option}") from None


def place(listener: socket.socket, tls: Certificate | None) -> str:
    """Where it is reached, as a URL."""
    host, port = listener.getsockname()[:2]
    return f"{'https' if tls else 'http'}://" + (f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
