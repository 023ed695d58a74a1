"""Keeps the processes of a service: starts them, replaces those that die, and drains them in order."""

import ctypes
import logging
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any, Final

from scoreline.core.errors import ScorelineError
from scoreline.core.marks import NONE, Marks, Patience, Standing
from scoreline.core.names import load

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NAME: Final = 15
_BACKOFF_S: Final = (0.0, 0.1, 0.5, 1.0, 2.0, 5.0)
_STEADY_S: Final = 10.0
_AT_ONCE: Final = 3
_fork = multiprocessing.get_context("fork")
log = logging.getLogger("scoreline.supervisor")


@dataclass(slots=True)
class Child:
    """A process to keep: `run(*args, on_ready)` in a fork of this one, loaded there by its name.

    `marks` are where it marks what it scores, `patience_s` is how long its end may take, `title` is what the system
    calls it, where that is more than its name.
    """

    name: str
    run: str
    args: tuple[Any, ...]
    marks: Marks | None = None
    patience_s: float = 7.0
    title: str = ""
    process: Any = None
    ready: Connection | None = None
    answering: bool = False
    started_s: float = 0.0
    failures: int = 0
    canary_deaths: int = 0
    inherited: Standing = NONE
    seen: Standing = NONE
    seen_s: float = 0.0
    due_s: float = field(default=0.0)

    def start(self) -> None:
        self.answering = False
        self.inherited = self.in_canary
        self.ready, theirs = _fork.Pipe(duplex=False)
        self.process = _fork.Process(target=_child, args=(self, theirs, os.getpid()), name=self.name)
        self.process.start()
        theirs.close()
        self.started_s = time.monotonic()

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.is_alive()

    @property
    def in_canary(self) -> Standing:
        """The mark under which a canary scores in it, or did when it died; NONE where none does."""
        return self.marks.may_end if self.marks else NONE

    def hangs(self, patience: Patience) -> bool:
        """Whether one scoring of a canary takes too long, as far as was looked; not one that the last process left."""
        mark, now_s = self.in_canary, time.monotonic()
        if mark != self.seen:
            self.seen, self.seen_s = mark, now_s
        return mark not in (NONE, self.inherited) and (now_s - self.seen_s) * 1e9 >= patience.limit_ns(mark.n_rows)

    def end(self, sig: int = signal.SIGTERM) -> None:
        if self.alive:
            os.kill(self.process.pid, sig)


def supervise(
    workers: list[Child],
    beside: list[Child],
    *,
    drain_delay_s: float,
    drain_s: float,
    patience: Patience,
    on_ready: Callable[[], None],
    stop_accepting: Callable[[], None],
    on_end: Callable[[Child], None] = lambda _: None,
) -> int:
    """Runs until SIGTERM or SIGINT, then drains: workers, then who is beside them, backwards. Returns the exit code.

    A child that dies is replaced, ever more slowly while it keeps dying; one that dies before all were ready once ends
    the service, because it could never have answered. A worker whose canary scores longer than `patience` is ended.
    `on_end` is told of each that died.
    """
    woken, wake = os.pipe()
    told: list[int] = []

    def tell(number: int, _: object) -> None:
        told.append(number)
        os.write(wake, b".")  # a signal to all processes reaches the workers now: their drain and this one go together

    for sig in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sig, tell)
    children = [*workers, *beside]
    for child in children:
        child.start()
    announced = False
    while not told:
        if not announced and all(child.answering for child in workers):
            announced = True
            on_ready()
        _wait(children, woken)
        _end_hanging(workers, patience)
        dead = [child for child in children if not child.alive]
        if not announced and any(child in workers and child.in_canary == NONE for child in dead):
            log.error("a worker ended before it could answer")
            _stop(children, 1.0)
            return 1
        for child in dead:
            _replace(child, on_end)
    log.info("draining")
    for child in workers:
        child.end()
    _sleep_while_alive(workers, drain_delay_s)
    stop_accepting()
    _stop(workers, drain_s + 2.0)
    for child in reversed(beside):
        _stop([child], child.patience_s)
    return 0


def _wait(children: list[Child], woken: int) -> None:
    """Sleeps until a child is ready, one dies, a signal comes, or a replacement may be due."""
    waiting: list[Any] = [child.process.sentinel for child in children if child.alive]
    waiting += [child.ready for child in children if child.ready is not None]
    soon = len(waiting) < len(children) or any(child.marks and child.marks.any_named for child in children)
    for event in multiprocessing.connection.wait([woken, *waiting], 0.1 if soon else 0.5):
        for child in children:
            if child.ready is event:
                child.answering = _said_so(child.ready)
                child.ready.close()
                child.ready = None


def _said_so(ready: Connection) -> bool:
    """Whether a child said that it is ready; its end of the pipe closes when it dies, too."""
    try:
        return bool(ready.recv())
    except EOFError:
        return False


def _end_hanging(workers: list[Child], patience: Patience) -> None:
    for child in workers:
        if child.alive and child.hangs(patience):
            limit_s = patience.limit_ns(child.seen.n_rows) / 1e9
            log.error("worker %s: a canary has not scored in %g s; it is killed", child.process.pid, limit_s)
            child.end(signal.SIGKILL)
            child.process.join()


def _replace(child: Child, on_end: Callable[[Child], None]) -> None:
    """One that died in a canary at once, the first times: what it dies of is known, and soon gone."""
    now_s = time.monotonic()
    if child.due_s == 0.0:
        on_end(child)
        steady = now_s - child.started_s > _STEADY_S
        if steady:
            child.failures = child.canary_deaths = 0
        if child.in_canary != NONE and child.canary_deaths < _AT_ONCE:
            child.canary_deaths += 1
            delay_s = 0.0
        else:
            child.failures += not steady
            delay_s = _BACKOFF_S[min(child.failures, len(_BACKOFF_S) - 1)]
        child.due_s = now_s + delay_s
        log.error(
            "%s %s ended with code %s; a new one in %.1f s",
            child.name,
            child.process.pid,
            child.process.exitcode,
            delay_s,
        )
    if now_s >= child.due_s:
        child.due_s = 0.0
        child.start()


def _stop(children: list[Child], patience_s: float) -> None:
    for child in children:
        child.end()
    _sleep_while_alive(children, patience_s)
    for child in children:
        if child.alive:
            log.error("%s %s did not end in time and is killed", child.name, child.process.pid)
        child.end(signal.SIGKILL)
        child.process.join()


def _sleep_while_alive(children: list[Child], patience_s: float) -> None:
    deadline_s = time.monotonic() + patience_s
    while any(child.alive for child in children) and time.monotonic() < deadline_s:
        time.sleep(0.02)


def _child(child: Child, ready: Connection, parent: int) -> None:
    """What runs in the fork: own signals, the parent's death as SIGTERM, expected errors as one line."""
    for sig in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sig, signal.SIG_DFL)
    if sys.platform == "linux":
        system = ctypes.CDLL(None)
        system.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        system.prctl(_PR_SET_NAME, (child.title or child.name).encode())
        if os.getppid() != parent:
            return

    def on_ready() -> None:
        ready.send(True)
        ready.close()

    try:
        load(child.run)(*child.args, on_ready)
    except (ScorelineError, OSError) as error:
        log.error("%s", error)
        sys.exit(1)
