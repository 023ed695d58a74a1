"""Endurance: a million requests and a hundred swaps of bundles, and memory stays flat. `make soak` calls it.

One-row, 100-row and bad requests by keep-alive clients of their own processes, in Scoreline's own form, as v2 tensors
(JSON and binary), for MLflow's and KServe's routes, to XGBoost, LightGBM and a scikit-learn pipeline on words; every
answer is checked. The alias of a folder registry swaps the XGBoost bundle under load. SOAK_REQUESTS and SOAK_SWAPS
shorten it.

Memory is each process's private part, in MB: `Private_Clean + Private_Dirty + Swap` of /proc/PID/smaps_rollup. What
is shared with the parent or mapped from files by others (PSS counts shares of it) changes when another process ends, so
it says nothing of a leak. Each reading is the median of nine, without load. A warm-up of a tenth as many requests and
of 40 swaps goes before and does not count: by then caches are filled, and the allocator has found its places.
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

import lightgbm
import numpy as np
import pandas as pd
import psutil
import xgboost
from realtime import answer_when_up, figure, free_port
from run import write
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from scoreline.sealing import seal
from scoreline.signing import generate_keys

REQUESTS: Final = int(os.environ.get("SOAK_REQUESTS", "1000000"))
SWAPS: Final = int(os.environ.get("SOAK_SWAPS", "100"))
WORKERS: Final = 2
CLIENTS: Final = 4
WARM_UP: Final = 0.1
WARM_UP_SWAPS: Final = 40
QUARTERS: Final = 4
COLUMNS: Final = [f"f{number}" for number in range(20)]
WORDS: Final = {"channel": "broker", "region": "north", "cover": "full"}
ID: Final = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
_fork = multiprocessing.get_context("fork")


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="scoreline-soak-") as name:
        folder = Path(name)
        row = seal_two(folder)
        with service(folder, row) as (port, process):
            figures = list(soak(folder, port, process, row))
    command = f"make soak (SOAK_REQUESTS={REQUESTS} SOAK_SWAPS={SWAPS})"
    written = write(figures, ["soak"], command)
    for found in figures:
        print(f"{found['figure']:<70} {found['measured']:>12.3f}   {found['target']}")
    print(f"written to {written}")
    return 0 if all(found["held"] for found in figures) else 1


def soak(
    folder: Path, port: int, process: "subprocess.Popen[bytes]", row: dict[str, float]
) -> Iterator[dict[str, Any]]:
    family = {child.pid: child for child in psutil.Process(process.pid).children()}
    warm_up = under_load(folder, port, row, int(REQUESTS * WARM_UP), WARM_UP_SWAPS)
    readings, start_s = [memory_mb(process.pid, family)], time.monotonic()
    outcomes: Counter[str] = Counter()
    for _ in range(QUARTERS):
        outcomes += under_load(folder, port, row, -(-REQUESTS // QUARTERS), -(-SWAPS // QUARTERS))
        readings.append(memory_mb(process.pid, family))
    answered = sum(outcomes.values())
    outcomes += warm_up
    failed = {what: n for what, n in outcomes.items() if what not in ("one", "many", "bad")}
    yield held("requests", answered, f">= {REQUESTS}", answered >= REQUESTS, kinds=dict(outcomes))
    yield held("failed requests", sum(failed.values()), "0", not failed, failures=failed)
    yield held("swaps under load", SWAPS, f"{SWAPS}", True, seconds=round(time.monotonic() - start_s))
    died = [pid for pid in family if not psutil.pid_exists(pid)]
    yield held("processes that died", len(died), "0", not died)
    for pid, name in roles(family):
        growth = readings[-1][pid] / readings[0][pid] - 1
        last = readings[-1][pid] / readings[-2][pid] - 1
        note = f"private MB after warm-up and each quarter: {', '.join(f'{found[pid]:.2f}' for found in readings)}"
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


def memory_mb(supervisor: int, family: dict[int, psutil.Process]) -> dict[int, float]:
    time.sleep(2.0)  # what follows the last request (a segment's end, the steward's reading) is over
    return {pid: median(private_mb(pid) for _ in range(9)) for pid in (supervisor, *family)}


def private_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    kinds = ("Private_Clean:", "Private_Dirty:", "Swap:")
    return sum(int(line.split()[1]) for line in lines if line.startswith(kinds)) / 1024


def roles(family: dict[int, psutil.Process]) -> list[tuple[int, str]]:
    """Workers are started first, the steward last."""
    *workers, steward = sorted(family)
    return [*((pid, f"worker {number}") for number, pid in enumerate(workers, 1)), (steward, "steward")]


def seal_two(folder: Path) -> dict[str, float]:
    """Two versions of one model, 100 trees of depth 6 on 20 floats, in a folder registry; a row for them."""
    generate_keys(folder / "signing.key", folder / "signing.pub")
    for version in ("1", "2"):
        rng = np.random.default_rng(int(version))
        rows = pd.DataFrame(np.round(rng.normal(size=(5000, len(COLUMNS))), 6), columns=COLUMNS)
        matrix = xgboost.DMatrix(rows, (rows["f0"] + rng.normal(size=len(rows)) > 0).astype(int))
        booster = xgboost.train({"objective": "binary:logistic", "max_depth": 6, "nthread": 1}, matrix, 100)
        settings: dict[str, Any] = {"output": "p", "reference": rows, "key": folder / "signing.key"}
        seal(booster, name="fraud", version=version, out=folder / "bundles" / f"fraud-{version}", **settings)
    assign(folder, "1")
    seal_others(folder, rows)
    return dict(rows.iloc[0])


def seal_others(folder: Path, rows: pd.DataFrame) -> None:
    """LightGBM on the same fields, and a pipeline of scikit-learn on words."""
    rng = np.random.default_rng(3)
    label = (rows["f0"] + rng.normal(size=len(rows)) > 0).astype(int)
    settings: dict[str, Any] = {"version": "1", "output": "p", "key": folder / "signing.key"}
    booster = lightgbm.LGBMClassifier(n_estimators=100, n_jobs=1, verbosity=-1).fit(rows, label)
    seal(booster, name="risk", reference=rows, out=folder / "bundles" / "risk-1", **settings)
    words = pd.DataFrame({name: rng.choice([found, "other"], len(rows)) for name, found in WORDS.items()})
    model = make_pipeline(OneHotEncoder(), LogisticRegression()).fit(words, label)
    seal(model, name="claims", reference=words, out=folder / "bundles" / "claims-1", **settings)


def assign(folder: Path, version: str) -> None:
    temporary = folder / "champion"
    temporary.write_text(version)
    temporary.replace(folder / "bundles" / "fraud@champion")


@contextmanager
def service(folder: Path, row: dict[str, float]) -> Iterator[tuple[int, "subprocess.Popen[bytes]"]]:
    port = free_port()
    refs = ["folder:/fraud@champion", "folder:/risk/1", "folder:/claims/1"]
    command = [Path(sys.executable).with_name("scoreline"), "serve", *refs, "--default", "fraud", "--port", port]
    command += ["--trust", folder / "signing.pub", "--admin-port", free_port(), "--state-dir", folder / "state"]
    command += ["--workers", WORKERS]
    environment = os.environ | {
        "SCORELINE_REGISTRY__FOLDER": str(folder / "bundles"),
        "SCORELINE_REGISTRY__POLL_MS": "200",
    }
    process = subprocess.Popen(list(map(str, command)), env=environment, stdout=subprocess.DEVNULL)
    try:
        answer_when_up(port, json.dumps(row).encode())
        yield port, process
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
