"""`scoreline decisions`."""

import json
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from scoreline.cli.flags import Config, StateDir
from scoreline.cli.options import entity as about
from scoreline.cli.options import span
from scoreline.cli.output import errors_as_exit, say, tell
from scoreline.cli.who import user
from scoreline.core.errors import SettingError
from scoreline.core.names import load
from scoreline.operations.decisions import ForTraining, Labels, Query, score_shown, shown_line
from scoreline.operations.maturity import Manifests
from scoreline.records.walk import Wanted
from scoreline.settings import Settings, load_settings
from scoreline.wiring import database_of, kept_of

LISTED: Final = 20
HEADS: Final = ("id", "time", "model", "version", "score", "outcome", "label")


def decisions(
    model: Annotated[str, typer.Option(help="Of this model only.")] = "",
    version: Annotated[str, typer.Option(help="Of this version only.")] = "",
    role: Annotated[str, typer.Option(help="In this role only, as champion.")] = "",
    caller: Annotated[str | None, typer.Option(help="For this caller only.")] = None,
    outcome: Annotated[str, typer.Option(help="With this outcome of the policy only, as decline.")] = "",
    since: Annotated[str | None, typer.Option("--from", help="Taken up at this day or time, or later.")] = None,
    until: Annotated[str | None, typer.Option(help="Taken up before this day or time.")] = None,
    entity: Annotated[str, typer.Option(help="About this entity only, as the rows named it.")] = "",
    labelled: Annotated[bool, typer.Option("--labelled", help="Only those with a label.")] = False,
    unlabelled: Annotated[
        bool, typer.Option("--unlabelled", help="Only those without a label; with --out those too.")
    ] = False,
    immature: Annotated[bool, typer.Option("--immature", help="Labels that may change still, too.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="List at most so many (default 20).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per decision, a line each.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="Export all as a training set: a .parquet, .csv or .jsonl file.")
    ] = None,
    sensitive: Annotated[bool, typer.Option("--sensitive", help="Export sensitive fields too; recorded.")] = False,
    state_dir: StateDir = None,
    config: Config = None,
) -> None:
    """Lists recorded decisions with their labels, the newest first, or exports them as a training set."""
    with errors_as_exit():
        _check(out, limit, as_json=as_json, labelled=labelled, unlabelled=unlabelled, sensitive=sensitive)
        settings, now_ns = load_settings(config, os.environ, {"state_dir": state_dir}), time.time_ns()
        first_ns, last_ns = span(since, until)
        wanted = Wanted(
            model=model,
            version=version,
            role=role,
            caller=caller,
            outcome=outcome,
            entity=about(entity, settings) if entity else b"",
            from_ns=first_ns or 0,
            until_ns=Wanted().until_ns if last_ns is None else last_ns,
        )
        if out is not None:
            _export(settings, wanted, ForTraining(immature, labelled, unlabelled), now_ns, out, sensitive=sensitive)
            return
        query = _query(settings, wanted, Labels(immature, labelled, unlabelled), now_ns)
        lines = map(shown_line, query.run(newest=True, limit=limit or LISTED))
        for line in (json.dumps(found, ensure_ascii=False) for found in lines) if as_json else _table(lines):
            say(line)


def _check(
    out: Path | None, limit: int | None, *, as_json: bool, labelled: bool, unlabelled: bool, sensitive: bool
) -> None:
    if labelled and unlabelled:
        raise SettingError("--labelled or --unlabelled, or neither for all")
    if out is not None and (limit is not None or as_json or labelled):
        raise SettingError("--limit, --json and --labelled are of the list: --out exports all that match, with labels")
    if out is None and sensitive:
        raise SettingError("--sensitive goes with --out: the list shows no fields")


def _query(settings: Settings, wanted: Wanted, labels: Labels, now_ns: int) -> Query:
    return Query(kept_of(settings).places(), wanted, labels, Manifests(Path(settings.state_dir)), now_ns)


def _export(
    settings: Settings, wanted: Wanted, labels: ForTraining, now_ns: int, out: Path, *, sensitive: bool
) -> None:
    try:
        export = load("scoreline.operations.export:export_decisions")
    except ModuleNotFoundError as error:
        raise SettingError(f"--out needs {error.name}: install scoreline[batch]") from None
    database = database_of(settings)
    database.prepare()
    made = export(database, _query(settings, wanted, labels, now_ns), out, user(), sensitive=sensitive)
    say(f"{out}: {made.rows:,} decisions")
    if made.left_out:
        tell(f"sensitive fields are left out: {', '.join(made.left_out)}")
    if made.unknown:
        how = "their fields are the numbers of the record" if sensitive else "their fields are left out"
        tell(f"the bundles of these versions are not here: {', '.join(made.unknown)}; {how}, and nothing of them has")
        tell("matured as far as can be known: bring them with `scoreline pull`")


def _table(lines: Iterable[dict[str, Any]]) -> Iterator[str]:
    rows = [HEADS, *map(_cells, lines)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    if len(rows) == 1:
        yield "no decisions"
        return
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _cells(line: dict[str, Any]) -> tuple[str, ...]:
    score, label = score_shown(line), line["label"]
    shown = "" if score is None else f"{score:.6g}"
    said = f"{label:g}" if isinstance(label, float) else label or ""
    taken_up = line["time"][:19] + "Z"
    return line["id"], taken_up, line["model"], line["version"], shown, line["outcome"] or "", said
