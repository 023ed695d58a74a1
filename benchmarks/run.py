"""Runs the benchmarks and writes a dated file under benchmarks/results/. `make bench` calls it."""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import batch
import lookup
import realtime
import recording
import registry
import shipping
from report import write

import engines
import replay

PARTS = ("engines", "realtime", "recording", "batch", "registry", "replay", "shipping", "lookup")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("which", nargs="*", choices=[*PARTS, []], help="the parts to measure; all where none is named")
    which = parser.parse_args().which or [*PARTS]
    figures: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="scoreline-bench-") as folder:
        if "engines" in which:
            figures += engines.measure()
        if "realtime" in which:
            figures += realtime.measure(Path(folder))
        if "recording" in which:
            figures += recording.measure(Path(folder) / "recording")
        if "batch" in which:
            figures += batch.measure()
        if "registry" in which:
            figures += registry.measure()
        if "replay" in which:
            figures += replay.measure()
        if "shipping" in which:
            figures += shipping.measure(Path(folder) / "shipping")
        if "lookup" in which:
            figures += lookup.measure(Path(folder) / "lookup")
    written = write(figures, which, f"make bench ({' '.join(which)})")
    for found in figures:
        print(f"{found['figure']:<90} {found['measured']:>10.3f}   {found['target']}")
    print(f"written to {written}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
