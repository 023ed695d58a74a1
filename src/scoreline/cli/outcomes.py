"""`scoreline outcomes`."""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from scoreline.cli.flags import Config, StateDir
from scoreline.cli.output import errors_as_exit, say, tell
from scoreline.core import ids
from scoreline.core.errors import RowsRefused
from scoreline.operations.outcomes import Reported, import_outcomes, report_outcomes
from scoreline.records.outcomes import unmatched
from scoreline.settings import Settings, load_settings
from scoreline.wiring import database_of, entity_key

SHOWN: Final = 20

outcomes = typer.Typer(no_args_is_help=True, help="What really happened, for the decisions it belongs to.")


@outcomes.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="Outcomes, a row each: .csv, .jsonl or .parquet.")],
    caller: Annotated[str, typer.Option(help="Who reports them, for the record.")] = "import",
    state_dir: StateDir = None,
    config: Config = None,
) -> None:
    """Keeps every outcome of a file; what is imported again changes nothing."""
    with errors_as_exit():
        settings = load_settings(config, os.environ, {"state_dir": state_dir})
        database, key = _database(settings), entity_key(settings)

        def report(rows: Sequence[object]) -> Reported:
            return report_outcomes(database, rows, key, caller, time.time_ns())

        try:
            total = import_outcomes(file, report, lambda done: tell(f"{done.outcomes:,} outcomes"))
        except RowsRefused as refused:
            for problem in refused.problems[:SHOWN]:
                tell(f"row {problem.row + 1}: {problem.field}: {problem.problem}")
            raise
    say(f"{total.outcomes:,} outcomes: {total.new:,} new, {total.matched:,} with their decision,")
    say(f"{total.unmatched:,} whose decision is not here (yet)")
    if total.others:
        say(f"{total.others:,} earlier decisions about the same entities are not counted")


@outcomes.command("unmatched")
def unmatched_(state_dir: StateDir = None, config: Config = None) -> None:
    """Lists the outcomes that belong to no decision, as tab-separated lines: id or model and event, value, caller."""
    with errors_as_exit():
        database = _database(load_settings(config, os.environ, {"state_dir": state_dir}))
        for report in unmatched(database):
            prediction, model, _, event_ns = report.target
            of = ids.text(int.from_bytes(prediction, "big")) if prediction else f"{model} at {event_ns / 1e9:.3f}"
            say(f"{of}\t{report.value}\t{report.caller}")


def _database(settings: Settings) -> Any:
    database = database_of(settings)
    database.prepare()
    return database
