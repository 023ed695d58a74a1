"""`scoreline explain`."""

import json
import os
from pathlib import Path
from typing import Annotated, cast, get_args

import typer

from scoreline.cli.flags import Config, StateDir
from scoreline.cli.output import errors_as_exit, say
from scoreline.core.errors import SettingError
from scoreline.operations.predictions import find
from scoreline.operations.replay import explain_one
from scoreline.replay.explain import Adverse
from scoreline.settings import load_settings
from scoreline.wiring import record_of


def explain(
    decision_id: Annotated[str, typer.Argument(metavar="ID", help="A prediction id.")],
    adverse: Annotated[str, typer.Option(help="The worse side for whom it is about: higher or lower.")] = "higher",
    values: Annotated[bool, typer.Option("--values", help="Show the fields' values, but for sensitive ones.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The explanation as JSON.")] = False,
    state_dir: StateDir = None,
    config: Config = None,
) -> None:
    """Says why a decision came out as it did: what each field added, and the principal reasons."""
    with errors_as_exit():
        if adverse not in get_args(Adverse):
            raise SettingError(f"--adverse: {' or '.join(get_args(Adverse))}")
        settings = load_settings(config, os.environ, {"state_dir": state_dir})
        found = find(record_of(settings), decision_id)
        explained = explain_one(found, Path(settings.state_dir), adverse=cast(Adverse, adverse), values=values)
    if as_json:
        say(json.dumps(explained, ensure_ascii=False, indent=2))
        return
    say(f"{explained['model']} {explained['version']}: margin of {explained['output']} {explained['margin']:.6g}")
    say(f"  {explained['base']:+.6g}  base value")
    for name, added in sorted(explained["contributions"].items(), key=lambda item: -abs(item[1])):
        say(f"  {added:+.6g}  {name}")
    for number, reason in enumerate(explained["reasons"], 1):
        value = f" ({reason['value']})" if reason["value"] is not None else ""
        say(f"{number}. {reason['text']}{value}{'' if reason['reviewed'] else '  [not reviewed]'}")
    say(f"by {explained['method']['name']}, {explained['method']['engine']}")
