"""`scoreline features`."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, cast

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from scoreline.cli.batch import interruption_as_exit
from scoreline.cli.flags import Config, StateDir
from scoreline.cli.options import moment
from scoreline.cli.output import errors_as_exit, say
from scoreline.cli.who import user
from scoreline.core.errors import FeaturesRefused, NotFound, SettingError
from scoreline.core.ports import FeatureSink
from scoreline.operations.acted import note
from scoreline.operations.featureexport import History, history_of, joined, known_at, write_table
from scoreline.operations.featurefiles import FeatureFile
from scoreline.operations.features import load_features
from scoreline.records.actions import By
from scoreline.settings import Settings, load_settings
from scoreline.wiring import database_of, store_of

NS: Final = 1_000_000_000
View = Annotated[str, typer.Option(help="View of the features, as customer.")]
Key = Annotated[str, typer.Option(help="Column that says whom a row is about.")]

features = typer.Typer(no_args_is_help=True, help="Features of entities, which a model takes from a store.")


@features.command("load")
def load(
    file: Annotated[Path, typer.Argument(help="Features, a row per entity and time: .parquet or .csv.")],
    view: View,
    key: Key,
    time_column: Annotated[
        str, typer.Option("--time", help="Column with the time since when a row holds; else all hold from now.")
    ] = "",
    state_dir: StateDir = None,
    config: Config = None,
) -> None:
    """Loads a file into the store. After an interruption, or a kill, the same command goes on where it stopped."""
    with errors_as_exit(), interruption_as_exit():
        settings = load_settings(config, os.environ, {"state_dir": state_dir})
        sink, place = _sink(settings), Path(settings.state_dir)
        _note(settings, "features load", {"view": view, "file": file.name})
        begun_s = time.monotonic()
        with _progress_bar() as told:
            loaded = load_features(FeatureFile(file, key, time_column), view, sink, place, time.time_ns(), told)
    resumed = f", {loaded.resumed_rows:,} of them in an earlier run" if loaded.resumed_rows else ""
    say(f"{view}: {loaded.rows:,} rows loaded in {time.monotonic() - begun_s:.1f} s{resumed}")


@features.command("get")
def get(
    view: Annotated[str, typer.Argument(help="The view.")],
    entity: Annotated[str, typer.Argument(help="Whom to look up.")],
    names: Annotated[list[str], typer.Argument(help="The features.")],
    state_dir: StateDir = None,
    config: Config = None,
) -> None:
    """Shows what would be looked up, as tab-separated lines: feature, value, and since when."""
    with errors_as_exit():
        store = store_of(load_settings(config, os.environ, {"state_dir": state_dir}))
        ((row,),) = store.get({view: tuple(names)}, [entity])
        if row is None:
            raise NotFound(f"the view {view} knows nobody of this name")
        for name in names:
            value = row.values.get(name, "(not there)")
            say(f"{name}\t{value}\t{_when(row.time_ns)}")


@features.command("stats")
def stats(state_dir: StateDir = None, config: Config = None) -> None:
    """Lists the views, as tab-separated lines: view, entities, and event time of the oldest and of the latest row."""
    with errors_as_exit():
        sink = _sink(load_settings(config, os.environ, {"state_dir": state_dir}))
        for found in sink.views():
            say(f"{found.view}\t{found.entities}\t{_when(found.earliest_ns)}\t{_when(found.latest_ns)}")


@features.command("export")
def export(
    out: Annotated[Path, typer.Argument(help="A .parquet, .csv or .jsonl file to write; must not exist.")],
    view: View,
    key: Key,
    as_of: Annotated[
        str | None, typer.Option(help="Everyone's features as they were known at this day or time; else now.")
    ] = None,
    rows: Annotated[
        Path | None, typer.Option(help="Rows (.parquet, .csv) that each get the features known at their own time.")
    ] = None,
    time_column: Annotated[str, typer.Option("--time", help="Column with the time: of --rows, and of --history.")] = "",
    history: Annotated[
        list[Path] | None,
        typer.Option(
            help="File that was loaded; may be repeated. Redis and Feast keep no history, these files are it."
        ),
    ] = None,
    max_age_s: Annotated[float, typer.Option(help="Leave out what is older than this by then.")] = float("inf"),
    state_dir: StateDir = None,
    config: Config = None,
) -> None:
    """Writes features as they were known at a time, for training: nothing of what came later."""
    with errors_as_exit():
        if rows is not None and as_of is not None:
            raise SettingError("--as-of is one time for all; with --rows each row has its own")
        settings = load_settings(config, os.environ, {"state_dir": state_dir})
        now_ns = time.time_ns()
        until_ns = moment("--as-of", as_of) or now_ns
        known = History()
        if history:
            known.add(history_of([FeatureFile(file, key, time_column) for file in history], now_ns))
        else:
            known.add(_kept(settings, view, until_ns))
        known.sort()
        if rows is None:
            table = known_at(known, key, until_ns, max_age_s * NS)
        else:
            table = joined(known, FeatureFile(rows, key, time_column), max_age_s * NS)
        _note(settings, "features export", {"view": view, "file": out.name})
        written = write_table(table, out)
    say(f"{out}: {written:,} rows")


def _note(settings: Settings, action: str, facts: dict[str, Any]) -> None:
    with closing(database_of(settings)) as database:
        database.prepare()
        note(database, By(user()), action, facts)


def _sink(settings: Settings) -> FeatureSink:
    if settings.features.store == "feast":
        raise FeaturesRefused("Feast is loaded, and asked what it holds, by its own commands")
    return cast("FeatureSink", store_of(settings))


def _kept(settings: Settings, view: str, until_ns: int) -> Any:
    """The history that the store keeps; raises FeaturesRefused where it keeps none."""
    if settings.features.store != "sqlite":
        raise FeaturesRefused(f"{settings.features.store} keeps the latest only: name with --history what was loaded")
    store: Any = store_of(settings)
    return store.history(view, until_ns)


def _when(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns / NS, UTC).isoformat()


@contextmanager
def _progress_bar() -> Iterator[Callable[[int, int | None], None]]:
    """A bar on standard error with the rows done; without a terminal nothing is drawn."""
    console = Console(stderr=True)
    columns = BarColumn(), TextColumn("{task.description}")
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total, description=f"{done:,} rows")
