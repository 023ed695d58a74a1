"""`scoreline keygen`."""

from pathlib import Path
from typing import Annotated

import typer

from scoreline.cli.output import errors_as_exit, say
from scoreline.signing import generate_keys


def keygen(
    out: Annotated[Path, typer.Option("-o", "--out", help="Name of the pair: writes NAME.key and NAME.pub.")] = Path(
        "signing"
    ),
) -> None:
    """Makes a key pair: the .key signs bundles and stays secret, the .pub is what services trust."""
    with errors_as_exit():
        private, public = Path(f"{out}.key"), Path(f"{out}.pub")
        fingerprint = generate_keys(private, public)
    say(f"{private}  signs: keep it secret")
    say(f"{public}  verifies: give it to services with --trust")
    say(f"fingerprint {fingerprint}")
