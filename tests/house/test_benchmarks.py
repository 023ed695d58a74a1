"""Benchmarks run seldom: what they import, in functions too, is held to be there."""

import ast
import importlib
from pathlib import Path

import pytest

from service import REPOSITORY

BENCHMARKS = REPOSITORY / "benchmarks"


@pytest.mark.parametrize("file", sorted(BENCHMARKS.glob("*.py")), ids=lambda path: path.stem)
def test_what_a_benchmark_imports_is_there(file: Path) -> None:
    own = {path.stem for path in BENCHMARKS.glob("*.py")}
    for node in ast.walk(ast.parse(file.read_text())):
        if not isinstance(node, ast.ImportFrom) or node.module is None:
            continue
        if node.module in own:
            there = _names(BENCHMARKS / f"{node.module}.py")
        elif (REPOSITORY / "tests" / f"{node.module}.py").exists():
            there = _names(REPOSITORY / "tests" / f"{node.module}.py")
        elif node.module.startswith("scoreline"):
            module = importlib.import_module(node.module)
            there = {name.name for name in node.names if hasattr(module, name.name)} | _below(module)
        else:
            continue
        assert {name.name for name in node.names} <= there, node.module


def _names(file: Path) -> set[str]:
    """What a file defines, or imports, at its top."""
    found: set[str] = set()
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found |= {one.id for target in node.targets for one in ast.walk(target) if isinstance(one, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
        elif isinstance(node, ast.ImportFrom | ast.Import):
            found |= {name.asname or name.name for name in node.names}
    return found


def _below(module: object) -> set[str]:
    """The modules in a package."""
    return {Path(path).stem for folder in getattr(module, "__path__", ()) for path in Path(folder).glob("*.py")}
