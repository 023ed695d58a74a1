"""Options that many commands have, in the same words: without what any of them imports."""

from pathlib import Path
from typing import Annotated

import typer

Trust = Annotated[list[str] | None, typer.Option("--trust", help="Public key to trust; may be repeated.")]
StateDir = Annotated[str | None, typer.Option("--state-dir", help="Folder of everything the service keeps.")]
Config = Annotated[Path | None, typer.Option(help="Settings file; else SCORELINE_CONFIG, else scoreline.toml.")]
AdminHost = Annotated[str | None, typer.Option(help="Address of the control plane.")]
AdminPort = Annotated[int | None, typer.Option(help="Port of the control plane; 0 takes a free one.")]
