"""`scoreline holds`."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated

import typer

from scoreline.cli.flags import Config, StateDir
from scoreline.cli.options import entity as about
from scoreline.cli.options import kept_database, span
from scoreline.cli.output import errors_as_exit, say
from scoreline.cli.who import user
from scoreline.records.database import Database
from scoreline.records.holds import Hold, active_holds
from scoreline.records.holds import place as place_hold
from scoreline.records.holds import release as release_hold
from scoreline.settings import Settings, load_settings

holds = typer.Typer(no_args_is_help=True, help="Legal holds: what they cover, nobody removes or erases.")


@holds.command("place")
def place(
    reason: Annotated[str, typer.Option(help="Why, for the record.")],
    model: Annotated[str | None, typer.Option(help="Decisions of this model; else of any.")] = None,
    entity: Annotated[str | None, typer.Option(help="About this entity; else about any.")] = None,
    since: Annotated[str | None, typer.Option("--from", help="Taken up at this day or time, or later.")] = None,
    until: Annotated[str | None, typer.Option(help="Taken up before this day or time.")] = None,
    state_dir: StateDir = None,
    config: Config = None,
) -> None:
    """Holds decisions, past ones and those to come; prints the number of the hold."""
    with errors_as_exit(), _opened(config, state_dir) as (settings, database):
        of = None if entity is None else about(entity, settings)
        number = place_hold(database, Hold(model, of, *span(since, until), reason, user()))
    say(f"hold {number}")


@holds.command("release")
def release(
    number: Annotated[int, typer.Argument(help="Number of the hold.")],
    state_dir: StateDir = None,
    config: Config = None,
) -> None:
    """Ends a hold, which stays in the record."""
    with errors_as_exit(), _opened(config, state_dir) as (_, database):
        release_hold(database, number, user())
    say(f"hold {number} is released")


@holds.command("list")
def list_(state_dir: StateDir = None, config: Config = None) -> None:
    """Lists the holds that count: number, what they cover, who placed them and why."""
    with errors_as_exit(), _opened(config, state_dir) as (_, database), database.reading() as connection:
        for number, hold in sorted(active_holds(connection).items()):
            covers = [f"model {hold.model}"] if hold.model else []
            covers += [f"entity {hold.entity.hex()}"] if hold.entity else []
            covers += [f"from {_day(hold.from_ns)}"] if hold.from_ns is not None else []
            covers += [f"until {_day(hold.until_ns)}"] if hold.until_ns is not None else []
            say(f"{number}\t{', '.join(covers) or 'everything'}\t{hold.who}\t{hold.reason}")


@contextmanager
def _opened(config: Config, state_dir: StateDir) -> Iterator[tuple[Settings, Database]]:
    settings = load_settings(config, os.environ, {"state_dir": state_dir})
    with kept_database(settings) as database:
        yield settings, database


def _day(time_ns: int) -> str:
    return f"{datetime.fromtimestamp(time_ns / 1e9, UTC):%Y-%m-%dT%H:%M:%SZ}"
