"""`scoreline drift`: has the world of a model changed since it was sealed?"""

import csv
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from scoreline.cli.flags import Config, StateDir
from scoreline.cli.options import kept_database
from scoreline.cli.output import errors_as_exit, say
from scoreline.core.errors import SettingError
from scoreline.drift.words import changed, leading
from scoreline.operations.drifting import References
from scoreline.operations.driftreport import SPANS_S, drift_of
from scoreline.settings import load_settings

FORMATS: Final = ("table", "json", "csv")
COLUMNS: Final = (
    "subject", "kind", "evidence", "of", "what", "direction", "effect", "psi", "ks_at_least",
    "mean", "reference_mean", "missing", "reference_missing",
)  # fmt: skip
SHOWN: Final = 20
SAID_FROM: Final = 20.0  # evidence, of which a sentence is made


def drift(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Name of the model.")],
    last: Annotated[str, typer.Option(help=f"Counts of the last {', '.join(SPANS_S)}.")] = "1d",
    form: Annotated[
        str, typer.Option("--format", help="table; json: all there is; csv: a line for each score and field.")
    ] = "table",
    state_dir: StateDir = None,
    config: Config = None,
) -> None:
    """Shows whether what a model decides on still is what it was sealed with, field by field."""
    with errors_as_exit():
        if last not in SPANS_S:
            raise SettingError(f"--last is one of {', '.join(SPANS_S)}")
        if form not in FORMATS:
            raise SettingError(f"--format is one of {', '.join(FORMATS)}")
        settings = load_settings(config, os.environ, {"state_dir": state_dir})
        with kept_database(settings) as database:
            references = References(Path(settings.state_dir), settings.drift.rules)
            found = drift_of(database, references, model, SPANS_S[last])
        if form == "json":
            say(json.dumps(found))
        elif form == "csv":
            say(as_csv(found["subjects"]))
        else:
            for line in told(found):
                say(line)


def as_csv(subjects: Sequence[Mapping[str, Any]]) -> str:
    """A line for each score and field, behind one of names; what is not known is empty."""
    written = io.StringIO()
    writer = csv.DictWriter(written, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(subjects)
    return written.getvalue().rstrip("\n")


def told(found: Mapping[str, Any]) -> Iterator[str]:
    """The verdict, the incident if there is one, what moves the score most, and what scores may get wrong."""
    evidence = found["evidence"]
    yield f"{found['model']} {found['version']}: {found['verdict']}: {found['why']}"
    if found["incident"]:
        alarms = found["incident"].get("alarms", 1)
        yield f"  {leading(found['incident'])} (alarms: {alarms:,}; after each, evidence begins anew)"
    since = f", since {evidence['since']}" if evidence["since"] else ""
    yield f"  evidence {evidence['value']:.3g} of {evidence['alarm_at']:.3g} after {evidence['ticks']:,} ticks{since}"
    if found["decisions"]:
        yield from _told_subjects(found)
    yield from _told_loss(found["expected_loss"])


def _told_subjects(found: Mapping[str, Any]) -> Iterator[str]:
    yield f"  {found['decisions']:,} decisions since {found['since']}, beside the reference:"
    yield f"  {'':<24}{'evidence':>10}{'effect':>10}{'PSI':>8}{'KS >=':>8}{'mean':>22}{'missing':>18}"
    for one in found["subjects"][:SHOWN]:
        mean = _pair(one["mean"], one["reference_mean"], ".4g")
        missing = _pair(one["missing"], one["reference_missing"], ".2%")
        line = (
            f"  {one['subject'][:24]:<24}{one['evidence']:>10.3g}{_number(one['effect'], '+.3g'):>10}"
            f"{_number(one['psi'], '.3f'):>8}{_number(one['ks_at_least'], '.3f'):>8}{mean:>22}{missing:>18}{_said(one)}"
        )
        yield line.rstrip()
    if len(found["subjects"]) > SHOWN:
        yield f"  and {len(found['subjects']) - SHOWN} more that move the score less: --format csv has all"


def _said(one: Mapping[str, Any]) -> str:
    """What the evidence is of, where there is some."""
    if one["of"] is None or one["evidence"] < SAID_FROM:
        return ""
    return f"  {changed(one['subject'], one['of'], one['what'], one['direction'])}"


def _told_loss(loss: Mapping[str, Any] | None) -> Iterator[str]:
    if loss is None:
        return
    yield f"  expected Brier loss {loss['brier']:.4g}, on the reference {loss['reference_brier']:.4g}"
    for each in loss["error_rates"]:
        yield f"  expected errors of {each['outcome']!r} from {each['threshold']:g} on: {each['error_rate']:.2%}"
    yield f"  {loss['assumption']}"


def _pair(now: float | None, before: float | None, form: str) -> str:
    return f"{_number(now, form)} ({_number(before, form)})" if before is not None else ""


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
