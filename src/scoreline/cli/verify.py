"""`scoreline verify`."""

from pathlib import Path
from typing import Annotated

import typer

from scoreline.cli.output import errors_as_exit, say
from scoreline.core.bundle import read_bundle
from scoreline.engines.load import load_engine
from scoreline.signing import TrustStore


def verify(
    bundle: Annotated[Path, typer.Argument(help="Folder of a bundle.")],
    trust: Annotated[list[Path], typer.Option(help="Public key to trust; may be repeated.")],
) -> None:
    """Checks a bundle's signature and files, loads it, and repeats its golden margins on this machine."""
    with errors_as_exit():
        found = read_bundle(bundle, TrustStore.from_files(trust))
        engine = load_engine(found)
    manifest = found.manifest
    say(f"{manifest.name} {manifest.version}  {manifest.digest}")
    say(f"signed by {found.signed_by}")
    say(f"{len(found.golden.values)} golden rows repeated bit for bit by {engine.name}")
