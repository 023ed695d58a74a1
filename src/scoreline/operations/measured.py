"""How long a bundle takes for one row, measured apart: in a limited process of its own, on golden and random rows.

`python -m scoreline.operations.measured` is that process. It stops after a while: a slow model is measured on fewer
rows, and its 99th percentile is then that of those.
"""

import json
import math
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np

from scoreline.core.bundle import Bundle, read_bundle
from scoreline.core.errors import BundleError, EngineFailed
from scoreline.core.link import Floats
from scoreline.engines.load import load_engine
from scoreline.operations.apart import CPU_S, answer_apart, memory_for, run_apart
from scoreline.operations.bundles import ByDigest
from scoreline.operations.trial import random_rows

ROWS: Final = 3000
WARM: Final = 20
LASTS_S: Final = 5.0  # well within the lease of a controller that asks
SEED: Final = 20_251_127
_MS: Final = 1e6


@dataclass(frozen=True, slots=True)
class Measured:
    """Milliseconds of the engine for one row, over so many rows."""

    rows: int
    p50_ms: float
    p99_ms: float


def measure(bundle: Path, digest: str) -> Measured:
    """What a verified bundle takes on this host; raises BundleError where its process does not end as it should."""
    ended = run_apart("scoreline.operations.measured", str(bundle), digest, str(CPU_S), str(memory_for(bundle)))
    if ended.code is None:
        raise BundleError(f"bundles/{digest}: the measurement of its time was not over in time; it is too slow")
    if ended.code != 0:
        died = f"its model file ended the process that measured it (code {ended.code}): ask who signed it"
        raise BundleError(f"bundles/{digest}: {ended.refusal or died}")
    try:
        found = Measured(**json.loads(ended.answer))
    except (ValueError, TypeError):  # the process has read a model file, and may say anything
        raise BundleError(f"bundles/{digest}: the process that measured it answered what cannot be read") from None
    if not all(_is_number(one) for one in (found.rows, found.p50_ms, found.p99_ms)):
        raise BundleError(f"bundles/{digest}: the process that measured it answered what is no time")
    return found


def _is_number(one: object) -> bool:
    return isinstance(one, int | float) and not isinstance(one, bool) and math.isfinite(one) and one >= 0


def _measure(bundle: Bundle) -> Measured:
    engine, took = load_engine(bundle), list[int]()
    until_s = time.monotonic() + LASTS_S
    for row in _rows(bundle):
        start_ns = time.perf_counter_ns()
        with suppress(EngineFailed):  # a row that it refuses took its time, too
            engine.predict(row)
        took.append(time.perf_counter_ns() - start_ns)
        if time.monotonic() > until_s:
            break
    counted = took[WARM:] or took  # the first ones find nothing in caches
    p50, p99 = np.quantile(counted, (0.5, 0.99), method="higher").tolist()
    return Measured(len(counted), p50 / _MS, p99 / _MS)


def _rows(bundle: Bundle) -> Iterator[Floats]:
    """Single rows, golden and random by turns."""
    golden, schema = bundle.golden.values, bundle.manifest.schema
    random = random_rows(schema, (ROWS + WARM) // 2, SEED)
    for number in range(len(random)):
        for table in (golden, random):
            at = number % len(table)
            yield table[at : at + 1]


def _main(bundle: Path, digest: str, cpu_s: int, n_bytes: int) -> int:
    def measure_it() -> bytes:
        return json.dumps(asdict(_measure(read_bundle(bundle, ByDigest(digest))))).encode()

    return answer_apart(measure_it, cpu_s, n_bytes)


if __name__ == "__main__":
    sys.exit(_main(Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:])))
