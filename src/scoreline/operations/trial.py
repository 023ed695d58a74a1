"""A trial: a verified bundle is loaded and self-tested in a limited process of its own before anyone answers with it.

A signature says who made a file, not that a library survives reading it. `python -m scoreline.operations.trial` is that
process.
"""

import sys
from pathlib import Path

from scoreline.core.bundle import read_bundle
from scoreline.core.errors import BundleError
from scoreline.engines.load import load_engine
from scoreline.operations.apart import CPU_S, LEAST_BYTES, answer_apart, memory_for, run_apart
from scoreline.operations.bundles import ByDigest


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


def _main(bundle: Path, digest: str, cpu_s: int, n_bytes: int) -> int:
    def try_it() -> bytes:
        load_engine(read_bundle(bundle, ByDigest(digest)))
        return b""

    return answer_apart(try_it, cpu_s, n_bytes)


if __name__ == "__main__":
    sys.exit(_main(Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:])))
