"""A trial: a verified bundle is loaded, self-tested and asked in a limited process of its own before it answers anyone.

A signature says who made a file, not that a library survives reading it. `python -m scoreline.operations.trial` is that
process.
"""

import math
import os
import resource
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

import numpy as np

from scoreline.core.bundle import SIGNATURE, read_bundle
from scoreline.core.errors import BundleError, EngineFailed, ScorelineError, SignatureRefused
from scoreline.core.link import Floats
from scoreline.core.manifest import MANIFEST
from scoreline.core.ports import Engine
from scoreline.core.schema import Field, Schema
from scoreline.engines.load import load_engine

CPU_S: Final = 60
PATIENCE_S: Final = 120
LEAST_BYTES: Final = 4 << 30
BYTES_PER_BYTE: Final = 16
MAX_ANSWER_BYTES: Final = 2000
ROWS: Final = 1000
ROWS_ALONE: Final = 100
SEED: Final = 20_240_229


def try_out(bundle: Path, digest: str, *, cpu_s: int = CPU_S, least_bytes: int = LEAST_BYTES) -> None:
    """Loads `bundles/<digest>` apart from this process; raises BundleError with what became of it."""
    limits = [str(cpu_s), str(least_bytes)]
    command = [sys.executable, "-P", "-m", "scoreline.operations.trial", str(bundle), digest, *limits]
    try:
        ended = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # a library in trouble may write whatever it likes, for as long as it likes
            timeout=PATIENCE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise BundleError(f"bundles/{digest}: its trial was not over after {PATIENCE_S} s; it is not taken") from None
    if ended.returncode == 0:
        return
    if ended.returncode == 1 and ended.stdout:
        raise BundleError(f"bundles/{digest}: {_one_line(ended.stdout)}")
    raise BundleError(
        f"bundles/{digest}: its model file ended the process that tried it (code {ended.returncode}); it is not taken: "
        "seal the model again, and ask who signed this"
    )


def _one_line(raw: bytes) -> str:
    """What the trial said, as it can stand in a log: a library's own words may repeat bytes of the model."""
    return "".join(char if char.isprintable() else "?" for char in raw.decode("utf-8", "replace").strip())


class _Known:
    """Takes the bundle of one digest, whoever signed it: it was verified when it was installed."""

    def __init__(self, digest: str) -> None:
        self._digest = digest

    def verify(self, _: bytes, digests: dict[str, str]) -> str:
        if digests.get(MANIFEST) != self._digest:
            raise SignatureRefused("it is another bundle than the one to try")
        return ""


def _limit(n_bytes: int, cpu_s: int) -> None:
    limits = (
        (resource.RLIMIT_AS, n_bytes),
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    )
    for kind, most in limits:
        resource.setrlimit(kind, (most, most))


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


def _main(bundle: Path, digest: str, cpu_s: int, least_bytes: int) -> int:
    size = sum(file.stat().st_size for file in bundle.iterdir() if file.name != SIGNATURE)
    _limit(max(least_bytes, BYTES_PER_BYTE * size), cpu_s)
    answer = os.dup(1)
    os.dup2(2, 1)  # what libraries print is no answer
    try:
        found = read_bundle(bundle, _Known(digest))
        _ask(load_engine(found), found.manifest.schema)
    except ScorelineError as error:
        os.write(answer, str(error).encode("utf-8", "replace")[:MAX_ANSWER_BYTES])
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main(Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:])))
