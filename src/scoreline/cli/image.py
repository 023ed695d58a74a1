"""`scoreline image`."""

import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

import scoreline
from scoreline.cli.flags import Config, Trust
from scoreline.cli.output import errors_as_exit, say
from scoreline.core.errors import NotFound, SettingError
from scoreline.operations.baked import bake
from scoreline.settings import PREFIX, load_settings, options
from scoreline.wiring import registries, verifier

image = typer.Typer(no_args_is_help=True, help="Images that hold bundles, beside one that has them mounted or pulled.")


@image.command("build")
def build(
    refs: Annotated[
        list[str],
        typer.Argument(
            metavar="REF...", help="models:/NAME/VERSION, models:/NAME@ALIAS, folder:/NAME or a path; may be repeated."
        ),
    ],
    tag: Annotated[str, typer.Option("--tag", "-t", help="Name of the image, as `docker build` takes it.")] = "",
    trust: Trust = None,
    base: Annotated[
        str, typer.Option(help="Image of Scoreline to put them into.")
    ] = f"scoreline/scoreline:{scoreline.__version__}",
    given: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Setting of the service in the image; may be repeated."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Only write the folder to build from; must not exist.")] = None,
    docker: Annotated[str, typer.Option(help="The client that builds.")] = "docker",
    config: Config = None,
) -> None:
    """Bakes verified bundles and the keys they are trusted by into an image that serves them."""
    with errors_as_exit():
        if bool(tag) == bool(out):
            raise SettingError("either --tag, to build an image, or --out, to write the folder that one is built from")
        environment = environment_of(given or [])
        settings = load_settings(config, os.environ, {"trust.keys": trust or None})
        known, trusted = registries(settings), verifier(settings)
        keys = [Path(key) for key in settings.trust.keys]
        with tempfile.TemporaryDirectory(prefix="scoreline-") as temporary:
            folder = out or Path(temporary) / "image"
            manifests = bake(folder, refs, known, trusted, keys, base, environment)
            if tag:
                run([docker, "build", "--tag", tag, str(folder)])
        for manifest in manifests:
            say(f"{tag or out}  {manifest.name} {manifest.version}")


def environment_of(given: Sequence[str]) -> Mapping[str, str]:
    """Settings as an image has them, by the names of its environment; raises SettingError."""
    settings = dict(part.partition("=")[::2] for part in given)
    secret = {name for name, field in options() if not field.repr}
    for name in settings.keys() & secret:
        raise SettingError(f"--set {name}: a secret must not go into an image; give it to the container as {_of(name)}")
    environment = {_of(name): value for name, value in settings.items()}
    load_settings(None, environment)
    return environment


def _of(name: str) -> str:
    return PREFIX + name.upper().replace(".", "__")


def run(command: Sequence[str]) -> None:
    """Runs the client, which speaks for itself; raises NotFound or SettingError."""
    try:
        done = subprocess.run(command, env={"DOCKER_BUILDKIT": "1", **os.environ}, check=False)
    except FileNotFoundError:
        raise NotFound(f"there is no `{command[0]}` here: install Docker, or write the folder with --out") from None
    if done.returncode:
        raise SettingError(f"`{command[0]} build` ended with {done.returncode}: what it said stands above")
