"""The lease: renewed it lasts 10 s, and nothing else makes one."""

import os
import time
from pathlib import Path

from scoreline.operations.leased import FILE, LEASE_NS, Lease, renew


def aged(folder: Path, seconds: float) -> Lease:
    """The lease as it is seen so long after it was renewed."""
    renew(folder, time.time_ns())
    renewed_ns = time.time_ns() - int(seconds * 1e9)
    os.utime(folder / FILE, ns=(renewed_ns, renewed_ns))
    lease = Lease(folder)
    lease.look()
    return lease


def test_a_lease_lasts_ten_seconds_from_when_it_was_renewed(tmp_path: Path) -> None:
    before_ns = time.time_ns()
    renew(tmp_path, time.time_ns())
    lease = Lease(tmp_path)
    assert lease.until_ns == 0, "not looked at yet"
    lease.look()
    assert LEASE_NS == 10_000_000_000
    assert before_ns - 20_000_000 <= lease.until_ns - LEASE_NS <= time.time_ns()
    for seconds, live in ((9.0, True), (11.0, False), (86_400, False)):
        assert (aged(tmp_path, seconds).until_ns > time.time_ns()) == live


def test_renewed_again_it_lasts_longer(tmp_path: Path) -> None:
    lease = aged(tmp_path, 9.5)
    before_ns = lease.until_ns
    renew(tmp_path, time.time_ns())
    lease.look()
    assert lease.until_ns > before_ns + 9_000_000_000
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


def test_no_file_is_no_lease(tmp_path: Path) -> None:
    lease = aged(tmp_path, 0.0)
    (tmp_path / FILE).unlink()
    lease.look()
    assert lease.until_ns == 0


def test_a_time_to_come_is_no_lease_where_the_clock_was_set_back(tmp_path: Path) -> None:
    assert aged(tmp_path, -3600.0).until_ns == 0
