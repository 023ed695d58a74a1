"""`scoreline inspect`."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from scoreline.cli.output import errors_as_exit, say
from scoreline.core.bundle import read_files
from scoreline.core.errors import BundleError
from scoreline.core.manifest import MANIFEST, Manifest
from scoreline.core.schema import Field


def inspect(
    bundle: Annotated[Path, typer.Argument(help="Folder of a bundle.")],
    as_json: Annotated[bool, typer.Option("--json", help="The manifest as JSON.")] = False,
) -> None:
    """Shows what a bundle says of itself. It verifies nothing: `scoreline verify` does."""
    with errors_as_exit():
        files = read_files(bundle)
        if MANIFEST not in files:
            raise BundleError(f"{bundle} has no {MANIFEST}: not a bundle")
        manifest = Manifest.from_bytes(files[MANIFEST])
    if as_json:
        say(json.dumps(manifest.to_json(), indent=2, sort_keys=True))
        return
    console = Console()
    console.print(f"[bold]{manifest.name} {manifest.version}[/]  {manifest.digest}", highlight=False, soft_wrap=True)
    console.print(
        f"output {manifest.output} by {manifest.link}; {_outcomes(manifest)}", highlight=False, soft_wrap=True
    )
    console.print(_fields(manifest))
    for title, facts in (("lineage", manifest.lineage), ("measured", manifest.measured)):
        text = ", ".join(f"{key} {value}" for key, value in facts.items() if not isinstance(value, dict))
        console.print(f"[bold]{title}[/] {text}", highlight=False, soft_wrap=True)


def _outcomes(manifest: Manifest) -> str:
    policy = manifest.policy
    if policy.likeliest:
        return f"outcome: the likeliest of {', '.join(policy.outcomes)}"
    if not policy.outcomes:
        return "no thresholds"
    steps = [f"{name} from {start:.15g}" for name, start in zip(policy.outcomes[1:], policy.thresholds, strict=True)]
    return f"outcome: {policy.outcomes[0]}, {', '.join(steps)}"


def _fields(manifest: Manifest) -> Table:
    table = Table("field", "type", "unit", "range or categories", "default", "source")
    for field in manifest.schema.fields:
        default = "" if field.default is None else str(field.default)
        kind = f"{field.type}, nullable" if field.nullable else field.type
        table.add_row(field.name, kind, field.unit, _allowed(field), default, _source(field))
    return table


def _source(field: Field) -> str:
    """Where it comes from: of the store, which feature of which view, and how old it may be."""
    if field.source == "request":
        return field.source
    place = f"{field.view or 'the entity'}: {field.feature or field.name}"
    age = "" if field.max_age_s is None else f", at most {field.max_age_s:g} s old"
    return f"store, {place}{age}{', indispensable' if field.indispensable else ''}"


def _allowed(field: Field) -> str:
    if field.categories:
        shown = ", ".join(str(category) for category in field.categories[:6])
        return shown if len(field.categories) <= 6 else f"{shown}, ... ({len(field.categories)})"
    if field.minimum is None and field.maximum is None:
        return ""
    low, high = ("" if bound is None else f"{bound:.15g}" for bound in (field.minimum, field.maximum))
    return f"{low} .. {high}"
