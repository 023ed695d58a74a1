"""The dated file of a run under benchmarks/results/, and a figure in it."""

import datetime
import json
import os
import platform
import subprocess
from pathlib import Path
from typing import Any, Final

RESULTS: Final = Path(__file__).parent / "results"


def figure(name: str, value: float, target: str, all_values: list[float]) -> dict[str, Any]:
    return {"figure": name, "measured": value, "target": target, "all": [round(value, 4) for value in all_values]}


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
