"""A trial: a verified bundle is loaded, self-tested and asked in a limited process of its own before it answers anyone.

A signature says who made a file, not that a library survives reading it. `python -m scoreline.operations.trial` is that
process.
"""

import math
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

import numpy as np

from scoreline.core.bundle import read_bundle
from scoreline.core.errors import BundleError, EngineFailed
from scoreline.core.link import Floats
from scoreline.core.ports import Engine
from scoreline.core.schema import Field, Schema
from scoreline.engines.load import load_engine
from scoreline.operations.apart import CPU_S, LEAST_BYTES, answer_apart, memory_for, run_apart
from scoreline.operations.bundles import ByDigest

ROWS: Final = 1000
ROWS_ALONE: Final = 100
SEED: Final = 20_240_229


def try_out(bundle: Path, digest: str, *, cpu_s: int = CPU_S, least_bytes: int = LEAST_BYTES) -> None:
    """Loads `bundles/<digest>` apart from this process; raises BundleError with what became of it."""
    limits = (str(cpu_s), str(memory_for(bundle, least_bytes)))
    ended = run_apart("scoreline.operations.trial", str(bundle), digest, *limits)
    if ended.code == 0:
        return
    what = f"bundles/{digest}: "
    if ended.code is None:
        raise BundleError(f"{what}its trial was not over in time; it is not taken")
    if ended.refusal:
        raise BundleError(f"{what}{ended.refusal}")
    raise BundleError(
        f"{what}its model file ended the process that tried it (code {ended.code}); it is not taken: "
        "seal the model again, and ask who signed this"
    )


def _ask(engine: Engine, schema: Schema) -> None:
    """Scores rows as the schema lets them in, drawn with a fixed seed: which tree, or branch, they reach is not known.

    A model that refuses some of them answers; one that ends the process does not.
    """
    rows = random_rows(schema, ROWS, SEED)
    for part in (rows, *(rows[row : row + 1] for row in range(ROWS_ALONE))):
        with suppress(EngineFailed):
            engine.predict(part)


def random_rows(schema: Schema, n_rows: int, seed: int) -> Floats:
    """Rows within the schema's bounds, half of the numbers by size and half evenly; a tenth is missing where it may."""
    rng = np.random.default_rng(seed)
    columns = []
    for field in schema.fields:
        if field.type == "category":
            values = rng.integers(0, len(field.categories), n_rows).astype(np.float64)
        else:
            values = _numbers(field, n_rows, rng)
        may_be_missing = field.nullable or field.unseen == "missing" or field.default_value != field.default_value
        columns.append(np.where(may_be_missing & (rng.random(n_rows) < 0.1), np.nan, values))
    return np.stack(columns, axis=1)


def _numbers(field: Field, n_rows: int, rng: np.random.Generator) -> Floats:
    low, high = (0.0, 1.0) if field.type == "boolean" else field.bounds
    evenly = rng.uniform(low, high, n_rows)
    by_size = np.copysign(10.0 ** rng.uniform(-3, 10, n_rows), rng.normal(size=n_rows))
    found = np.clip(np.where(rng.random(n_rows) < 0.5, evenly, by_size), low, high)
    whole = np.clip(np.round(found), math.ceil(low), math.floor(high)) if field.type != "number" else found
    return np.asarray(whole, np.float64)


def _main(bundle: Path, digest: str, cpu_s: int, n_bytes: int) -> int:
    def try_it() -> bytes:
        found = read_bundle(bundle, ByDigest(digest))
        _ask(load_engine(found), found.manifest.schema)
        return b""

    return answer_apart(try_it, cpu_s, n_bytes)


if __name__ == "__main__":
    sys.exit(_main(Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:])))
