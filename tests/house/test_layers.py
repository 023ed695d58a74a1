"""The walls: layers, cycles, one third-party library per file, sizes."""

import ast
import subprocess
import sys
from pathlib import Path

import grimp
import pytest

REPOSITORY = Path(__file__).parents[2]
SOURCE = REPOSITORY / "src" / "scoreline"
FILES = sorted(SOURCE.rglob("*.py"))
NAMES = [str(path.relative_to(SOURCE)) for path in FILES]
TOGETHER = {frozenset({"typer", "rich"}), frozenset({"fastapi", "starlette"})}
MAX_LINES = 300
MAX_BODY_LINES = 42


def test_imports_go_down_the_layers_only() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    found = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout


def test_no_module_imports_itself_by_way_of_others() -> None:
    graph = grimp.build_graph("scoreline", cache_dir=None)
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            assert graph.find_shortest_chain(importer=imported, imported=module) is None, (module, imported)


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_a_file_knows_at_most_one_third_party_library(path: Path) -> None:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    foreign = found - set(sys.stdlib_module_names) - {"scoreline", "numpy"}
    assert len(foreign) <= 1 or frozenset(foreign) in TOGETHER


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_files_and_the_bodies_of_functions_are_small(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= MAX_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[1 if ast.get_docstring(node) and len(node.body) > 1 else 0]
            assert (node.end_lineno or 0) - first.lineno < MAX_BODY_LINES, node.name
