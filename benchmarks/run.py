"""Runs the benchmarks and writes a dated file under benchmarks/results/. `make bench` calls it."""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import batch
import canary
import lookup
import metrics
import overload
import realtime
import recording
import registry
import shipping
from report import write

import access
import engines
import features
import replay
import rollout

PARTS: Final[Mapping[str, Callable[[Path], Iterable[dict[str, Any]]]]] = {
    "engines": lambda _: engines.measure(),
    "realtime": realtime.measure,
    "access": lambda folder: access.measure(folder / "access"),
    "recording": lambda folder: recording.measure(folder / "recording"),
    "canary": lambda folder: canary.measure(folder / "canary"),
    "rollout": lambda folder: rollout.measure(folder / "rollout"),
    "batch": lambda _: batch.measure(),
    "registry": lambda _: registry.measure(),
    "replay": lambda _: replay.measure(),
    "shipping": lambda folder: shipping.measure(folder / "shipping"),
    "features": lambda folder: features.measure(folder / "features"),
    "lookup": lambda folder: lookup.measure(folder / "lookup"),
    "overload": lambda folder: overload.measure(folder / "overload"),
    "metrics": lambda folder: metrics.measure(folder / "metrics"),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("which", nargs="*", choices=[*PARTS, []], help="the parts to measure; all where none is named")
    which = parser.parse_args().which or [*PARTS]
    figures: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="scoreline-bench-") as folder:
        for part in which:
            figures += PARTS[part](Path(folder))
    written = write(figures, which, f"make bench ({' '.join(which)})")
    for found in figures:
        print(f"{found['figure']:<90} {found['measured']:>10.3f}   {found['target']}")
    print(f"written to {written}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
