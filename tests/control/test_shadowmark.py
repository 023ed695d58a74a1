"""A mark outlives who set it and says how that ended; an end in order leaves none."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scoreline.control.shadowmark import CRASHED, HUNG, Mark
from scoreline.core.decision import Author
from service import wait_until

WHO = Author("fraud", "2", "d" * 64, "xgboost 3", ("a",), "p", (), (), "challenger", 7)
PLACE = "here:x.seg@64"
fork = multiprocessing.get_context("fork")


def marked(path: Path, limit_s: float, then: Callable[[], object], *, told: bool = False) -> Any:
    """A process that sets a mark and then does something; it is there once the mark is."""

    def run() -> None:
        mark = Mark(path, limit_s)
        if told:
            mark.clear_when_told_to_end()
        mark.set(WHO, PLACE)
        then()

    process = fork.Process(target=run)
    process.start()
    wait_until(lambda: path.exists() or not process.is_alive(), "the mark is set")
    return process


def sleep() -> None:
    time.sleep(600)


def test_a_process_that_dies_leaves_what_it_was_about(tmp_path: Path) -> None:
    path, before_ns = tmp_path / "shadow" / "mark.json", time.time_ns()
    process = marked(path, 60, sleep)
    process.kill()
    process.join()
    left = Mark(path, 60).left()
    assert left and (left.author, left.place, left.kind) == (WHO, PLACE, CRASHED)
    assert before_ns <= left.at_ns <= time.time_ns()
    assert Mark(path, 60).left() == left, "until it is cleared"
    Mark(path, 60).clear()
    assert Mark(path, 60).left() is None


def test_a_turn_that_takes_too_long_ends_the_process_and_is_a_hang(tmp_path: Path) -> None:
    path = tmp_path / "mark.json"
    process = marked(path, 0.2, sleep)
    process.join(20)
    assert process.exitcode == -signal.SIGALRM
    left = Mark(path, 0.2).left()
    assert left and left.kind == HUNG


def test_a_turn_in_time_ends_nothing(tmp_path: Path) -> None:
    mark = Mark(tmp_path / "mark.json", 0.1)
    mark.set(WHO, PLACE)
    mark.clear()
    time.sleep(0.2)
    assert mark.left() is None


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_who_is_told_to_end_in_the_middle_of_a_turn_blames_nobody(tmp_path: Path, sig: int) -> None:
    path = tmp_path / "mark.json"
    process = marked(path, 60, sleep, told=True)
    os.kill(process.pid, sig)
    process.join(20)
    assert process.exitcode == 0
    assert not path.exists()


@pytest.mark.parametrize("torn", ["", "{", "[]", '{"author": 7}', '{"until_s": 1}', "null"])
def test_a_mark_that_is_torn_blames_nobody(tmp_path: Path, torn: str) -> None:
    path = tmp_path / "mark.json"
    path.write_text(torn)
    assert Mark(path, 60).left() is None
