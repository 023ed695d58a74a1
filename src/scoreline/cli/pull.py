"""`scoreline pull`."""

import os
from pathlib import Path
from typing import Annotated

import typer

from scoreline.cli.flags import Config, StateDir, Trust
from scoreline.cli.output import errors_as_exit, say
from scoreline.operations.install import install_tried
from scoreline.settings import load_settings
from scoreline.wiring import registries, verifier


def pull(
    refs: Annotated[
        list[str],
        typer.Argument(help="models:/NAME/VERSION, models:/NAME@ALIAS, folder:/NAME or a path; may be repeated."),
    ],
    trust: Trust = None,
    state_dir: StateDir = None,
    config: Config = None,
) -> None:
    """Brings bundles from their registry, verified and tried out, for a service to start while it is down."""
    with errors_as_exit():
        settings = load_settings(config, os.environ, {"trust.keys": trust or None, "state_dir": state_dir})
        known, trusted = registries(settings), verifier(settings)
        for ref in refs:
            found = install_tried(ref, known, trusted, Path(settings.state_dir))
            say(f"{found.path}  {found.manifest.name} {found.manifest.version}")
