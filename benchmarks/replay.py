"""The figures of replay: recorded single rows computed again by `scoreline replay --all`, in a process on one core."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from models import BenchModel, bench_model, pipeline_model
from scoreline.core.batch import NO_DEFAULTS, Batch, Context
from scoreline.core.bundle import read_bundle
from scoreline.core.rows import read_rows
from scoreline.core.scorer import Scorer
from scoreline.engines.load import load_engine
from scoreline.operations.install import install
from scoreline.records.writer import SpoolWriter
from scoreline.signing import TrustStore

DECISIONS: Final = 100_000
SCORELINE: Final = str(Path(sys.executable).with_name("scoreline"))


def measure() -> list[dict[str, Any]]:
    """100 trees on 20 floats, and the same at the end of a pipeline: from start to end of the process."""
    found = []
    with tempfile.TemporaryDirectory(prefix="scoreline-bench-") as folder:
        for name, make in (("20 floats", lambda path: bench_model(path, 20)), ("a pipeline", pipeline_model)):
            state_dir = Path(folder) / name / "state"
            record(make(Path(folder) / name / "model"), state_dir)
            found += replayed(name, state_dir)
    return found


def record(model: BenchModel, state_dir: Path) -> None:
    """The bundle in the state folder, and as many requests of one row in its spool."""
    trust = TrustStore.from_files([model.trust])
    install(str(model.bundle), {}, trust, state_dir)
    bundle = read_bundle(model.bundle, trust)
    score, writer = Scorer(bundle.manifest, load_engine(bundle)), SpoolWriter(state_dir / "spool", 1 << 26)
    values = read_rows(bundle.manifest.schema, json.loads(model.many), Context(0)).values
    for number in range(DECISIONS):
        row = number % len(values)
        writer.write(score(Batch(values[row : row + 1], Context(time.time_ns()), NO_DEFAULTS)))
    writer.close()


def replayed(name: str, state_dir: Path) -> list[dict[str, Any]]:
    """Decisions a minute, and the share whose margins are equal."""
    command = [SCORELINE, "replay", "--all", "--state-dir", str(state_dir)]
    start_s = time.perf_counter()
    said = subprocess.run(
        command, check=True, capture_output=True, text=True, preexec_fn=lambda: os.sched_setaffinity(0, {0})
    ).stdout
    elapsed_s = time.perf_counter() - start_s
    equal = f"{DECISIONS:,} decisions: {DECISIONS:,} equal" in said
    rate = f"replay, {name}, decisions a minute on one core"
    return [
        {"figure": rate, "measured": DECISIONS / elapsed_s * 60, "target": ">= 100,000"},
        {"figure": f"replay, {name}, all equal (1: yes)", "measured": float(equal), "target": "1"},
    ]


if __name__ == "__main__":
    print(json.dumps(measure(), indent=1))
