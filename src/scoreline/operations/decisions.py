"""Recorded decisions with their labels: which, and what of them is shown.

A label is what is known to have happened, once that is final. What may change still is shown where it is asked for.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from scoreline.core import ids
from scoreline.core.decision import Author
from scoreline.operations.maturity import Manifests, Status, status_of, utc
from scoreline.records.joined import Joined, Places, joined
from scoreline.records.outcomes import Known, Report
from scoreline.records.rows import Row, decisions_of
from scoreline.records.walk import Wanted, outcome_of


class Seen(NamedTuple):
    """A decision as it is shown: the label, if it has one to show, and what is known of it."""

    row: Row
    author: Author
    label: Report | None
    status: Status


@dataclass(frozen=True, slots=True)
class Labels:
    """Which labels are shown, and which decisions for their sake.

    `immature`: labels that may change still are shown too. `labelled`, `unlabelled`: only decisions with a label that
    is shown, or without.
    """

    immature: bool = False
    labelled: bool = False
    unlabelled: bool = False

    def keeps(self, known: Known | None, *, matured: bool | None) -> bool:
        has_label = known is not None and (matured is True or self.immature)
        return has_label or not self.labelled if not self.unlabelled else not has_label


@dataclass(frozen=True, slots=True)
class ForTraining(Labels):
    """Decisions that are matured and have a label; those that are not (`immature`) or have none (`unlabelled`) too."""

    def keeps(self, known: Known | None, *, matured: bool | None) -> bool:
        return (matured is True or self.immature) and (known is not None or self.unlabelled)


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked, and of which moment."""

    places: Places
    wanted: Wanted
    labels: Labels
    manifests: Manifests
    now_ns: int

    def run(self, *, newest: bool = False, limit: int | None = None) -> Iterator[Seen]:
        """The decisions, the oldest first, or the newest. Raises DatabaseDown, DatabaseRefused or OSError."""
        for found in joined(self.places, self.wanted, self._keeps, newest=newest, limit=limit):
            matured = self._is_matured(found)
            is_shown = found.known is not None and (matured is True or self.labels.immature)
            label = found.known.current if found.known is not None and is_shown else None
            yield Seen(found.row, found.author, label, status_of(found.known, matured=matured))

    def _keeps(self, found: Joined) -> bool:
        return self.labels.keeps(found.known, matured=self._is_matured(found))

    def _is_matured(self, found: Joined) -> bool | None:
        return self.manifests.is_matured(found.author, found.row.time_ns, self.now_ns)


def told(wanted: Wanted, labels: Labels) -> dict[str, Any]:
    """A filter as it is put down: what is not asked for is left out, whom it is about is the keyed hash alone."""
    found = {name: getattr(wanted, name) for name in ("model", "version", "role", "caller", "outcome")}
    found["entity"] = wanted.entity.hex()
    found["from"] = utc(wanted.from_ns) if wanted.from_ns else ""
    found["until"] = utc(wanted.until_ns) if wanted.until_ns < Wanted().until_ns else ""
    found |= {"immature": labels.immature, "unlabelled": labels.unlabelled}
    return {name: value for name, value in found.items() if value or (name == "caller" and value is not None)}


def shown_line(seen: Seen) -> dict[str, Any]:
    """A decision as one object, without its features."""
    row, author, label = seen.row, seen.author, seen.label
    return {
        "id": ids.text(int.from_bytes(row.id, "big")),
        "time": utc(row.time_ns),
        "model": author.model,
        "version": author.version,
        "role": author.role,
        "caller": row.caller,
        "scores": _scores(row, author),
        "outcome": outcome_of(row, author),
        "label": label.value if label else None,
        "label_observed_at": utc(label.observed_ns) if label else None,
        "label_status": seen.status,
    }


def score_shown(line: Mapping[str, Any]) -> float | None:
    """The score of a line: of several classes, that of the class that was decided, or the highest."""
    scores: Mapping[str, float | None] = line["scores"]
    if line["outcome"] in scores and len(scores) > 1:
        return scores[line["outcome"]]
    return max((score for score in scores.values() if score is not None), default=None)


def _scores(row: Row, author: Author) -> dict[str, float | None]:
    """JSON has no NaN and no infinity: a record that was altered may."""
    found = decisions_of(row, author).scores[0].tolist()
    names = author.classes or (author.output,)
    return {name: score if math.isfinite(score) else None for name, score in zip(names, found, strict=False)}
