"""Importing does nothing: no module of Scoreline changes the process it is imported into."""

import ast
import json
import os
import subprocess
import sys
from functools import cache
from typing import Any

import pytest

from service import REPOSITORY

SOURCE = REPOSITORY / "src"
PROGRAM = """
import contextlib, importlib, io, json, logging, os, signal, sys, threading, warnings

def seen():
    return {
        "threads": [thread.name for thread in threading.enumerate()],
        "tasks": len(os.listdir("/proc/self/task")),
        "environment": dict(os.environ),
        "arguments": list(sys.argv),
        "folder": os.getcwd(),
        "log handlers": [repr(handler) for handler in logging.root.handlers],
        "log level": logging.root.level,
        "signals": [repr(signal.getsignal(number)) for number in sorted(signal.valid_signals())],
        "hooks": [repr(hook) for hook in (sys.excepthook, sys.unraisablehook, threading.excepthook, sys.displayhook)],
    }

def ours():
    return [repr(entry) for entry in warnings.filters]

for name in sys.argv[2].split(","):
    importlib.import_module(name)  # what libraries do to a process is theirs

changed = {}
for name in sys.argv[1].split(","):
    before, filters = seen(), ours()
    importlib.import_module(name)
    after = seen()
    found = [key for key in before if before[key] != after[key]]
    if filters != ours():
        found.append("warning filters")
    if found:
        changed[name] = found
print("CHANGED " + json.dumps(changed))
"""


def modules() -> list[str]:
    files = sorted((SOURCE / "scoreline").rglob("*.py"))
    names = [".".join(file.relative_to(SOURCE).with_suffix("").parts) for file in files]
    return [name.removesuffix(".__init__") for name in names]


def libraries() -> list[str]:
    """Every module of other projects that a file of Scoreline imports."""
    found = set()
    for file in (SOURCE / "scoreline").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add(node.module or "")
    known = {"scoreline", *sys.stdlib_module_names}
    return sorted(name for name in found if name.partition(".")[0] not in known)


@cache
def imported() -> tuple[str, str, dict[str, Any]]:
    """Standard output and error of importing everything, and what changed at which module."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, ",".join(modules()), ",".join(libraries())],
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    said, _, changed = ended.stdout.rpartition("CHANGED ")
    return said, ended.stderr, json.loads(changed)


def test_there_is_something_to_import() -> None:
    assert {"scoreline", "scoreline.cli.serve", "scoreline.doors.http.worker", "scoreline.sealing"} <= set(modules())


def test_importing_writes_nothing() -> None:
    said, complained, _ = imported()
    assert (said, complained) == ("", "")


def test_importing_changes_nothing_of_the_process() -> None:
    assert imported()[2] == {}


@pytest.mark.parametrize("module", ("scoreline", "scoreline.cli", "scoreline.core.schema", "scoreline.settings"))
def test_what_is_small_loads_nothing_large(module: str) -> None:
    program = f"import sys, {module}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    large = {"fastapi", "uvicorn", "xgboost", "pandas", "pyarrow", "sklearn", "onnx", "onnxruntime", "cryptography"}
    assert large.isdisjoint(ended.stdout.split())
