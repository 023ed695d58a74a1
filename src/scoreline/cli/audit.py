"""`scoreline audit`."""

import json
import os
import re
import time
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from scoreline.audit.export import Filter, open_export
from scoreline.audit.export import export as export_record
from scoreline.audit.report import Report
from scoreline.audit.verify import verify as verify_record
from scoreline.cli.flags import Config, StateDir
from scoreline.cli.options import entity as about
from scoreline.cli.options import kept_database, span
from scoreline.cli.output import errors_as_exit, say, tell
from scoreline.cli.who import user
from scoreline.core.errors import NotFound, SettingError
from scoreline.operations.acted import acted
from scoreline.records.actions import By
from scoreline.records.archive import Archive
from scoreline.records.asked import change_key
from scoreline.records.asked import erasures as all_erasures
from scoreline.records.erase import Eraser
from scoreline.records.segments import damaged_segments
from scoreline.settings import Settings, load_settings
from scoreline.signing import TrustStore
from scoreline.wiring import AUDIT_PUBLIC, signer, spool_folder

BROKEN: Final = 3
NOTHING_SIGNED: Final = 4
SHOWN: Final = 20
HEAD: Final = re.compile(r"[0-9]+:[0-9a-fA-F]{64}")

audit = typer.Typer(no_args_is_help=True, help="Proves the record whole, exports it with its proof, erases from it.")


@audit.command("verify")
def verify(
    file: Annotated[Path | None, typer.Argument(help="An export, read offline; else the database itself.")] = None,
    trust: Annotated[
        list[Path] | None, typer.Option(help="Public key of who signs checkpoints; may be repeated.")
    ] = None,
    head: Annotated[str, typer.Option(help="NUMBER:HASH of a checkpoint noted elsewhere: it must be there.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="The whole report as JSON.")] = False,
    state_dir: StateDir = None,
    config: Config = None,
) -> None:
    """Finds whatever was altered, removed, inserted or reordered since it was signed. Exit code 3: something was."""
    with errors_as_exit():
        if head and not HEAD.fullmatch(head):
            raise SettingError("--head: NUMBER:HASH as an earlier `audit verify` has printed it")
        settings = load_settings(config, os.environ, {"state_dir": state_dir})
        archive = Archive(settings.records.archive) if settings.records.archive and not file else None
        with closing(open_export(file)) if file else kept_database(settings) as database:
            keys = TrustStore.from_files(trust or [_own_key(settings)])
            report = verify_record(database, keys, archive, head, is_export=file is not None)
    if as_json:
        say(json.dumps({"verdict": report.verdict, **asdict(report)}, indent=2))
    else:
        _say(report)
    if report.verdict != "intact":
        raise typer.Exit(BROKEN if report.verdict == "broken" else NOTHING_SIGNED)


@audit.command("export")
def export(
    file: Annotated[Path, typer.Argument(help="File to write; must not exist.")],
    model: Annotated[str, typer.Option(help="Of this model only.")] = "",
    since: Annotated[str | None, typer.Option("--from", help="Taken up at this day or time, or later.")] = None,
    until: Annotated[str | None, typer.Option(help="Taken up before this day or time.")] = None,
    state_dir: StateDir = None,
    config: Config = None,
) -> None:
    """Writes the record with all that proves it to one file, which `audit verify` takes on any machine."""
    with errors_as_exit():
        settings = load_settings(config, os.environ, {"state_dir": state_dir})
        by = Filter(model, *span(since, until))
        archive = Archive(settings.records.archive) if settings.records.archive else None
        with kept_database(settings) as database:
            rows, left_out = export_record(database, archive, file, signer(settings), by, user(), time.time_ns())
    say(f"{file}: {rows:,} decisions, and proof of them; {left_out:,} are left out")


@audit.command("erase")
def erase(
    entity: Annotated[str, typer.Option(help="Whom the decisions are about, as in the rows that were scored.")],
    reason: Annotated[str, typer.Option(help="Why, for the record.")],
    state_dir: StateDir = None,
    config: Config = None,
) -> None:
    """Erases all that is recorded of an entity; the chain still verifies. A legal hold goes before."""
    with errors_as_exit():
        settings = load_settings(config, os.environ, {"state_dir": state_dir})
        with kept_database(settings) as database:
            hashed = about(entity, settings)
            eraser = Eraser(database, signer(settings), settings.records.archive)
            number, left = eraser.erase(hashed, reason, user())
            found = next(one for one in all_erasures(database) if one.number == number)
        damaged = damaged_segments(spool_folder(settings), hashed)
    say(f"erasure {number}: {found.decisions:,} decisions and {found.outcomes:,} outcomes are erased")
    if found.waiting:
        say(f"{found.waiting} segments have not ended: what is in them goes once it is shipped and they end")
    for one in left:
        by = f"by {one.who}, {_utc(one.at_ns)}"
        say(f"left before, out of reach: {one.kind} {one.name} (SHA-256 {one.digest[:16]}), {by}")
    for name in damaged:
        say(f"kept because it is damaged, and names the entity: {name}; delete it once you have looked at it")


@audit.command("erasures")
def erasures(state_dir: StateDir = None, config: Config = None) -> None:
    """Lists what was erased: number, time, by whom, why, how many decisions and outcomes, and whether it is done."""
    with errors_as_exit():
        settings = load_settings(config, os.environ, {"state_dir": state_dir})
        with kept_database(settings) as database:
            for one in all_erasures(database):
                state = f"{one.waiting} segments wait" if one.waiting else "done" if one.done else "watched"
                counts = f"{one.decisions}\t{one.outcomes}"
                say(f"{one.number}\t{_utc(one.at_ns)}\t{one.who}\t{one.reason}\t{counts}\t{state}")


@audit.command("actions")
def actions(
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, one a line.")] = False,
    state_dir: StateDir = None,
    config: Config = None,
) -> None:
    """Lists what admins did, the newest first: time, who, from where, what, and about what."""
    with errors_as_exit():
        settings = load_settings(config, os.environ, {"state_dir": state_dir})
        with kept_database(settings) as database:
            for one in acted(database, limit):
                columns = one["at"], one["who"], one["address"] or "-", one["action"], json.dumps(one["facts"])
                say(json.dumps(one) if as_json else "\t".join(columns))


@audit.command("rekey")
def rekey(state_dir: StateDir = None, config: Config = None) -> None:
    """Goes on with this service's own key, where another one has signed so far; auditors need both from here on."""
    with errors_as_exit():
        settings = load_settings(config, os.environ, {"state_dir": state_dir})
        with kept_database(settings) as database:
            link = change_key(database, signer(settings), time.time_ns(), By(user()))
    say(f"checkpoint {link.seq} is signed by {link.key}, and so are those that follow")


def _say(report: Report) -> None:
    for finding in report.findings[:SHOWN]:
        tell(f"{finding.what}: {finding.where}: {finding.says}")
    if report.n_findings > SHOWN:
        tell(f"and {report.n_findings - SHOWN:,} more; --json has the first {len(report.findings):,}")
    where = f"{report.segments:,} segments, {report.checkpoints:,} checkpoints"
    say(f"{report.verdict}: {report.records:,} decisions in {where}")
    if report.export is not None:
        say(f"an export; its filter: {json.dumps(report.export.get('filter'))}; {report.left_out:,} decisions left out")
    say(f"{report.erased:,} erased and {report.removed:,} removed, signed for")
    last = _utc(report.signed_ns) if report.signed_ns else "there is none"
    say(f"{report.unsigned:,} after the last checkpoint ({last})")
    say(f"{report.open_segments:,} segments have not ended: they are being written, or their host is gone")
    if report.head:
        say(f"note this elsewhere: --head {report.head}")


def _own_key(settings: Settings) -> Path:
    """The public key of the service itself; raises NotFound."""
    path = Path(settings.state_dir) / AUDIT_PUBLIC
    if not path.exists():
        raise NotFound(f"no {AUDIT_PUBLIC} in {settings.state_dir}: name the public key of who signs with --trust")
    return path


def _utc(time_ns: int) -> str:
    return f"{datetime.fromtimestamp(time_ns / 1e9, UTC):%Y-%m-%d %H:%M:%S} UTC"
