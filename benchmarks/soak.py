"""Endurance: a million requests and a hundred swaps of bundles, and memory stays flat. `make soak` calls it.

One-row, 100-row and bad requests by keep-alive clients of their own processes, in Scoreline's own form, as v2 tensors
(JSON and binary), for MLflow's and KServe's routes, to XGBoost, LightGBM and a scikit-learn pipeline on words; every
answer is checked. The alias of a folder registry swaps the XGBoost bundle under load. SOAK_REQUESTS and SOAK_SWAPS
shorten it.

Memory is each process's private part, in MB: `Private_Clean + Private_Dirty + Swap` of /proc/PID/smaps_rollup. What
is shared with the parent or mapped from files by others (PSS counts shares of it) changes when another process ends, so
it says nothing of a leak. It is read without load, in each quarter 24 times, with two swaps or more between, and the
median counts: whatever is loaded lies otherwise in memory each time, by some hundred kB. It is always the same
version's turn then, as versions differ in size, and the steward has counted and shipped all there is. Ten minutes of
warm-up go before, because the steward keeps the times of requests for so long, and then a quarter more, with as many
requests and swaps in each round as in the others, because how much lies in memory depends on how much comes at once:
what the quarters are compared with is this one.
"""

import json
import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np
import psutil
from report import figure, write
from services import PATIENT_MS, answer_when_up, free_port
from soak_models import WORDS, assign, seal_two

from scoreline.records.spent import RECENT_S

REQUESTS: Final = int(os.environ.get("SOAK_REQUESTS", "1000000"))
SWAPS: Final = int(os.environ.get("SOAK_SWAPS", "100"))
WORKERS: Final = 2
CLIENTS: Final = 4
WARM_UP: Final = 0.02
WARM_UP_SWAPS: Final = 8
WARM_UP_S: Final = RECENT_S * min(1.0, REQUESTS / 1_000_000)
QUARTERS: Final = 4
ROUNDS: Final = 24
ID: Final = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
_fork = multiprocessing.get_context("fork")


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="scoreline-soak-") as name:
        folder = Path(name)
        row = seal_two(folder)
        with service(folder, row) as (port, admin_port, process):
            figures = list(soak(folder, port, admin_port, process, row))
    command = f"make soak (SOAK_REQUESTS={REQUESTS} SOAK_SWAPS={SWAPS})"
    written = write(figures, ["soak"], command)
    for found in figures:
        print(f"{found['figure']:<70} {found['measured']:>12.3f}   {found['target']}")
    print(f"written to {written}")
    return 0 if all(found["held"] for found in figures) else 1


def soak(
    folder: Path, port: int, admin_port: int, process: "subprocess.Popen[bytes]", row: dict[str, float]
) -> Iterator[dict[str, Any]]:
    family = {child.pid: child for child in psutil.Process(process.pid).children()}
    readings: list[list[dict[int, float]]] = []

    def in_rounds(requests: int, swaps: int) -> Counter[str]:
        """The outcomes of so many requests and swaps; memory is read after each round of them."""
        outcomes, found = Counter[str](), list[dict[int, float]]()
        for _ in range(ROUNDS):
            outcomes += under_load(folder, port, row, -(-requests // ROUNDS), 2 * -(-swaps // (2 * ROUNDS)))
            until(lambda: is_idle(admin_port), "all is counted and shipped")
            found.append(memory_mb(process.pid, family))
        readings.append(found)
        return outcomes

    quarter = -(-REQUESTS // QUARTERS), -(-SWAPS // QUARTERS)
    warm_up, start_s = Counter[str](), time.monotonic()
    while time.monotonic() - start_s < WARM_UP_S:
        warm_up += under_load(folder, port, row, int(REQUESTS * WARM_UP), WARM_UP_SWAPS)
    warm_up += in_rounds(*quarter)
    outcomes, start_s = Counter[str](), time.monotonic()
    for _ in range(QUARTERS):
        outcomes += in_rounds(*quarter)
    answered = sum(outcomes.values())
    outcomes += warm_up
    failed = {what: n for what, n in outcomes.items() if what not in ("one", "many", "bad")}
    yield held("requests", answered, f">= {REQUESTS}", answered >= REQUESTS, kinds=dict(outcomes))
    yield held("failed requests", sum(failed.values()), "0", not failed, failures=failed)
    n_swaps = QUARTERS * ROUNDS * 2 * -(-SWAPS // (2 * ROUNDS * QUARTERS))
    yield held("swaps under load", n_swaps, f">= {SWAPS}", n_swaps >= SWAPS, seconds=round(time.monotonic() - start_s))
    died = [pid for pid in family if not psutil.pid_exists(pid)]
    yield held("processes that died", len(died), "0", not died)
    for pid, name in roles(family):
        yield from flat(name, [[found[pid] for found in quarter] for quarter in readings])


def flat(name: str, readings: list[list[float]]) -> Iterator[dict[str, Any]]:
    mb = [median(found) for found in readings]
    growth, last = mb[-1] / mb[0] - 1, mb[-1] / mb[-2] - 1
    ranges = (f"{median(found):.2f} ({min(found):.2f} to {max(found):.2f})" for found in readings)
    note = f"private MB in the quarter before and each quarter: {', '.join(ranges)}"
    yield held(f"growth of memory, {name}, %", 100 * growth, "<= 2", growth <= 0.02, note=note)
    yield held(f"... of it in the last quarter, {name}, %", 100 * last, "<= .5", last <= 0.005)


def held(name: str, value: float, target: str, kept: bool, **more: Any) -> dict[str, Any]:
    return figure(name, value, target, [value]) | {"held": kept} | more


def under_load(folder: Path, port: int, row: dict[str, float], requests: int, swaps: int) -> Counter[str]:
    """So many requests by all clients, with the swaps spread over them; what became of each request, counted."""
    done = _fork.Value("q", 0)
    results = _fork.SimpleQueue()
    share = -(-requests // CLIENTS)
    clients = [
        _fork.Process(target=ask, args=(port, row, share, number, done, results), daemon=True)
        for number in range(CLIENTS)
    ]
    for client in clients:
        client.start()
    for number in range(swaps):
        until(lambda number=number: done.value >= requests * (number + 0.5) / swaps, "the clients go on", 3600)
        version = "12"[version_at(port, row) == "1"]
        assign(folder, version)
        until(lambda version=version: version_at(port, row) == version, f"version {version} answers")
    found = sum((results.get() for _ in clients), Counter[str]())
    for client in clients:
        client.join()
    return found


def ask(port: int, row: dict[str, float], requests: int, seed: int, done: Any, results: Any) -> None:
    """One client: of a hundred requests ten have 100 rows and five are bad; it retries nothing."""
    rng = np.random.default_rng(seed)
    sent = {kind: forms(row, n_rows) for kind, n_rows in (("one", 1), ("many", 100))}
    many = sent["many"][0].body
    bad = [b"", b"{", b"[]", b"{}", json.dumps({**row, "f0": "abc"}).encode(), b"[" * 10_000, many[:-1], b"\xff"]
    sent["bad"] = [Form(form.path, form.headers, body) for form in sent["one"] for body in bad]
    outcomes: Counter[str] = Counter()
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    for number, draw in enumerate(rng.random(requests)):
        kind = "bad" if draw < 0.05 else "many" if draw < 0.15 else "one"
        form = sent[kind][number % len(sent[kind])]
        try:
            connection.request("POST", form.path, form.body, form.headers)
            response = connection.getresponse()
            content = response.read()
        except (OSError, HTTPException) as error:
            outcomes[f"{kind}: {type(error).__name__}"] += 1
            connection.close()
            continue
        good = response.status in (400, 422) if kind == "bad" else response.status == 200
        good = good and (kind == "bad" or form.n_ids(content) == {"one": 1, "many": 100}[kind])
        outcomes[kind if good else f"{kind} {form.path}: {response.status}"] += 1
        if number % 100 == 99:
            with done.get_lock():
                done.value += 100
    with done.get_lock():
        done.value += requests % 100
    results.put(outcomes)


@dataclass(frozen=True)
class Form:
    """A request in one protocol."""

    path: str
    headers: dict[str, str]
    body: bytes

    def n_ids(self, content: bytes) -> int:
        """How many predictions an answer names by their ids."""
        return len(ID.findall(content))


def forms(row: dict[str, float], n_rows: int) -> list[Form]:
    """The same rows in every protocol and for every model."""
    rows, words = [row] * n_rows, [WORDS] * n_rows
    columns = [
        {"name": name, "datatype": "FP64", "shape": [n_rows], "data": [value] * n_rows} for name, value in row.items()
    ]
    tensors, binary = binary_tensors(row, n_rows)
    own = rows if n_rows > 1 else row
    return [
        as_json("/models/fraud/predict", own),
        as_json("/models/risk/predict", own),
        as_json("/models/claims/predict", words if n_rows > 1 else WORDS),
        as_json("/v1/models/risk:predict", {"instances": rows}),
        as_json("/invocations", {"dataframe_records": rows}),
        as_json("/v2/models/fraud/infer", {"inputs": columns}),
        Form("/v2/models/risk/infer", {"Inference-Header-Content-Length": str(len(tensors))}, tensors + binary),
    ]


def as_json(path: str, body: object) -> Form:
    return Form(path, {"Content-Type": "application/json"}, json.dumps(body).encode())


def binary_tensors(row: dict[str, float], n_rows: int) -> tuple[bytes, bytes]:
    values = np.tile(np.array(list(row.values())), (n_rows, 1))
    tensor = {"name": "all", "datatype": "FP64", "shape": [n_rows, len(row)]}
    tensor["parameters"] = {"binary_data_size": values.nbytes}
    return json.dumps({"inputs": [tensor]}).encode(), values.tobytes()


def is_idle(admin_port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", admin_port, timeout=30)
    connection.request("GET", "/status")
    found = json.loads(connection.getresponse().read())
    connection.close()
    return not found["spool"]["lag_bytes"] and not found["database"]["lag_bytes"]


def memory_mb(supervisor: int, family: dict[int, psutil.Process]) -> dict[int, float]:
    time.sleep(2.0)  # what follows the last request (a segment's end, the steward's reading) is over
    return {pid: private_mb(pid) for pid in (supervisor, *family)}


def private_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    kinds = ("Private_Clean:", "Private_Dirty:", "Swap:")
    return sum(int(line.split()[1]) for line in lines if line.startswith(kinds)) / 1024


def roles(family: dict[int, psutil.Process]) -> list[tuple[int, str]]:
    """Workers are started first, then the steward, the shadow last."""
    *workers, steward, shadow = sorted(family)
    named = [(pid, f"worker {number}") for number, pid in enumerate(workers, 1)]
    return [*named, (steward, "steward"), (shadow, "shadow")]


@contextmanager
def service(folder: Path, row: dict[str, float]) -> Iterator[tuple[int, int, "subprocess.Popen[bytes]"]]:
    port, admin_port = free_port(), free_port()
    refs = ["folder:/fraud@champion", "folder:/risk/1", "folder:/claims/1"]
    command = [Path(sys.executable).with_name("scoreline"), "serve", *refs, "--default", "fraud", "--port", port]
    command += ["--trust", folder / "signing.pub", "--admin-port", admin_port, "--state-dir", folder / "state"]
    command += ["--workers", WORKERS]
    environment = os.environ | {
        "SCORELINE_REGISTRY__FOLDER": str(folder / "bundles"),
        "SCORELINE_REGISTRY__POLL_MS": "200",
        "SCORELINE_ROLLOUT__ALIAS_MOVED": "serve",
        "SCORELINE_LATENCY__TOTAL_MS": PATIENT_MS,
    }
    process = subprocess.Popen(list(map(str, command)), env=environment, stdout=subprocess.DEVNULL)
    try:
        answer_when_up(port, json.dumps(row).encode())
        yield port, admin_port, process
    finally:
        process.terminate()
        process.wait(60)


def version_at(port: int, row: dict[str, float]) -> str:
    """The version every worker answers with by now; empty while they differ."""
    found = set()
    for _ in range(4 * WORKERS):  # a new connection each: either worker may take it
        connection = HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("POST", "/predict", json.dumps(row), {"Content-Type": "application/json"})
        found.add(json.loads(connection.getresponse().read())["version"])
        connection.close()
    return found.pop() if len(found) == 1 else ""


def until(condition: Callable[[], bool], what: str, patience_s: float = 120.0) -> None:
    deadline_s = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > deadline_s:
            raise SystemExit(f"waited in vain until {what}")
        time.sleep(0.02)


if __name__ == "__main__":
    sys.exit(main())
