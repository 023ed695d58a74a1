"""`scoreline rollout`: acting on versions, on the service's own database and state folder."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from scoreline.cli.flags import Config, StateDir, Trust
from scoreline.cli.options import kept_database
from scoreline.cli.output import errors_as_exit, say, tell
from scoreline.cli.told import told_acted, told_history, told_plan, told_status
from scoreline.cli.toldshadow import told_backtest, told_movers
from scoreline.cli.who import user
from scoreline.control.shadowscores import Challenger
from scoreline.core.manifest import canonical_json
from scoreline.operations import outlook
from scoreline.operations.bundles import ByDigest, bundle_path
from scoreline.operations.compared import Scores
from scoreline.operations.desk import Desk
from scoreline.operations.movers import movers as movers_of
from scoreline.operations.paired import EVER_NS, Scoring, backtested, rivals
from scoreline.operations.rollouts import By
from scoreline.operations.shadowreport import UNDECLARED
from scoreline.records.joined import Joined
from scoreline.records.ledger import Entry
from scoreline.settings import Settings, load_settings
from scoreline.wiring import desk_of, kept_of, open_challenger

rollout = typer.Typer(no_args_is_help=True, help="A new version on its way: shadow, canary, champion, and back.")

ModelName = Annotated[str, typer.Argument(metavar="MODEL", help="Name of the model.")]
Version = Annotated[str, typer.Argument(metavar="VERSION", help="A version in shadow.")]
Why = Annotated[str, typer.Option("--why", help="Why, for the record.")]
Force = Annotated[
    str, typer.Option("--force", metavar="REASON", help="Pass over the gate of shadow, for this reason; recorded.")
]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]


@rollout.command("shadow")
def shadow(
    model: ModelName,
    ref: Annotated[str, typer.Argument(metavar="REF", help="models:/NAME/VERSION, folder:/NAME/VERSION or a path.")],
    why: Why = "",
    as_json: AsJson = False,
    trust: Trust = None,
    state_dir: StateDir = None,
    config: Config = None,
) -> None:
    """Has a version score all traffic and answer none of it."""
    with _opened(config, state_dir, trust) as (desk, _):
        entry = desk.shadow(model, ref, By(user(), why))
        _tell(entry, as_json=as_json)
        if entry.evidence["barred"]:
            tell(f"it cannot become a canary as it is: {entry.evidence['barred']}")
        if not desk.host.manifest(desk.stage(model).champion).maturity_s:
            tell(f"note: {UNDECLARED}")


@rollout.command("end-shadow")
def end_shadow(
    model: ModelName,
    version: Version,
    why: Why = "",
    as_json: AsJson = False,
    state_dir: StateDir = None,
    config: Config = None,
) -> None:
    """Ends the shadow of a version; what it has shown is recorded."""
    with _opened(config, state_dir) as (desk, _):
        _tell(desk.end_shadow(model, version, By(user(), why)), as_json=as_json)


@rollout.command("canary")
def canary(
    model: ModelName,
    wanted: Annotated[str, typer.Argument(metavar="REF|VERSION", help="A version in shadow, or a REF.")],
    force: Force = "",
    why: Why = "",
    as_json: AsJson = False,
    trust: Trust = None,
    state_dir: StateDir = None,
    config: Config = None,
) -> None:
    """Lets a version answer its first share of the traffic, if it passes the gates."""
    with _opened(config, state_dir, trust) as (desk, _):
        entry = desk.canary(model, wanted, By(user(), why), force)
        _tell(entry, as_json=as_json)
        if entry.evidence["unwatched"]:
            tell(f"note: {entry.evidence['unwatched']}")


@rollout.command("status")
def status(model: ModelName, as_json: AsJson = False, state_dir: StateDir = None, config: Config = None) -> None:
    """Shows who answers, who is compared, and what the evidence says."""
    with _opened(config, state_dir) as (desk, _):
        _show(outlook.status(desk, model), told_status, as_json=as_json)


@rollout.command("movers")
def movers(
    model: ModelName,
    version: Annotated[
        str, typer.Argument(metavar="[VERSION]", help="A version in shadow, if there are several.")
    ] = "",
    as_json: AsJson = False,
    state_dir: StateDir = None,
    config: Config = None,
) -> None:
    """Lists the decisions that a version in shadow moves furthest, and the fields that move them."""
    with _opened(config, state_dir) as (desk, settings):
        record = kept_of(settings, desk.database)
        _show(movers_of(desk, record, Path(settings.state_dir), model, version), told_movers, as_json=as_json)


@rollout.command("plan")
def plan(
    model: ModelName, as_json: AsJson = False, trust: Trust = None, state_dir: StateDir = None, config: Config = None
) -> None:
    """Says how long a rollout would take at the traffic of late."""
    with _opened(config, state_dir, trust) as (desk, _):
        _show(outlook.planned(desk, model), told_plan, as_json=as_json)


@rollout.command("advance")
def advance(
    model: ModelName, why: Why = "", as_json: AsJson = False, state_dir: StateDir = None, config: Config = None
) -> None:
    """Takes the canary a step further, whatever the evidence."""
    with _opened(config, state_dir) as (desk, _):
        _tell(desk.advance(model, By(user(), why)), as_json=as_json)


@rollout.command("pause")
def pause(
    model: ModelName, why: Why = "", as_json: AsJson = False, state_dir: StateDir = None, config: Config = None
) -> None:
    """Keeps the canary at its share; harm still rolls it back."""
    with _opened(config, state_dir) as (desk, _):
        _tell(desk.pause(model, By(user(), why)), as_json=as_json)


@rollout.command("resume")
def resume(
    model: ModelName, why: Why = "", as_json: AsJson = False, state_dir: StateDir = None, config: Config = None
) -> None:
    """Lets a canary go on that is paused or held."""
    with _opened(config, state_dir) as (desk, _):
        _tell(desk.resume(model, By(user(), why)), as_json=as_json)


@rollout.command("approve")
def approve(
    model: ModelName, why: Why = "", as_json: AsJson = False, state_dir: StateDir = None, config: Config = None
) -> None:
    """Approves the rollout; not for who sealed the version."""
    with _opened(config, state_dir) as (desk, _):
        _tell(desk.approve(model, By(user(), why)), as_json=as_json)


@rollout.command("promote")
def promote(
    model: ModelName,
    version: Annotated[str, typer.Argument(metavar="[VERSION]", help="A version in shadow; else the canary.")] = "",
    force: Force = "",
    why: Why = "",
    as_json: AsJson = False,
    state_dir: StateDir = None,
    config: Config = None,
) -> None:
    """Makes the canary the champion, or a version in shadow that passes the gates."""
    with _opened(config, state_dir) as (desk, _):
        _tell(desk.promote(model, By(user(), why), version, force), as_json=as_json)


@rollout.command("rollback")
def rollback(
    model: ModelName,
    champion: Annotated[
        str,
        typer.Option("--champion", metavar="VERSION", help="Take this champion back, to the one before."),
    ] = "",
    why: Why = "",
    as_json: AsJson = False,
    state_dir: StateDir = None,
    config: Config = None,
) -> None:
    """Ends the canary; or, by its version, the champion."""
    with _opened(config, state_dir) as (desk, _):
        by = By(user(), why)
        _tell(desk.take_back(model, champion, by) if champion else desk.roll_back(model, by), as_json=as_json)


@rollout.command("history")
def history(
    model: ModelName,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many entries.")] = 50,
    as_json: AsJson = False,
    state_dir: StateDir = None,
    config: Config = None,
) -> None:
    """Lists what was done, the newest first: when, by whom, why, on what e-values."""
    with _opened(config, state_dir) as (desk, _):
        found = outlook.told_history(desk, model, limit)
        for line in (_json(entry) for entry in found) if as_json else told_history(found):
            say(line)


@rollout.command("backtest")
def backtest(
    model: ModelName,
    wanted: Annotated[str, typer.Argument(metavar="REF|VERSION", help="A version in shadow, or a REF.")],
    as_json: AsJson = False,
    trust: Trust = None,
    state_dir: StateDir = None,
    config: Config = None,
) -> None:
    """Compares every recorded decision of the champion with what another version makes of it, and of outcomes."""
    with _opened(config, state_dir, trust) as (desk, settings):
        arm, policy = desk.version(model, wanted), desk.policy
        mine, theirs = (desk.host.manifest(each) for each in (desk.stage(model).champion, arm))
        found = rivals(mine, theirs, policy, in_time_ns=EVER_NS)
        places = kept_of(settings, desk.database).places()
        report = backtested(places, model, found, _scoring(arm.digest, Path(settings.state_dir)), policy)
        _show({"model": model, "version": arm.version, "report": report}, told_backtest, as_json=as_json)


def _scoring(digest: str, state_dir: Path) -> Scoring:
    """What a version, which is here, makes of recorded decisions, as it would in shadow."""
    challenger = Challenger(open_challenger(bundle_path(state_dir, digest), ByDigest(digest)), state_dir)

    def scoring(page: Sequence[Joined]) -> Scores:
        rows = {page[0].author.digest: [one.row for one in page]}  # the champion's
        return {one.id: (one.scores, one.outcome) for one in challenger.score(rows)}

    return scoring


@contextmanager
def _opened(config: Config, state_dir: StateDir, trust: Trust = None) -> Iterator[tuple[Desk, Settings]]:
    with errors_as_exit():
        settings = load_settings(config, os.environ, {"state_dir": state_dir, "trust.keys": trust or None})
        with kept_database(settings) as database:
            yield desk_of(settings, database), settings


def _tell(entry: Entry, *, as_json: bool) -> None:
    _show(outlook.told_entry(entry) | {"model": entry.model}, told_acted, as_json=as_json)


def _show(found: Mapping[str, Any], words: Any, *, as_json: bool) -> None:
    lines: Iterable[str] = [_json(found)] if as_json else words(found)
    for line in lines:
        say(line)


def _json(found: Mapping[str, Any]) -> str:
    return canonical_json(found).decode()
