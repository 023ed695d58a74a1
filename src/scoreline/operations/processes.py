"""What the processes of this service take of the machine, as Linux tells it."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")
_PARENT, _USER_TICKS, _SYSTEM_TICKS, _PAGES = 1, 11, 12, 21  # of the fields behind the name


@dataclass(frozen=True, slots=True)
class Process:
    """A process by its name: processor time since it began, and resident memory."""

    name: str
    cpu_s: float
    resident_bytes: int


def processes(parent: int) -> list[Process]:
    """The processes that one has begun, itself first; none where the system does not tell."""
    return sorted(_found(parent), key=lambda process: process.name) if PROC.is_dir() else []


def _found(parent: int) -> Iterator[Process]:
    tick_s, page = 1 / os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    for path in PROC.glob("[0-9]*/stat"):
        try:
            name, _, rest = path.read_text().partition("(")[2].rpartition(") ")
        except OSError:  # it has just ended
            continue
        fields = rest.split()
        if int(fields[_PARENT]) == parent or path.parent.name == str(parent):
            ticks = int(fields[_USER_TICKS]) + int(fields[_SYSTEM_TICKS])
            yield Process(name, ticks * tick_s, int(fields[_PAGES]) * page)
