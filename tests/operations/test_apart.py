"""Whatever a process apart does, it ends, and this one goes on."""

import os
import time
from pathlib import Path

import psutil
import pytest

from scoreline.operations.apart import MAX_ANSWER_BYTES, Ended, memory_for, run_apart

MODULE = """
import os, subprocess, sys, time
from scoreline.core.errors import EngineFailed
from scoreline.operations.apart import answer_apart

given = sys.stdin.buffer.read()

def act():
    what = sys.argv[1]
    if what == "echo":
        print("a library speaks")
        return given[::-1]
    if what == "refuse":
        raise EngineFailed("no\\nthank you\\x00" + "x" * 5000)
    if what == "bug":
        raise ZeroDivisionError
    if what == "abort":
        os.abort()
    if what == "memory":
        return bytes(8 << 30)
    if what == "work":
        while True:
            pass
    if what == "sleep":
        time.sleep(60)
    if what == "file":
        open("left-behind", "wb").write(b"x" * 10)
    if what == "flood":
        return bytes(64 << 20)
    if what == "escape":
        for fd in map(int, os.listdir("/proc/self/fd")):
            try:
                os.set_inheritable(fd, True)
            except OSError:
                pass
        program = [sys.executable, "-c", "import time; time.sleep(8)"]
        subprocess.Popen(program, start_new_session=True, close_fds=False)
        return b"done"
    if what == "orphan":
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        return b"done"

sys.exit(answer_apart(act, 2, 1 << 30))
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "acts.py").write_text(MODULE)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(tmp_path), os.environ.get("PYTHONPATH", ""))))
    monkeypatch.chdir(tmp_path)


def test_bytes_go_in_and_come_out() -> None:
    assert run_apart("acts", "echo", given=b"abc") == Ended(0, answer=b"cba")
    large = os.urandom(3 << 20)
    assert run_apart("acts", "echo", given=large).answer == large[::-1]


def test_an_expected_error_is_a_refusal_in_one_short_line() -> None:
    ended = run_apart("acts", "refuse")
    assert ended.code == 1 and ended.answer == b""
    assert ended.refusal.startswith("no?thank you?xxx") and len(ended.refusal) == 2000


def test_what_dies_dies_alone_and_its_code_is_told() -> None:
    assert run_apart("acts", "abort") == Ended(-6)
    for what in ("bug", "memory", "file"):
        ended = run_apart("acts", what)
        assert ended.code not in (0, None) and not ended.refusal and not ended.answer, what
    assert not Path("left-behind").exists() or Path("left-behind").stat().st_size == 0
    assert run_apart("no_such_module").code == 1


def test_endless_work_is_ended() -> None:
    start_s = time.monotonic()
    assert run_apart("acts", "work").code not in (0, None)
    assert time.monotonic() - start_s < 20


def test_patience_has_an_end() -> None:
    start_s = time.monotonic()
    assert run_apart("acts", "sleep", patience_s=1.0) == Ended(None)
    assert time.monotonic() - start_s < 20


def test_a_flood_is_cut_off() -> None:
    free = psutil.virtual_memory().available
    assert run_apart("acts", "flood") == Ended(None)
    assert psutil.virtual_memory().available > free - 20 * MAX_ANSWER_BYTES


def test_what_it_started_ends_with_it() -> None:
    ended = run_apart("acts", "orphan", patience_s=5.0)
    assert ended.code in (0, None)
    time.sleep(0.2)
    mine = [
        child for child in psutil.process_iter(["cmdline"]) if "time.sleep(60)" in " ".join(child.info["cmdline"] or ())
    ]
    assert [child for child in mine if child.status() != psutil.STATUS_ZOMBIE] == []


def test_what_escapes_holds_nobody_up() -> None:
    start_s = time.monotonic()
    assert run_apart("acts", "escape", patience_s=2.0) == Ended(None)
    assert time.monotonic() - start_s < 7


def test_what_reads_nothing_holds_nobody_up() -> None:
    assert run_apart("this", given=bytes(4 << 20)).code == 0


def test_memory_grows_with_the_bundle(tmp_path: Path) -> None:
    (tmp_path / "model.ubj").write_bytes(bytes(1000))
    (tmp_path / "acts.py").unlink()
    assert memory_for(tmp_path, 10) == 16_000
    assert memory_for(tmp_path) == 4 << 30
