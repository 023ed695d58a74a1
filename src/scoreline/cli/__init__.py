"""The command line. Each command is a file of its own, imported only when it is asked for."""

import os
import sys
from collections.abc import Callable, Mapping
from typing import Final

import typer

from scoreline.core.names import load

COMMANDS: Final[Mapping[str, str]] = {
    "keygen": "scoreline.cli.keygen:keygen",
    "seal": "scoreline.cli.seal:seal_command",
    "verify": "scoreline.cli.verify:verify",
    "inspect": "scoreline.cli.inspect:inspect",
    "pull": "scoreline.cli.pull:pull",
    "image": "scoreline.cli.image:image",
    "serve": "scoreline.cli.serve:serve",
    "steward": "scoreline.cli.steward:steward",
    "drained": "scoreline.cli.drained:drained",
    "budget": "scoreline.cli.budget:budget",
    "drift": "scoreline.cli.drift:drift",
    "batch": "scoreline.cli.batch:batch",
    "features": "scoreline.cli.features:features",
    "outcomes": "scoreline.cli.outcomes:outcomes",
    "decisions": "scoreline.cli.decisions:decisions",
    "replay": "scoreline.cli.replay:replay",
    "explain": "scoreline.cli.explain:explain",
    "audit": "scoreline.cli.audit:audit",
    "holds": "scoreline.cli.holds:holds",
    "keys": "scoreline.cli.keys:keys",
    "rollout": "scoreline.cli.rollout:rollout",
}
EXTRAS: Final = {"seal": "seal", "batch": "batch"}  # what a command is installed with, where that is not `serve`
ANYTHING: Final = {"ignore_unknown_options": True, "allow_extra_args": True}
ONE_THREAD: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def main() -> None:
    """Runs the command in `sys.argv`. Numerical libraries get one thread, which they read when they are loaded."""
    for name in ONE_THREAD:
        os.environ.setdefault(name, "1")
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    build_app([wanted] if wanted in COMMANDS else list(COMMANDS))()


def build_app(names: list[str]) -> typer.Typer:
    """A typer app of the named commands."""
    app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

    @app.callback()
    def scoreline() -> None:
        """Seal a tabular model into a signed bundle and score it through one core behind many doors."""

    for name in names:
        try:
            command = load(COMMANDS[name])
        except ModuleNotFoundError as error:
            app.command(name, context_settings=ANYTHING)(_lacking(name, error))
            continue
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name)(command)
    return app


def _lacking(name: str, error: ModuleNotFoundError) -> Callable[[], None]:
    """What stands for a command whose libraries are not installed, and says how they are."""
    if (error.name or "scoreline").startswith("scoreline"):
        raise error
    lacking = f"{error.name} is not installed, which comes with scoreline's extra `{EXTRAS.get(name, 'serve')}`"

    def command() -> None:
        typer.echo(f"error: `scoreline {name}` cannot run here, because {lacking}", err=True)
        raise typer.Exit(1)

    command.__doc__ = f"Cannot run here: {lacking}"
    return command
