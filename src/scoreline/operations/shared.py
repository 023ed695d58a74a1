"""Memory that the processes of a service share: across the fork, or by files where the steward is no fork of theirs."""

import mmap
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

FOLDER: Final = "shared"
Memory = Callable[[str, int], mmap.mmap]  # what it is for, and how many bytes


def forked(_: str, n_bytes: int) -> mmap.mmap:
    """For a process and those it forks."""
    return mmap.mmap(-1, n_bytes)


def in_files(folder: Path, *, anew: bool) -> Memory:
    """For whoever sees a folder, by name. `anew`: all zero, for those who count there; others find it as it is.

    A file is never shorter than it was, and its bytes are on the disk: one that is full would end who writes to it.
    """

    def memory(name: str, n_bytes: int) -> mmap.mmap:
        folder.mkdir(parents=True, exist_ok=True)
        fd = os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(fd, 0, n_bytes)
            if anew:
                os.pwrite(fd, bytes(n_bytes), 0)
            return mmap.mmap(fd, n_bytes)
        finally:
            os.close(fd)

    return memory
