"""`scoreline replay`."""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

import typer

from scoreline.cli.flags import Config, StateDir, Trust
from scoreline.cli.output import errors_as_exit, say
from scoreline.core.decision import Decisions
from scoreline.core.errors import SettingError
from scoreline.operations.install import install
from scoreline.operations.predictions import find
from scoreline.operations.replay import backtest_many, replay_many, replay_one
from scoreline.records.read import read_files
from scoreline.replay.backtest import Backtest, Changes
from scoreline.replay.recompute import Summary, Verdict
from scoreline.settings import Settings, load_settings
from scoreline.wiring import record_of, registries, verifier

NOT_ALL_EQUAL: Final = 3


def replay(
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Prediction ids.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every recorded decision.")] = False,
    source: Annotated[
        Path | None,
        typer.Option("--from", metavar="PATH", help="Every decision in a file of the archive or of `batch --record`."),
    ] = None,
    model: Annotated[str, typer.Option(help="With --all or --from: of this model only.")] = "",
    bundle: Annotated[
        Path | None, typer.Option(help="Folder of a bundle that decided, if it is not in the state folder.")
    ] = None,
    other: Annotated[
        str, typer.Option("--with", metavar="REF", help="Score with this version instead, beside what was decided.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per decision, a line each.")] = False,
    trust: Trust = None,
    state_dir: StateDir = None,
    config: Config = None,
) -> None:
    """Computes recorded decisions again, and compares their margins bit for bit."""
    with errors_as_exit():
        if bool(ids) + every + (source is not None) != 1:
            raise SettingError("say which decisions: their ids, or --all, or --from a file")
        if bundle is not None and source is None:
            raise SettingError("--bundle goes with --from: what a service decided is replayed with its own bundles")
        settings = load_settings(config, os.environ, {"trust.keys": trust or None, "state_dir": state_dir})
        folder, found = Path(settings.state_dir), _found(ids or [], source, model, settings)
        if other:
            tell_changes(backtest_many(found, folder, _digest(other, settings)), as_json=as_json)
            return
        verdicts = (replay_one(one, folder) for one in found) if ids else replay_many(found, folder, bundle)
        summary = tell_verdicts(verdicts, as_json=as_json, each=bool(ids))
    if not summary.all_equal:
        raise typer.Exit(NOT_ALL_EQUAL)


def _found(ids: list[str], source: Path | None, model: str, settings: Settings) -> Iterable[Decisions]:
    if source is not None:
        return (one for one in read_files(source) if not model or one.author.model == model)
    kept = record_of(settings)
    return [find(kept, given) for given in ids] if ids else kept.iterate(model)


def _digest(ref: str, settings: Settings) -> str:
    """The digest of the version a REF names, brought here and verified."""
    return install(ref, registries(settings), verifier(settings), Path(settings.state_dir)).manifest.digest


def tell_verdicts(verdicts: Iterable[Verdict], *, as_json: bool, each: bool) -> Summary:
    """Prints every verdict, or only those that are not equal and what there was in all."""
    summary = Summary()
    for verdict in verdicts:
        summary.add(verdict)
        if as_json:
            say(json.dumps(asdict(verdict), ensure_ascii=False))
        elif each:
            say(_line(verdict))
    if not as_json and not each:
        for line in _in_all(summary):
            say(line)
    return summary


def _in_all(summary: Summary) -> Iterator[str]:
    yield from map(_line, summary.told)
    counts = ", ".join(f"{count:,} {result}" for result, count in summary.results.most_common())
    yield f"{summary.results.total():,} decisions: {counts or 'none recorded'}"
    for promise, count in summary.guarantees.items():
        yield f"{count:,} are guaranteed to have the same bits on {promise.replace('same', 'the same')}"
    for (before, now), count in summary.libraries.items():
        yield f"{count:,} were recorded with {before} and computed again with {now}"


def _line(verdict: Verdict) -> str:
    apart = f" by {verdict.difference:.3g}" if verdict.result == "differs" and verdict.difference else ""
    promise = f", {verdict.guarantee}" if verdict.guarantee else ""
    note = f": {verdict.note}" if verdict.note else ""
    return f"{verdict.id}  {verdict.result}{apart}  ({verdict.model} {verdict.version}{promise}){note}"


def tell_changes(found: Iterable[Backtest], *, as_json: bool) -> None:
    """Prints every comparison as JSON, or what changed in all."""
    changes = Changes()
    for one in found:
        changes.add(one)
        if as_json:
            say(json.dumps(asdict(one), ensure_ascii=False))
    if as_json:
        return
    not_comparable = changes.notes.total()
    say(f"{changes.comparable + not_comparable:,} decisions: {changes.comparable:,} comparable")
    if changes.moved_mean is not None:
        say(f"scores move by {changes.moved_mean:.4g} in the mean, {changes.moved_most:.4g} at most")
    for (before, after), count in changes.outcomes.most_common():
        say(f"  {before} -> {after}: {count:,}")
    for note, count in changes.notes.most_common():
        say(f"  not comparable, {note}: {count:,}")
