"""What the batch door costs beside the native libraries: speed as a ratio in one run, memory by size of the input.

    python benchmarks/batch.py

Both sides read the same Parquet file of 20 float columns, score 100 trees of depth 6 with one thread on one core, and
write the same columns. The native side is pyarrow + `Booster.inplace_predict` + pyarrow, without schema, rejects,
fsync or resume. Needs 4 GB of disk in TMPDIR.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

FEATURES = [f"feature_{number}" for number in range(20)]
THRESHOLDS = {"review": 0.5, "refuse": 0.8}
ROW_GROUP = 1 << 20
RATIO_ROWS = 2_000_000
PAIRS = 5
MEMORY_ROWS = (1_000_000, 5_000_000, 20_000_000)


def measure() -> list[dict[str, Any]]:
    """Rows of figure, measured and target; everything runs in subprocesses pinned to one core."""
    with tempfile.TemporaryDirectory(prefix="scoreline-batch-") as name:
        folder = Path(name)
        _run("prepare", folder)
        pairs = _run("ratio", folder)
        ratios = [pair["native"]["wall_s"] / pair["batch"]["wall_s"] for pair in pairs]
        on_cpu = statistics.median(pair["native"]["cpu_s"] / pair["batch"]["cpu_s"] for pair in pairs)
        memory = {rows: _run("memory", folder, rows)["peak_mb"] for rows in MEMORY_ROWS}
    least, *_, most = MEMORY_ROWS
    ours, theirs = (statistics.median(pair[side]["wall_s"] for pair in pairs) for side in ("batch", "native"))
    return [
        {
            "figure": "batch Parquet -> Parquet / native libraries, rows per second",
            "measured": round(statistics.median(ratios), 3),
            "target": ">= 0.8",
            "met": statistics.median(ratios) >= 0.8,
            "detail": f"{len(pairs)} pairs, {min(ratios):.3f} to {max(ratios):.3f}; "
            f"{RATIO_ROWS / ours:,.0f} and {RATIO_ROWS / theirs:,.0f} rows/s; {on_cpu:.3f} in CPU time",
        },
        {
            "figure": f"peak memory at {most:,} rows / at {least:,} rows",
            "measured": round(memory[most] / memory[least], 3),
            "target": "<= 1.1",
            "met": memory[most] / memory[least] <= 1.1,
            "detail": ", ".join(f"{rows:,} rows: {peak:.0f} MB" for rows, peak in memory.items()),
        },
    ]


def _run(step: str, folder: Path, rows: int = RATIO_ROWS) -> Any:
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, step, str(folder), str(rows)]
    done = subprocess.run(command, env=env, check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout)


def _prepare(folder: Path) -> None:
    """Seals a model and writes the inputs."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq
    import xgboost

    from scoreline.sealing import seal
    from scoreline.signing import generate_keys

    rng = np.random.default_rng(7)
    values = rng.normal(size=(50_000, len(FEATURES))).astype(np.float32)
    labels = values[:, 0] + values[:, 1] * values[:, 2] + rng.normal(size=len(values)) > 0.3
    matrix = xgboost.DMatrix(values, labels, feature_names=FEATURES)
    booster = xgboost.train({"objective": "binary:logistic", "max_depth": 6, "nthread": 1}, matrix, 100)
    booster.save_model(folder / "model.ubj")
    generate_keys(folder / "key", folder / "key.pub")
    reference = pa.table(dict(zip(FEATURES, values[:5000].astype(np.float64).T, strict=True)))
    seal(
        booster, name="bench", output="score", reference=reference, key=folder / "key", out=folder / "bundle",
        thresholds=THRESHOLDS,
    )  # fmt: skip
    schema = pa.schema([(name, pa.float64()) for name in FEATURES])
    for rows in {RATIO_ROWS, *MEMORY_ROWS}:
        with pq.ParquetWriter(folder / f"{rows}.parquet", schema) as writer:
            for start in range(0, rows, ROW_GROUP):
                size = (len(FEATURES), min(ROW_GROUP, rows - start))
                columns = rng.standard_normal(size=size, dtype=np.float32).astype(np.float64)
                writer.write_table(pa.table(list(columns), schema=schema))


def _batch(folder: Path, rows: int) -> dict[str, float]:
    from scoreline.core.bundle import read_bundle
    from scoreline.core.scorer import Scorer
    from scoreline.doors.batch import run_batch
    from scoreline.engines.load import load_engine
    from scoreline.signing import TrustStore

    bundle = read_bundle(folder / "bundle", TrustStore.from_files([folder / "key.pub"]))
    scorer = Scorer(bundle.manifest, load_engine(bundle))
    start = _clocks()
    report = run_batch(scorer, bundle.manifest, folder / f"{rows}.parquet", folder / "batch.parquet")
    assert report.scored == rows
    return _since(start)


def _native(folder: Path, rows: int) -> dict[str, float]:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq
    import xgboost

    booster = xgboost.Booster({"nthread": 1}, model_file=folder / "model.ubj")
    outcomes = pa.array(["approve", *THRESHOLDS])
    bounds = list(THRESHOLDS.values())
    schema = pa.schema(
        [("row", pa.int64()), ("score", pa.float64()), ("outcome", pa.dictionary(pa.int32(), pa.string()))]
    )
    start = _clocks()
    # Reader and writer are set as the batch door sets them, which is faster than their defaults.
    options = {"use_dictionary": ["outcome"], "column_encoding": {"row": "DELTA_BINARY_PACKED"}}
    with (
        pq.ParquetFile(folder / f"{rows}.parquet", buffer_size=1 << 16, pre_buffer=False) as source,
        pq.ParquetWriter(folder / "native.parquet", schema, **options) as target,
    ):
        position = 0
        for batch in source.iter_batches(65_536, use_threads=False):
            values = np.column_stack([column.to_numpy() for column in batch.columns])
            scores = booster.inplace_predict(values).astype(np.float64)
            codes = pa.array(np.searchsorted(bounds, scores, side="right").astype(np.int32))
            outcome = pa.DictionaryArray.from_arrays(codes, outcomes)
            numbers = np.arange(position, position + len(scores))
            target.write_batch(pa.record_batch([pa.array(numbers), pa.array(scores), outcome], schema=schema))
            position += len(scores)
    return _since(start)


def _clocks() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _since(start: tuple[float, float]) -> dict[str, float]:
    wall, cpu = _clocks()
    return {"wall_s": wall - start[0], "cpu_s": cpu - start[1]}


def _ratio(folder: Path, rows: int) -> list[dict[str, dict[str, float]]]:
    """Interleaved pairs, each side first in turn; the first pair warms up and does not count."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    pa.set_cpu_count(1)
    sides = {"batch": _batch, "native": _native}
    pairs = []
    for number in range(PAIRS + 1):
        order = list(sides) if number % 2 else list(reversed(sides))
        pairs.append({side: sides[side](folder, rows) for side in order})
        same = [pq.read_table(folder / f"{side}.parquet") for side in sides]
        assert same[0].drop_columns("score").equals(same[1].drop_columns("score"))
        (folder / "batch.parquet").unlink()
    return pairs[1:]


def _memory(folder: Path, rows: int) -> dict[str, float]:
    times = _batch(folder, rows)
    (folder / "batch.parquet").unlink()
    return {"peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, **times}


def _step(step: str, folder: Path, rows: int) -> object:
    """One step, on the last core this process may use."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    if step == "ratio":
        return _ratio(folder, rows)
    if step == "memory":
        return _memory(folder, rows)
    _prepare(folder)
    return None


def main() -> None:
    rows = measure()
    print("figure | measured | target")
    for row in rows:
        print(f"{row['figure']} | {row['measured']} | {row['target']}  ({row['detail']})")
    if not all(row["met"] for row in rows):
        sys.exit(1)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(_step(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))))
    else:
        main()
