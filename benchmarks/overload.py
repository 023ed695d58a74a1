"""What is answered in time when more is asked for than can be, by clients who ask whatever is answered.

The worker has core 0 for itself, the clients core 1; the steward is suspended. Peak is the best that the same clients
got answered in time at rates up to what the worker can do, on as many connections. Where the clients themselves fell
behind, the note says so.
"""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any, Final

from canary import another, ask
from measuring import Figure, figure, interleaved, lua, requests_per_s
from services import HERE, Running, service
from slow import KIND

from models import BenchModel, bench_model
from scoreline.operations.state import read_state, write_state

CONNECTIONS: Final = 1000
ROUNDS: Final = 5
ROUND_S: Final = 5.0
PEAK_RATES: Final = (0.8, 0.9, 1.0)
LAG_MS: Final = 5.0
IDLE: Final = 1000
BUDGET: Final = {"SCORELINE_LATENCY__TOTAL_MS": "200"}
SLOW: Final = 200


def measure(folder: Path) -> list[Figure]:
    model = bench_model(folder / "model", 20)
    with service(model, folder / "fast", **BUDGET) as running, running.without_steward():
        found = [*pressed(running, model, folder, "5 us model", 1.3), slow_clients(running, model, folder)]
    with slow_service(model, folder) as running:
        return [*pressed(running, model, folder, "2 ms model", 3.0), *found]


@contextlib.contextmanager
def slow_service(model: BenchModel, folder: Path) -> Iterator[Running]:
    """The same model as version 2 on the slow engine, assigned as a steward does it, and taken by the worker."""
    state_dir = folder / "slow"
    with service(model, state_dir, HERE / "slow.py", **BUDGET) as running, running.without_steward():
        other = another(model, state_dir, "2", KIND, alone=True)
        state = read_state(state_dir)
        assigned = replace(state.models["fraud"], version="2", digest=other.digest)
        write_state(state_dir, replace(state, models={"fraud": assigned}))
        while b'"version":"2"' not in ask(running.port, model.one):
            time.sleep(0.1)
        yield running


def pressed(running: Running, model: BenchModel, folder: Path, name: str, factor: float) -> Iterator[Figure]:
    """Goodput beyond capacity against the best there is, and how long it takes until all is well afterwards."""
    body, script = folder / "one.json", lua(folder / "one.lua", model.one)
    body.write_bytes(model.one)

    def offer(*phases: float) -> dict[str, Any]:
        return open_loop(running.port, body, *phases)

    capacity = median(requests_per_s(running.port, script, 32, refusals=True) for _ in range(3))
    ratios, p99s, lags, said = list[float](), list[float](), list[float](), list[dict[str, Any]]()
    for _ in range(ROUNDS):
        at_peak = [offer(rate * capacity, ROUND_S) for rate in PEAK_RATES]
        over = offer(factor * capacity, ROUND_S)
        peak = max(one["phases"][0]["goodput_per_s"] for one in at_peak)
        ratios.append(over["phases"][0]["goodput_per_s"] / peak)
        p99s.append(over["phases"][0]["p99_ms"])
        lags.append(over["lag_p99_ms"])
        said.append(over["phases"][0])
    behind = "; the clients were the limit" if median(lags) > LAG_MS else ""
    note = {"note": f"capacity {capacity:.0f}/s in a closed loop; clients' lag p99 {median(lags):.2f} ms{behind}"}
    yield (
        figure(f"{name}, {factor:g} times its capacity: goodput / peak", median(ratios), ">= 0.9", ratios)
        | note
        | {"rounds": said}
    )
    target = "<= 200" if factor > 2 else "(<= 200)"
    yield figure(f"{name}, {factor:g} times its capacity: p99 of admitted, ms", median(p99s), target, p99s)
    after = [offer(factor * capacity, ROUND_S, 0.7 * capacity, ROUND_S)["recovered_s"] for _ in range(ROUNDS)]
    yield figure(f"{name}: seconds until all is answered in time after that", median(after), "<= 2", after)


def slow_clients(running: Running, model: BenchModel, folder: Path) -> Figure:
    script = lua(folder / "held.lua", model.one)

    def held() -> float:
        with holding(running.port):
            return requests_per_s(running.port, script, 32, refusals=True)

    return interleaved(
        f"requests/s beside {IDLE} idle connections and {SLOW} that send a byte a second / without them",
        ">= 0.9",
        lambda: requests_per_s(running.port, script, 32, refusals=True),
        held,
    )


@contextlib.contextmanager
def holding(port: int) -> Iterator[None]:
    command = ["taskset", "-c", "1", sys.executable, str(HERE / "holding.py"), str(port), str(IDLE), str(SLOW)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield
        finally:
            process.kill()
            time.sleep(1)  # until all of them are gone


def open_loop(port: int, body: Path, *phases: float) -> dict[str, Any]:
    numbers = [str(port), str(body), str(CONNECTIONS), *map(str, phases)]
    command = ["taskset", "-c", "1", sys.executable, str(HERE / "openloop.py"), *numbers]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found
