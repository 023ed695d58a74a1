"""Runs the real command line in forks of a process that has loaded it: what a test starts costs no imports.

One process for each of pytest's own loads all of Scoreline once, and what it serves with. For each command it forks
twice: the inner one becomes the command, in a session, folder and environment of its own; the outer one waits for it
and tells how it ended, as who forked is not who asks. That the installed command itself runs, other tests hold.
"""

import ctypes
import json
import os
import select
import signal
import socket
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

_PR_SET_NAME = 15
LOADED = (
    "scoreline.control.steward:run_steward",
    "scoreline.control.shadow:run_shadow",
    "scoreline.doors.http.worker:run_worker",
    "scoreline.doors.http.pages:make_pages",
    "scoreline.records.migrate:upgrade",
)


class Forked:
    """A command that runs: as much of `subprocess.Popen` as tests use."""

    def __init__(self, arguments: list[str], folder: Path, environment: dict[str, str], out: int, err: int) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        asked = {"arguments": arguments, "folder": str(folder), "environment": environment}
        with theirs, Path(os.devnull).open() as nothing:
            raw = json.dumps(asked).encode()
            socket.send_fds(_zygote(), [len(raw).to_bytes(8, "big")], [theirs.fileno(), nothing.fileno(), out, err])
            _zygote().sendall(raw)
        self._told = ours
        self.pid = int(ours.recv(64))
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None and select.select([self._told], [], [], 0)[0]:
            self._end()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self._told], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("scoreline", timeout or 0.0)
            self._end()
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, sig: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, sig)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _end(self) -> None:
        self.returncode = os.waitstatus_to_exitcode(int(self._told.recv(64)))
        self._told.close()


@cache
def _zygote() -> socket.socket:
    """The way to the process that forks; it ends when this one does."""
    ours, theirs = socket.socketpair()
    environment = {name: text for name, text in os.environ.items() if not name.startswith("SCORELINE_")}
    with theirs:
        command = [sys.executable, __file__, str(theirs.fileno())]
        subprocess.Popen(command, pass_fds=[theirs.fileno()], env=environment, start_new_session=True)
    return ours


def _serve(way: socket.socket) -> None:
    while True:
        head, fds, _, _ = socket.recv_fds(way, 8, 4)
        if not head:
            return
        raw = _exactly(way, int.from_bytes(head, "big"))
        if os.fork() == 0:
            way.close()
            _run(json.loads(raw), *fds)
        for fd in fds:
            os.close(fd)


def _exactly(way: socket.socket, n_bytes: int) -> bytes:
    found = b""
    while len(found) < n_bytes:
        found += way.recv(n_bytes - len(found))
    return found


def _run(asked: dict[str, Any], told: int, *standard: int) -> None:
    """The outer fork: it is nobody's child that anybody waits for."""
    way = socket.socket(fileno=told)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    inner = os.fork()
    if inner == 0:
        way.close()
        _become(asked, standard)
    for fd in standard:
        os.close(fd)
    try:
        way.send(str(inner).encode())
        _, status = os.waitpid(inner, 0)
        way.send(str(status).encode())
    finally:
        os._exit(0)


def _become(asked: dict[str, Any], standard: tuple[int, ...]) -> None:
    """The inner fork becomes the command, and ends with its code."""
    code = 1
    try:
        os.setsid()
        ctypes.CDLL(None).prctl(_PR_SET_NAME, b"scoreline")
        for number, fd in enumerate(standard):
            os.dup2(fd, number)
            os.close(fd)
        os.chdir(asked["folder"])
        os.environ.clear()
        os.environ.update(asked["environment"])
        sys.argv = ["scoreline", *asked["arguments"]]
        from scoreline.cli import main

        try:
            main()
            code = 0
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
    finally:
        os._exit(code)


def main() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for outer forks
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    from scoreline.cli import COMMANDS
    from scoreline.core.names import load

    for target in (*COMMANDS.values(), *LOADED):
        load(target)
    _serve(socket.socket(fileno=int(sys.argv[1])))


if __name__ == "__main__":
    main()
