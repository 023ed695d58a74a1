"""What metrics and traces cost: on the worker, and of the steward, which does all of it from the record.

A worker adds two things to a request: in its frame the caller's span and when it was written, and where it is refused a
count in shared memory. A steward folds, counts and ships decisions, on one core, with SQLite; what the worker can make
of one-row requests at most stands beside it, by `wrk` against the real service.
"""

import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any, Final

from measuring import figure, lua, requests_per_s
from services import service
from shipping import ROWS, fill
from sqlalchemy import func, select

from models import BenchModel, bench_model
from scoreline.control.steward import Steward
from scoreline.core.counts import Counts
from scoreline.core.decision import Decisions
from scoreline.core.manifest import MANIFEST, Manifest
from scoreline.operations.install import install
from scoreline.records import frames
from scoreline.records.drift_tables import INBOX
from scoreline.records.segments import segments
from scoreline.records.spool import read_spool
from scoreline.settings import Settings, load_settings
from scoreline.signing import TrustStore

ROUNDS: Final = 7
FRAMES: Final = 20_000


def measure(folder: Path) -> Iterator[dict[str, Any]]:
    model = bench_model(folder / "20", 20)
    fill(folder / "spool", Manifest.from_bytes((model.bundle / MANIFEST).read_bytes()).digest)
    some = next(iter(read_spool(folder / "spool")))
    yield on_a_request(some)
    yield on_a_refusal()
    at_most = list(what_a_worker_makes(model, folder))
    yield figure("requests/s that one worker makes at most (for comparison)", median(at_most), "", at_most)
    target = min(20_000.0, median(at_most))
    found = [of_a_steward(model, folder, number) for number in range(3)]
    yield figure("decisions/s of a whole steward, one core", median(found), f">= {target:.0f}", found)
    found = [of_counting(model, folder) for _ in range(3)]
    yield figure("... of it counting for metrics alone", median(found), f">= {target:.0f}", found)


def on_a_request(decisions: Decisions) -> dict[str, Any]:
    """Two fields of a frame and the time of the write, beside the frame without them, in turns."""
    decisions.context = replace(decisions.context, parent="00f067aa0ba902b7-01")
    ((whole, _),) = frames.read_parts(bytes(frames.frame_decisions(0, decisions)))
    without = tuple(whole[:-2])
    values = []
    for _ in range(ROUNDS):
        with_them = timed_us(lambda: frames._append(bytearray(), (*without, whole[-2], time.time_ns())))
        values.append(with_them - timed_us(lambda: frames._append(bytearray(), without)))
    return figure("metrics and traces on the worker, us a request", median(values), "<= 3", values)


def on_a_refusal() -> dict[str, Any]:
    counts = Counts()
    values = [timed_us(lambda: counts.add("refusals", "fraud", "rows-refused")) for _ in range(ROUNDS)]
    return figure("... us a refusal", median(values), "<= 3", values)


def timed_us(call: Any) -> float:
    start_ns = time.perf_counter_ns()
    for _ in range(FRAMES):
        call()
    return (time.perf_counter_ns() - start_ns) / FRAMES / 1e3


def what_a_worker_makes(model: BenchModel, folder: Path) -> Iterator[float]:
    with service(model, folder / "state") as running:
        one = lua(folder / "one.lua", model.one)
        for _ in range(3):
            with running.without_steward():  # it shares the core of the load generator
                yield requests_per_s(running.port, one, 32)


def of_a_steward(model: BenchModel, folder: Path, number: int) -> float:
    """All that a steward does with decisions, from a full spool to an empty one."""
    state_dir = folder / f"steward-{number}"
    steward = Steward(settings_of(model, folder, state_dir))
    start_s = on_one_core()
    while steward.tail() or steward.shipping.look() or segments(state_dir / "spool"):
        steward.keep()
    spent_s = time.perf_counter() - start_s
    (tally,) = steward.status()["decisions"]
    if tally["decisions"] != ROWS or steward.status()["database"]["shipped"] != ROWS:
        raise SystemExit("the steward lost decisions")
    with steward.database.reading() as connection:
        if not connection.scalar(select(func.count()).select_from(INBOX)):
            raise SystemExit("nothing was counted for drift")
    steward.database.close()
    return ROWS / spent_s


def of_counting(model: BenchModel, folder: Path) -> float:
    state_dir = folder / "counting"
    steward = Steward(settings_of(model, folder, state_dir))
    start_s = on_one_core()
    while steward.tail():
        pass
    list(steward.samples())
    spent_s = time.perf_counter() - start_s
    shutil.rmtree(state_dir)
    return ROWS / spent_s


def settings_of(model: BenchModel, folder: Path, state_dir: Path) -> Settings:
    """Of a host that has the bundle, so that decisions are held against its reference, and a full spool."""
    install(str(model.bundle), {}, TrustStore.from_files([model.trust]), state_dir)
    shutil.copytree(folder / "spool", state_dir / "spool")
    (state_dir / "state.json").write_text('{"format": 1, "models": {}, "default": ""}')
    return load_settings(None, {}, {"state_dir": str(state_dir)})


def on_one_core() -> float:
    os.sched_setaffinity(0, {1})
    return time.perf_counter()
