"""The supervisor keeps real processes: it starts, replaces and ends them in order."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from service import wait_until

PROGRAM = """
import logging, os, signal, sys, time
from scoreline.cli.supervisor import Child, supervise
from scoreline.core.decision import Author
from scoreline.core.errors import BundleError
from scoreline.core.marks import Marks, Patience

def note(text):
    with open("notes", "a") as notes:
        notes.write(text + "\\n")

def until_told(name, *, before_end=0.0):
    told = []
    signal.signal(signal.SIGTERM, lambda *_: told.append(1))
    return lambda: (wait_for(told), time.sleep(before_end), note(f"{name} ends"))

def wait_for(told):
    while not told:
        time.sleep(0.01)

def good(name, on_ready):
    run = until_told(name, before_end=0.2 if name == "worker" else 0.0)
    note(f"{name} {os.getpid()} starts")
    on_ready()
    run()

def refusing(name, on_ready):
    raise BundleError("this bundle is not what it says it is")

def mute(name, on_ready):
    os.closerange(3, 100)
    time.sleep(0.5)

def short(name, on_ready):
    note(f"{name} {os.getpid()} starts")
    on_ready()
    time.sleep(0.05)
    os._exit(7)

def stubborn(name, on_ready):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    note(f"{name} {os.getpid()} starts")
    on_ready()
    time.sleep(60)

def in_a_canary(name, marks, on_ready, *, hang=False, times=9, n_rows=1):
    if marks.may_end.number > times:
        return good(name, on_ready)
    note(f"{name} {os.getpid()} starts")
    on_ready()
    author = Author("m", "2", "d", "e", (), "p", (), (), "canary")
    marks.name([author])
    marks.set(author, 1, 1, [], n_rows, may_end=True)
    if hang:
        time.sleep(60)
    os._exit(7)

def hanging(name, marks, on_ready):
    in_a_canary(name, marks, on_ready, hang=True, times=1)

def many_rows(name, marks, on_ready):
    in_a_canary(name, marks, on_ready, hang=True, n_rows=1_000_000)

def child(kind):
    if kind not in ("in_a_canary", "hanging", "many_rows"):
        return Child("worker", f"kept:{kind}", ("worker",))
    marks = Marks()
    return Child("worker", f"kept:{kind}", ("worker", marks), marks)

if __name__ == "__main__":
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s")
    *workers, steward, last = sys.argv[1:] if sys.argv[-1].startswith("last:") else (*sys.argv[1:], "")
    beside = [Child("steward", f"kept:{steward}", ("steward",))]
    if last:
        beside.append(Child("shadow", f"kept:{last.removeprefix('last:')}", ("shadow",), patience_s=0.3))
    sys.exit(supervise(
        [child(kind) for kind in workers],
        beside,
        drain_delay_s=0.0,
        drain_s=-1.5,
        patience=Patience(hang_ns=500_000_000, row_ns=10_000_000),
        on_ready=lambda: note("ready"),
        stop_accepting=lambda: note("accepts no more"),
    ))
"""


class Kept:
    """A supervisor at work in a folder of its own."""

    def __init__(self, folder: Path, *kinds: str) -> None:
        (folder / "kept.py").write_text(PROGRAM)
        self._notes, self._log = folder / "notes", folder / "log"
        self._notes.touch()
        with self._log.open("w") as log:
            self.process = subprocess.Popen([sys.executable, "kept.py", *kinds], cwd=folder, stderr=log)

    @property
    def notes(self) -> list[str]:
        return self._notes.read_text().splitlines()

    @property
    def log(self) -> str:
        return self._log.read_text()

    def starts(self, name: str) -> list[int]:
        return [int(note.split()[1]) for note in self.notes if note.startswith(f"{name} ") and note.endswith("starts")]

    def end(self) -> int:
        self.process.terminate()
        return self.process.wait(20)


@pytest.fixture
def keep(tmp_path: Path) -> Iterator[Callable[..., Kept]]:
    """Starts a supervisor of children of these kinds, the steward last; none outlives the test."""
    started = []

    def start(*kinds: str) -> Kept:
        started.append(Kept(tmp_path, *kinds))
        return started[-1]

    yield start
    for kept in started:
        kept.process.kill()
        kept.process.wait()


def test_it_drains_the_workers_first_and_the_steward_last(keep: Callable[..., Kept]) -> None:
    kept = keep("good", "good", "good")
    wait_until(lambda: "ready" in kept.notes, "it is ready")
    wait_until(lambda: kept.starts("steward"), "the steward runs")
    assert kept.end() == 0
    assert kept.notes[-4:] == ["accepts no more", "worker ends", "worker ends", "steward ends"]


@pytest.mark.parametrize(
    ("shadow", "ends"), [("good", ["shadow ends", "steward ends"]), ("stubborn", ["steward ends"])]
)
def test_who_is_beside_the_steward_has_ended_before_it_is_told(
    keep: Callable[..., Kept], shadow: str, ends: list[str]
) -> None:
    kept = keep("good", "good", f"last:{shadow}")
    wait_until(lambda: "ready" in kept.notes, "it is ready")
    wait_until(lambda: kept.starts("steward") and kept.starts("shadow"), "both run")
    assert kept.end() == 0
    assert kept.notes[-1 - len(ends) :] == ["worker ends", *ends]
    assert ("shadow" in kept.log) == (shadow == "stubborn"), "it is killed once its time is over"


def test_a_worker_that_cannot_start_ends_the_service_with_its_reason(keep: Callable[..., Kept]) -> None:
    kept = keep("good", "refusing", "good")
    assert kept.process.wait(20) == 1
    assert "this bundle is not what it says it is" in kept.log
    assert "a worker ended before it could answer" in kept.log
    assert "Traceback" not in kept.log
    assert "ready" not in kept.notes


def test_a_worker_that_dies_without_a_word_is_never_taken_for_ready(keep: Callable[..., Kept]) -> None:
    kept = keep("mute", "good")
    assert kept.process.wait(20) == 1
    assert "ready" not in kept.notes


def test_a_steward_that_cannot_start_does_not_end_the_service(keep: Callable[..., Kept]) -> None:
    kept = keep("good", "refusing")
    wait_until(lambda: kept.log.count("steward") >= 3, "the steward has been tried again")
    assert "ready" in kept.notes
    assert kept.end() == 0


def test_a_killed_child_is_replaced(keep: Callable[..., Kept]) -> None:
    kept = keep("good", "good")
    wait_until(lambda: "ready" in kept.notes, "it is ready")  # a worker that dies before ends the service
    for name in ("worker", "steward"):
        (first,) = wait_until(lambda name=name: kept.starts(name), f"the {name} runs")
        os.kill(first, signal.SIGKILL)
        wait_until(lambda name=name: len(kept.starts(name)) == 2, f"the {name} is replaced")
    assert kept.notes.count("ready") == 1
    assert kept.end() == 0


def test_a_child_that_keeps_dying_is_replaced_ever_more_slowly(keep: Callable[..., Kept]) -> None:
    kept = keep("short", "good")
    wait_until(lambda: kept.log.count("ended with code 7") >= 4, "it has died four times")
    assert kept.end() == 0
    delays = [float(text) for text in re.findall(r"worker \d+ ended with code 7; a new one in ([\d.]+) s", kept.log)]
    assert delays[:4] == [0.1, 0.5, 1.0, 2.0]


def test_a_worker_that_dies_in_a_canary_is_replaced_at_once_the_first_times(keep: Callable[..., Kept]) -> None:
    kept = keep("in_a_canary", "good")
    wait_until(lambda: kept.log.count("ended with code 7") >= 5, "it has died five times")
    assert kept.end() == 0
    delays = [float(text) for text in re.findall(r"worker \d+ ended with code 7; a new one in ([\d.]+) s", kept.log)]
    assert delays[:5] == [0.0, 0.0, 0.0, 0.1, 0.5]


def test_a_worker_in_which_a_canary_hangs_is_killed_and_its_successor_is_not(keep: Callable[..., Kept]) -> None:
    """The successor finds the mark still standing, which says nothing of itself."""
    kept = keep("hanging", "good")
    wait_until(lambda: len(kept.starts("worker")) == 3, "it is replaced twice")
    first, second, third = kept.starts("worker")
    time.sleep(1.0)
    assert kept.end() == 0
    for worker in (first, second):
        assert f"worker {worker}: a canary has not scored in 0.5 s; it is killed" in kept.log
    assert f"worker {third}: a canary" not in kept.log


def test_many_rows_may_take_longer(keep: Callable[..., Kept]) -> None:
    """While a worker that scores one row is ended twice, one that scores a million is not."""
    kept = keep("many_rows", "hanging", "good")
    wait_until(
        lambda: kept.log.count("a canary has not scored in 0.5 s; it is killed") == 2, "the other was ended twice"
    )
    assert len(kept.starts("worker")) in (3, 4)  # the third of the other is under way
    assert kept.end() == 0
    assert kept.log.count("a canary has not scored") == 2


def test_a_child_that_does_not_end_is_killed(keep: Callable[..., Kept]) -> None:
    kept = keep("stubborn", "good")
    (worker,) = wait_until(lambda: kept.starts("worker"), "the worker runs")
    wait_until(lambda: kept.starts("steward"), "the steward runs")
    assert kept.end() == 0
    assert f"worker {worker} did not end in time and is killed" in kept.log
    time.sleep(0.1)
    assert not Path(f"/proc/{worker}").exists()
