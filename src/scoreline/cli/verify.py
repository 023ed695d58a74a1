"""`scoreline verify`."""

import os
from pathlib import Path
from typing import Annotated

import typer

from scoreline.cli.flags import Config, Trust
from scoreline.cli.output import errors_as_exit, say
from scoreline.core.bundle import read_bundle
from scoreline.engines.load import load_engine
from scoreline.operations.trial import try_out
from scoreline.settings import load_settings
from scoreline.wiring import verifier


def verify(
    bundle: Annotated[Path, typer.Argument(help="Folder of a bundle.")],
    trust: Trust = None,
    config: Config = None,
) -> None:
    """Checks a bundle's signature and files, loads it, and repeats its golden margins on this machine."""
    with errors_as_exit():
        settings = load_settings(config, os.environ, {"trust.keys": trust or None})
        found = read_bundle(bundle, verifier(settings))
        try_out(bundle, found.manifest.digest)
        engine = load_engine(found)
    manifest = found.manifest
    say(f"{manifest.name} {manifest.version}  {manifest.digest}")
    say(f"signed by {found.signed_by}")
    say(f"{len(found.golden.values)} golden rows repeated bit for bit by {engine.name}")
