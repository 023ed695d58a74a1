"""The lease of a host's canaries: a file whose time says when the ledger was last read.

Whoever reads the ledger renews it; workers look at it, and let a canary answer only while it is younger than 10 s. So a
host that is cut off from the database falls back to its champions by itself.
"""

import os
import time
from pathlib import Path
from typing import Final

FILE: Final = "lease"
LEASE_NS: Final = 10_000_000_000
AHEAD_NS: Final = 1_000_000_000  # of this clock, which may be set back: such a lease would last as long as that


def renew(state_dir: Path, read_ns: int) -> None:
    """Canaries may answer until 10 s after the ledger was asked, at `read_ns` since 1970; the folder is there."""
    fd = os.open(state_dir / FILE, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.utime(fd, ns=(read_ns, read_ns))
    finally:
        os.close(fd)


class Lease:
    """The lease as a worker last saw it. A `core.arms.Lease`."""

    def __init__(self, state_dir: Path) -> None:
        self.until_ns = 0
        self._file = state_dir / FILE

    def look(self) -> None:
        """Until when it lasts; without a file, or with one of a time to come, there is none."""
        try:
            renewed_ns = self._file.stat().st_mtime_ns
        except OSError:
            renewed_ns = -LEASE_NS
        self.until_ns = renewed_ns + LEASE_NS if renewed_ns <= time.time_ns() + AHEAD_NS else 0
