"""What a rollout costs while it goes on, what a bad challenger costs the champion, how soon a rollback is everywhere.

Everything runs as in service: the steward ships, counts and reads the ledger, the shadow scores every decision, both on
core 1 beside `wrk`; the worker has core 0. A challenger misbehaves by an engine that only this program knows
(`tests/canaries.py`): it sleeps, hangs or ends its process at each piece that has a certain row, which is every one.
"""

import http.client
import json
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import Any, Final

import psutil
from canary import CONNECTIONS, another
from measuring import ROUND_S, Figure, figure, interleaved, lua, requests_per_s, wrk
from services import LAST_S, Running, answer_when_up, busy_s, ceiling, free_port, launch_service, service

from models import BenchModel, bench_model
from scoreline.core.manifest import Manifest
from scoreline.operations import rollouts
from scoreline.operations.rollouts import By, Frozen
from scoreline.records.database import Database, open_database
from scoreline.records.ledger import heads
from scoreline.records.shadowed import numbers_of, progress
from scoreline.rollout.policy import Policy
from scoreline.rollout.stages import Arm

TESTS: Final = Path(__file__).parents[1] / "tests"
PROGRAM: Final = TESTS / "canaries.py"
BENCH: Final = By("bench")
WORKERS: Final = 4
ROLLBACKS: Final = 10
CLIENTS: Final = 6


def measure(folder: Path) -> Iterator[Figure]:
    model = bench_model(folder / "model", 20)
    yield from under_way(model, folder)
    yield from beside_bad_challengers(model, folder)
    yield from rolled_back(model, folder)


def under_way(model: BenchModel, folder: Path) -> Iterator[Figure]:
    """A canary on half of the traffic, a shadow on all of it.

    On two cores shadow and steward take their time from `wrk`, which then asks less: what a request takes of the core
    that answers is told apart from that.
    """
    script, state_dir, hellos = lua(folder / "one.lua", model.one), folder / "rolling", list[int]()
    took_us: dict[str, list[float]] = {"ceiling": [], "ours": []}
    with ceiling(hellos) as hello, service(model, state_dir) as running, closing(opened(state_dir)) as database:
        begin_canary(database, another(model, state_dir, "2"))
        third = another(model, state_dir, "3")
        rollouts.shadow(database, "fraud", arm_of(third), BENCH)
        until(lambda: {"1", "2"} <= {version_at(running.port, model.one) for _ in range(20)})

        def asked(name: str, port: int, pid: int) -> float:
            before_s = busy_s(pid)
            found = requests_per_s(port, script, CONNECTIONS)
            took_us[name].append(1e6 * (busy_s(pid) - before_s) / (found * ROUND_S))
            return found

        found = interleaved(
            f"requests/s at {CONNECTIONS} connections, a canary on half and a shadow on all of it / ceiling",
            ">= 0.5",
            lambda: asked("ceiling", hello, hellos[0]),
            lambda: asked("ours", running.port, running.worker),
            before_base=running.wait_until_shipped,
        )
        since = max(found.since for found in rollouts.stage_of(rollouts.current(database, "fraud")).challengers)
        done = progress(database, numbers_of(database, "fraud", third.digest, since))
        yield found | {"shadow": {"scored": done.scored, "not scored": done.missed}}
        ratios = [theirs / mine for theirs, mine in zip(took_us["ceiling"], took_us["ours"], strict=True)]
        name = "processor time for a request: the ceiling's / the worker's, with canary and shadow"
        yield figure(name, median(ratios), ">= 0.5", ratios) | {name: median(each) for name, each in took_us.items()}


def beside_bad_challengers(model: BenchModel, folder: Path) -> Iterator[Figure]:
    """The champion's p99, with and without; the challenger misbehaves at every piece for as long as it is scored."""
    sys.path.insert(0, str(TESTS))
    import canaries

    for what, value in (
        ("is 10 times slower and more", canaries.SLOW),
        ("hangs", canaries.HANGS),
        ("crashes", canaries.CRASHES),
    ):
        row = {**json.loads(model.one), "f0": value}
        script = lua(folder / f"{value:g}.lua", json.dumps(row).encode())
        state_dir = folder / f"bad-{value:g}"
        with service(model, folder / f"alone-{value:g}") as alone, service(model, state_dir, PROGRAM) as bad:
            with closing(opened(state_dir)) as database:
                rollouts.shadow(database, "fraud", arm_of(another(model, state_dir, "2", canaries.KIND)), BENCH)
            yield interleaved(
                f"champion's p99 at {CONNECTIONS} connections, beside a challenger that {what} / without one",
                "<= 1.1",
                lambda alone=alone, script=script: p99_us(alone, script),  # type: ignore[misc]
                lambda bad=bad, script=script: p99_us(bad, script),  # type: ignore[misc]
                7,
            )


def rolled_back(model: BenchModel, folder: Path) -> Iterator[Figure]:
    """From a person's command to the last answer of the canary, over 4 workers under load."""
    state_dir, port = folder / "four", free_port()
    process = launch_service(model, state_dir, port, free_port(), workers=WORKERS)
    try:
        answer_when_up(port, model.one)
        until(lambda: len(psutil.Process(process.pid).children()) >= WORKERS)
        with closing(opened(state_dir)) as database:
            other, times_s = another(model, state_dir, "2"), list[float]()
            with Clients(port, model.one) as clients:
                for _ in range(ROLLBACKS):
                    begin_canary(database, other)
                    until(lambda: "2" in clients.lately())
                    time.sleep(1.5)  # every worker has it
                    told_s = time.monotonic()
                    rollouts.roll_back(database, "fraud", BENCH)
                    time.sleep(2.5)
                    times_s.append(clients.last_s["2"] - told_s)
            yield figure(
                "rollback: command to the last answer of 4 workers by the canary, s", max(times_s), "<= 1", times_s
            )
            yield figure("... requests that failed", clients.failed, "0", [float(clients.failed)]) | {
                "requests": clients.asked,
                "median": median(times_s),
            }
    finally:
        process.terminate()
        process.wait(LAST_S)


class Clients:
    """Clients that ask without pause and remember when each version answered last."""

    def __init__(self, port: int, body: bytes) -> None:
        self._port, self._body = port, body
        self.last_s: dict[str, float] = {}
        self.failed = self.asked = 0
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(CLIENTS)]

    def lately(self) -> set[str]:
        now_s = time.monotonic()
        return {version for version, at_s in self.last_s.items() if now_s - at_s < 0.3}

    def __enter__(self) -> "Clients":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        while not self._over.is_set():
            try:
                connection.request("POST", "/predict", self._body, {"Content-Type": "application/json"})
                response = connection.getresponse()
                answer = json.loads(response.read())
            except (OSError, http.client.HTTPException):
                self.failed += 1
                connection.close()
                continue
            self.asked += 1
            if response.status == 200:
                self.last_s[answer["version"]] = time.monotonic()
            else:
                self.failed += 1


def begin_canary(database: Database, manifest: Manifest) -> None:
    """On half of the traffic, where it stays: no step ends within a measurement."""
    policy = Policy(steps=(0.5, 1.0))
    rollouts.canary(database, "fraud", arm_of(manifest), policy, Frozen(), BENCH, against="")


def arm_of(manifest: Manifest) -> Arm:
    return Arm(manifest.version, manifest.digest)


def opened(state_dir: Path) -> Database:
    database = open_database("", state_dir / "scoreline.db")
    database.prepare()
    until(lambda: heads(database))
    return database


def p99_us(running: Running, script: Path) -> float:
    value, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)\b", wrk(running.port, script, CONNECTIONS)).groups()  # type: ignore[union-attr]
    return float(value) * {"us": 1, "ms": 1e3, "s": 1e6}[unit]


def version_at(port: int, body: bytes) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
    found: dict[str, Any] = json.loads(connection.getresponse().read())
    connection.close()
    return str(found["version"])


def until(condition: Any) -> None:
    for _ in range(600):
        if condition():
            return
        time.sleep(0.1)
    raise SystemExit("what was waited for did not come")
