"""`scoreline keys`."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Annotated, Any

import typer

from scoreline.access.caller import NORMAL
from scoreline.cli.flags import Config, StateDir
from scoreline.cli.output import errors_as_exit, say, tell
from scoreline.cli.who import user
from scoreline.operations import apikeys
from scoreline.operations.apikeys import Made
from scoreline.records.actions import By
from scoreline.records.database import Database
from scoreline.settings import load_settings
from scoreline.wiring import database_of

keys = typer.Typer(no_args_is_help=True, help="Keys of callers: who they are, what they open, and until when.")

Number = Annotated[int, typer.Argument(metavar="NUMBER", help="Number of the key.")]


@keys.command("create")
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The caller's name, as it stands in the record.")],
    scope: Annotated[list[str], typer.Option(help="predict, feedback, read, metrics or admin; may be repeated.")],
    model: Annotated[list[str] | None, typer.Option(help="A model it is for; may be repeated; else every one.")] = None,
    priority: Annotated[str, typer.Option(help="Who goes first under pressure: high, normal or low.")] = NORMAL,
    expires_days: Annotated[int | None, typer.Option(help="Days until it ends; else never.")] = None,
    state_dir: StateDir = None,
    config: Config = None,
) -> None:
    """Makes a key and prints it, which nothing does again: what is kept is its SHA-256."""
    with _opened(config, state_dir) as database:
        grant = apikeys.grant_of(name, scope, model or None, priority, expires_days, now_ns=time.time_ns())
        _show(apikeys.create(database, grant, By(user())))


@keys.command("list")
def list_(
    as_json: Annotated[bool, typer.Option("--json", help="All that is kept of each key, as JSON, one a line.")] = False,
    state_dir: StateDir = None,
    config: Config = None,
) -> None:
    """Lists keys: number, name, state, scopes, models, priority, its end, its last use (to the minute)."""
    with _opened(config, state_dir) as database:
        for one in apikeys.listed(database, time.time_ns()):
            say(json.dumps(one) if as_json else _line(one))


@keys.command("revoke")
def revoke(number: Number, state_dir: StateDir = None, config: Config = None) -> None:
    """Ends a key, on every host within seconds; it stays in the list."""
    with _opened(config, state_dir) as database:
        apikeys.revoke(database, number, By(user()))
    say(f"key {number} is revoked")


@keys.command("rotate")
def rotate(
    number: Number,
    grace_s: Annotated[int, typer.Option(help="How long the old key counts on.")] = apikeys.GRACE_S,
    state_dir: StateDir = None,
    config: Config = None,
) -> None:
    """Makes a key that opens what an old one does, and prints it; the old one ends after a while."""
    with _opened(config, state_dir) as database:
        _show(apikeys.rotate(database, number, By(user()), grace_s))
    tell(f"key {number} ends in {grace_s} s")


@contextmanager
def _opened(config: Config, state_dir: StateDir) -> Iterator[Database]:
    """A database that is not there yet is made: keys may come before the service."""
    with errors_as_exit():
        settings = load_settings(config, os.environ, {"state_dir": state_dir})
        with closing(database_of(settings)) as database:
            database.prepare()
            yield database


def _show(made: Made) -> None:
    tell(f"key {made.number}; keep it now, nobody can tell it again:")
    say(made.key)


def _line(one: dict[str, Any]) -> str:
    models = "every model" if one["models"] is None else ",".join(one["models"])
    columns = [str(one["number"]), one["name"], one["state"], ",".join(one["scopes"]), models, one["priority"]]
    return "\t".join([*columns, one["expires"] or "never", one["last_used"] or "never"])
