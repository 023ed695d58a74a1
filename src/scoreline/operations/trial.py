"""A trial: a verified bundle is loaded and self-tested in a limited process of its own before anyone answers with it.

A signature says who made a file, not that a library survives reading it. `python -m scoreline.operations.trial` is that
process.
"""

import resource
import subprocess
import sys
from pathlib import Path
from typing import Final

from scoreline.core.bundle import SIGNATURE, read_bundle
from scoreline.core.errors import BundleError, ScorelineError, SignatureRefused
from scoreline.core.manifest import MANIFEST
from scoreline.engines.load import load_engine

CPU_S: Final = 60
PATIENCE_S: Final = 120
LEAST_BYTES: Final = 4 << 30
BYTES_PER_BYTE: Final = 16


def try_out(bundle: Path, digest: str) -> None:
    """Loads `bundles/<digest>` apart from this process; raises BundleError with what became of it."""
    command = [sys.executable, "-m", "scoreline.operations.trial", str(bundle), digest]
    try:
        ended = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise BundleError(f"bundles/{digest}: its trial was not over after {PATIENCE_S} s; it is not taken") from None
    if ended.returncode == 0:
        return
    if ended.returncode == 1 and ended.stdout:
        raise BundleError(f"bundles/{digest}: {ended.stdout.strip()}")
    raise BundleError(
        f"bundles/{digest}: its model file ended the process that tried it (code {ended.returncode}); it is not taken: "
        "seal the model again, and ask who signed this"
    )


class _Known:
    """Takes the bundle of one digest, whoever signed it: it was verified when it was installed."""

    def __init__(self, digest: str) -> None:
        self._digest = digest

    def verify(self, _: bytes, digests: dict[str, str]) -> str:
        if digests.get(MANIFEST) != self._digest:
            raise SignatureRefused("it is another bundle than the one to try")
        return ""


def _limit(n_bytes: int) -> None:
    limits = (
        (resource.RLIMIT_AS, max(LEAST_BYTES, BYTES_PER_BYTE * n_bytes)),
        (resource.RLIMIT_CPU, CPU_S),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    )
    for kind, most in limits:
        resource.setrlimit(kind, (most, most))


def _main(bundle: Path, digest: str) -> int:
    _limit(sum(file.stat().st_size for file in bundle.iterdir() if file.name != SIGNATURE))
    try:
        load_engine(read_bundle(bundle, _Known(digest)))
    except ScorelineError as error:
        sys.stdout.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main(Path(sys.argv[1]), sys.argv[2]))
