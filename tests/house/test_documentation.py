"""What exists is documented, and what the README shows runs."""

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

from scoreline.access.scopes import CONTROL_PLANE, DATA_PLANE
from scoreline.cli import COMMANDS, build_app
from scoreline.core import errors
from scoreline.settings import PREFIX, options
from scoreline.web.problems import OTHER, PROBLEMS

REPOSITORY = Path(__file__).parents[2]
DOCS = REPOSITORY / "docs"
README = REPOSITORY / "README.md"


def doc(name: str) -> str:
    return (DOCS / name).read_text()


def test_every_setting_stands_in_the_docs_with_its_default_and_variable() -> None:
    text = doc("settings.md")
    for name, field in options():
        (row,) = [line for line in text.splitlines() if line.startswith(f"| `{name}` ")]
        assert f"`{PREFIX}{name.upper().replace('.', '__')}`" in row
        assert field.metadata["help"] in row
        shown = list(field.default) if isinstance(field.default, tuple) else field.default
        assert shown == "" or f"`{shown}`" in row


def test_every_route_stands_in_the_docs_with_its_scope() -> None:
    data, control = doc("http.md").split("## Routes of the control plane")
    for table, text in ((DATA_PLANE, data), (CONTROL_PLANE, control)):
        for (method, path), scope in table.items():
            assert f"| `{method} {path}` | {scope or 'none'} |" in text


def test_every_error_stands_in_the_docs_with_its_status_and_type() -> None:
    text = doc("errors.md")
    for name, found in inspect.getmembers(errors, inspect.isclass):
        if issubclass(found, errors.ScorelineError):
            status, kind = next(PROBLEMS[known][:2] for known in found.__mro__ if known in PROBLEMS)
            assert f"| `{name}` | {status} | {kind} |" in text
    for kind in OTHER.values():
        assert kind in text


def test_every_command_and_option_stands_in_the_docs() -> None:
    text = doc("cli.md")
    group = typer.main.get_command(build_app(list(COMMANDS)))
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        section = text.split(f"## scoreline {name}\n")[1].split("\n## ")[0]
        under = getattr(command, "commands", {})  # of a group
        assert all(f"`scoreline {name} {verb}" in section for verb in under)
        for parameter in (found for one in (command, *under.values()) for found in one.params):
            if parameter.param_type_name == "option" and parameter.name != "help":
                assert f"| `{max(parameter.opts, key=len)}` |" in section, (name, parameter.opts)


def test_every_page_of_the_docs_can_be_found_from_the_readme_or_the_architecture() -> None:
    linked = README.read_text() + doc("architecture.md")
    for path in DOCS.glob("*.md"):
        assert f"docs/{path.name}" in linked


@pytest.mark.parametrize("page", [README, *sorted(DOCS.rglob("*.md"))], ids=lambda path: path.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_the_readme_is_short() -> None:
    assert len(README.read_text().splitlines()) <= 150


def test_what_the_readme_shows_runs(tmp_path: Path) -> None:
    blocks = re.findall(r"<!-- test -->\n```(bash|python)\n(.*?)```", README.read_text(), re.DOTALL)
    assert len(blocks) >= 3
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for language, code in blocks:
        command = ["bash", "-euo", "pipefail", "-c", code] if language == "bash" else [sys.executable, "-c", code]
        found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "PATH": path})
        assert found.returncode == 0, f"{code}\n{found.stdout}\n{found.stderr}"
