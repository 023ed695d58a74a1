"""What is measured: `scoreline serve` and the raw ASGI "hello", each on the cores it has."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from models import BenchModel

HERE: Final = Path(__file__).parent
SCORELINE: Final = Path(sys.executable).with_name("scoreline")
LAST_S: Final = 300  # to ship what is left at its end
PATIENT_MS: Final = "60000"  # what is measured is how much can be done: nothing is refused for being late


@contextlib.contextmanager
def ceiling(told: list[int] | None = None) -> Iterator[int]:
    """Its port; `told` gets the pid."""
    port = free_port()
    options = ["--http", "httptools", "--loop", "uvloop", "--lifespan", "off", "--no-access-log"]
    command = [sys.executable, "-m", "uvicorn", "hello:app", "--app-dir", str(HERE), "--port", str(port), *options]
    process = subprocess.Popen(["taskset", "-c", "0", *command, "--log-level", "warning"])
    try:
        answer_when_up(port, b"{}")
        if told is not None:
            told.append(process.pid)
        yield port
    finally:
        process.terminate()
        process.wait(30)


@dataclass(frozen=True, slots=True)
class Running:
    """A service that answers: its ports, the pids of its worker and its steward, and the key that opens it."""

    port: int
    admin_port: int
    worker: int
    steward: int
    key: str = ""

    def shipping(self) -> dict[str, Any]:
        """How far the steward has shipped, by its own word."""
        connection = http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=30)
        connection.request("GET", "/status", headers={"X-API-Key": self.key} if self.key else {})
        found: dict[str, Any] = json.loads(connection.getresponse().read())["database"]
        connection.close()
        return found

    def wait_until_shipped(self) -> None:
        while self.shipping()["lag_bytes"]:
            time.sleep(0.1)

    @contextlib.contextmanager
    def without_steward(self) -> Iterator[None]:
        """The steward suspended, not ended: the supervisor replaces nobody."""
        os.kill(self.steward, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.steward, signal.SIGCONT)


@contextlib.contextmanager
def service(
    model: BenchModel, state_dir: Path, program: Path = SCORELINE, *, key: str = "", **settings: str
) -> Iterator[Running]:
    """The whole `scoreline serve`: the worker on core 0, supervisor and steward on core 1. `key` opens it."""
    port, admin_port = free_port(), free_port()
    process = launch_service(model, state_dir, port, admin_port, program, **settings)
    try:
        answer_when_up(port, model.one, key)
        yield Running(port, admin_port, *pin(process.pid), key)
    finally:
        process.terminate()
        process.wait(LAST_S)


def launch_service(
    model: BenchModel,
    state_dir: Path,
    port: int,
    admin_port: int,
    program: Path = SCORELINE,
    *,
    workers: int = 1,
    **settings: str,
) -> "subprocess.Popen[bytes]":
    """`settings` are variables of the environment."""
    script = [program] if program == SCORELINE else [sys.executable, program]
    command = [*script, "serve", model.bundle, "--trust", model.trust, "--port", port, "--admin-port", admin_port]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["SCORELINE_LATENCY__TOTAL_MS"] = PATIENT_MS
    environment["SCORELINE_RECORDS__MAX_BYTES"] = "0"  # minutes of bulk requests are more than can be shipped meanwhile
    return subprocess.Popen(
        [*map(str, command), "--state-dir", str(state_dir), "--workers", str(workers)],
        env=environment | settings,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def pin(supervisor: int) -> tuple[int, int]:
    """The worker (the first child) to core 0, supervisor, steward and shadow to core 1; pids of worker and steward."""
    parent = psutil.Process(supervisor)
    worker, steward, shadow = sorted(parent.children(), key=lambda child: child.pid)
    for process, core in ((worker, 0), (parent, 1), (steward, 1), (shadow, 1)):
        for thread in process.threads():
            os.sched_setaffinity(thread.id, {core})
    return worker.pid, steward.pid


def busy_s(pid: int) -> float:
    """The processor time of a process so far, user and system."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def answer_when_up(port: int, body: bytes, key: str = "") -> None:
    headers = {"Content-Type": "application/json"} | ({"X-API-Key": key} if key else {})
    for _ in range(5000):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            connection.request("POST", "/predict", body, headers)
            response = connection.getresponse()
            response.read()
        except OSError:
            time.sleep(0.002)
        else:
            if response.status != 200:
                raise SystemExit(f"the service answered {response.status}")
            return
    raise SystemExit("the service did not come up")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
