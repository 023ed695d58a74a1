"""What `scoreline rollout status` says of a challenger: how far it agrees, and how it does on outcomes."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

Json = Mapping[str, Any]
FLIPS: Final = 10


def told_shadow(report: Json) -> Iterator[str]:
    """Its report in lines; what is missing in it is not said."""
    if "error" in report:
        yield f"nothing can be compared here: {report['error']}"
        return
    if "scored" in report:
        yield from _scored(report)
    if "agreement" in report:
        yield from _agreement(report["agreement"])
    if "pairs" in report:
        yield from _outcomes(report)
    yield from _segments(report)
    if report.get("is_behind"):
        yield "there is more to compare: look again"
    yield from (f"assumes: {each}" for each in report.get("assumptions", ()))


def told_backtest(found: Json) -> Iterator[str]:
    """The same of a version that was held against the record."""
    report = found["report"]
    yield f"{found['model']}: version {found['version']} on every recorded decision of the champion"
    if report["unscored"]:
        yield f"  {report['unscored']:,} decisions it cannot score"
    yield from (f"  {line}" for line in told_shadow(report))


def told_movers(found: Json) -> Iterator[str]:
    """Each decision in a line, and under it what its fields add to the margin of the champion and of the version."""
    yield f"{found['model']}: version {found['version']} in shadow beside the champion, version {found['champion']}"
    if not found["movers"]:
        yield "  no decision was compared whose score it moves"
    for one in found["movers"]:
        note = f" ({one['note']})" if one["note"] else ""
        yield f"{one['id']}: {one['score']:.4g} -> {one['other_score']:.4g}{note}"
        for each in one["shifts"]:
            change = f"{each['contribution']:+.3g} -> {each['other_contribution']:+.3g}"
            yield f"  {each['field']}: {change}  ({each['text']})"


def _scored(report: Json) -> Iterator[str]:
    faults = ", ".join(f"{count:,} times {kind}" for kind, count in report["faults"].items())
    words = [f"{report['scored']:,} decisions scored"]
    words += [f"{report['not_scorable']:,} it cannot score"] if report["not_scorable"] else []
    late = report.get("late_shipped", 0)
    words += [f"{late:,} came late, and were compared anew"] if late else []
    words += [faults] if faults else []
    yield "; ".join(words)
    if report["given_up"]:
        yield "it is given up: it ended its process twice at one place; end its shadow, and mend it"


def _agreement(found: Json) -> Iterator[str]:
    if not found["rows"]:
        yield "agreement: nothing compared yet"
        return
    same = "" if found["same_outcome"] is None else f", the same outcome in {found['same_outcome'] * 100:.4g} %"
    distance = found["distance"]
    yield (
        f"agreement: {found['rows']:,} decisions{same}; scores differ by {distance['p50']:.3g} in the middle, "
        f"{distance['p99']:.3g} at p99, {distance['max']:.3g} at most"
    )
    changed = sorted((one for one in found["outcomes"] if one["from"] != one["to"]), key=lambda one: -one["rows"])
    yield from (f"  {one['from']} -> {one['to']}: {one['rows']:,}" for one in changed[:FLIPS])


def _outcomes(report: Json) -> Iterator[str]:
    if not report["pairs"]:
        yield f"outcomes: none that is final yet (loss: {report['loss']})"
        return
    low, high = report["difference"]
    losses = f"{report['mean_loss_challenger']:.4g}, the champion's {report['mean_loss']:.4g}"
    yield f"outcomes: {report['pairs']:,}; mean {report['loss']} loss {losses}; between {low:.3g} and {high:.3g} better"
    values = ", ".join(f"{word} {report[f'e_{word.lower()}']:.3g}" for word in ("BETTER", "SAFE", "WORSE"))
    yield f"claims: {', '.join(report['claims']) or 'none yet'} (e-values: {values}, of {report['e_limit']:g})"
    if report["outcomes_needed"] and not report["claims"]:
        yield f"an equal model is SAFE within {report['delta']:g} after about {report['outcomes_needed']:,.0f} outcomes"
    if report["outcomes_missing"]:
        late = f"; {report['late']:,} were reported too late" if report.get("late") else ""
        yield f"{report['outcomes_missing'] * 100:.3g} % of the outcomes are missing{late}"


def _segments(report: Json) -> Iterator[str]:
    """Each value of the field in a line; `None` is where it was missing."""
    for each in report.get("segments", ()):
        if each["pairs"]:
            claims = ", ".join(each["claims"]) or "no claim yet"
            losses = f"{each['mean_loss_challenger']:.4g}, the champion's {each['mean_loss']:.4g}"
            yield f"  {report['segment']} {each['segment']}: {each['pairs']:,} outcomes; mean loss {losses}; {claims}"
