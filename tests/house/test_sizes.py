"""Files and functions are of a size to be read, and each file knows one library."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from service import REPOSITORY

SOURCES = sorted((REPOSITORY / "src" / "scoreline").rglob("*.py"))
# Libraries that come as one: the framework with its own base, the parser of commands with its own printer, SQL with its
# own migrations.
FAMILIES = {"starlette": "fastapi", "rich": "typer", "alembic": "sqlalchemy"}
# numpy is the language of the house, like the standard library.
EVERYWHERE = {"numpy", "scoreline"}


def libraries(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} imports relatively"
            found.add((node.module or "").partition(".")[0])
    return {FAMILIES.get(name, name) for name in found - set(sys.stdlib_module_names) - EVERYWHERE}


def bodies(file: Path) -> Iterator[tuple[str, int]]:
    """Each function's name and how many lines its body has, without its docstring."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[1 if ast.get_docstring(node) and len(node.body) > 1 else 0]
            yield node.name, (node.end_lineno or 0) - first.lineno + 1


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(REPOSITORY / "src" / "scoreline")))
def test_a_file_knows_at_most_one_library_and_is_short(file: Path) -> None:
    assert len(libraries(file)) <= 1
    assert len(file.read_text().splitlines()) <= 300
    too_long = {name: lines for name, lines in bodies(file) if lines > 42}
    assert too_long == {}


def test_a_folder_is_at_most_two_deep() -> None:
    assert max(len(file.relative_to(REPOSITORY / "src" / "scoreline").parts) for file in SOURCES) <= 3


def test_the_core_and_the_evidence_need_numpy_only() -> None:
    core = [file for file in SOURCES if file.parent.name == "core"]
    assert core
    assert {file.name: libraries(file) for file in core if libraries(file)} == {}


def test_every_module_says_what_it_is() -> None:
    assert [str(file) for file in SOURCES if not ast.get_docstring(ast.parse(file.read_text()))] == []
