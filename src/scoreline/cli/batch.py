"""`scoreline batch`."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from scoreline.cli.flags import Config, Trust
from scoreline.cli.output import errors_as_exit, say
from scoreline.doors.batch import Progress as Reached
from scoreline.doors.batch import run_batch
from scoreline.settings import load_settings
from scoreline.wiring import ladder_of, open_model

SOME_REJECTED: Final = 3
INTERRUPTED: Final = 130


def batch(
    ref: Annotated[str, typer.Argument(help="models:/NAME@ALIAS, folder:/NAME or a path of a bundle.")],
    source: Annotated[Path, typer.Argument(metavar="IN", help="A .parquet, .csv or .jsonl file, or a folder of them.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="File or folder to write; must not exist.")],
    trust: Trust = None,
    keep: Annotated[
        list[str] | None,
        typer.Option(help="Input column to carry over; may be repeated. Else all that are no feature."),
    ] = None,
    record: Annotated[
        Path | None, typer.Option(help="Keep every decision too: a .parquet file, or for a folder a folder of them.")
    ] = None,
    config: Config = None,
) -> None:
    """Scores files. The output appears whole or not at all; the same command resumes an interrupted run."""
    with errors_as_exit(), interruption_as_exit():
        settings = load_settings(config, os.environ, {"trust.keys": trust or None})
        model = open_model(ref, settings)
        lookup = ladder_of(settings).looking(model.schema)
        with progress_bar() as show:
            report = run_batch(
                model.score, model.manifest, source, target, keep=keep, record=record, lookup=lookup, progress=show
            )
    resumed = f", {report.resumed_rows:,} of them in an earlier run" if report.resumed_rows else ""
    say(f"{report.outputs}: {report.scored:,} of {report.rows:,} rows scored in {report.elapsed_s:.1f} s{resumed}")
    if report.record is not None:
        say(f"{report.record}: their decisions")
    if report.rejects is not None:
        say(f"{report.rejects}: rows rejected, with the reasons: {report.rejected:,}")
        raise typer.Exit(SOME_REJECTED)


@contextmanager
def interruption_as_exit() -> Iterator[None]:
    """Ctrl-C and SIGTERM end the job in order: what is finished is kept, and the exit code is 130."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("interrupted; the same command goes on where this one stopped", err=True)
        raise typer.Exit(INTERRUPTED) from None
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def progress_bar() -> Iterator[Callable[[Reached], None]]:
    """A bar on standard error with rows, rate and time left; without a terminal nothing is drawn."""
    columns = (BarColumn(), TextColumn("{task.percentage:>3.0f} %  {task.description}"))
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=1.0)

        def show(reached: Reached) -> None:
            bar.update(task, completed=share_done(reached), description=describe(reached))

        yield show


def share_done(reached: Reached) -> float:
    """From 0 to 1: by rows where their number is known, else by bytes."""
    if reached.rows_total is not None:
        return reached.rows_done / max(1, reached.rows_total)
    return reached.bytes_done / max(1, reached.bytes_total)


def describe(reached: Reached) -> str:
    if reached.phase == "writing":
        return f"{reached.rows_written:,} rows written"
    left = "" if reached.left_s is None else f", {_clock(reached.left_s)} left"
    return f"{reached.rows_done:,} rows, {reached.rows_per_s:,.0f} rows/s{left}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
