"""Runs the benchmarks and writes a dated file under benchmarks/results/. `make bench` calls it."""

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import batch
import realtime
import recording
import registry
import shipping

import engines
import replay

PARTS = ("engines", "realtime", "recording", "batch", "registry", "replay", "shipping")
RESULTS = Path(__file__).parent / "results"


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
    written = write(figures, which, f"make bench ({' '.join(which)})")
    for found in figures:
        print(f"{found['figure']:<90} {found['measured']:>10.3f}   {found['target']}")
    print(f"written to {written}")
    return 0


def write(figures: list[dict[str, Any]], which: list[str], command: str) -> Path:
    """The dated file: commit, machine, command, figures with targets."""
    now = datetime.datetime.now(datetime.UTC)
    commit = git("rev-parse", "--short", "HEAD") + ("+changes" if git("status", "--porcelain", "src") else "")
    report = {
        "date": now.isoformat(timespec="seconds"),
        "commit": commit,
        "command": command,
        "machine": machine(),
        "figures": figures,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{now:%Y-%m-%d-%H%M}-{'-'.join(which)}.json"
    path.write_text(json.dumps(report, indent=1) + "\n")
    return path.relative_to(RESULTS.parent.parent)


def machine() -> dict[str, Any]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.split(":")[1].strip() for line in lines if "model name" in line), "unknown")
    return {"cpu": cpu, "cores": os.cpu_count(), "system": platform.platform(), "python": platform.python_version()}


def git(*words: str) -> str:
    return subprocess.run(["git", *words], check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
