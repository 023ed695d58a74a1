"""What is known to have happened, as people see it, and whether it is final: its model's maturity has passed."""

import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from scoreline.core.decision import Author
from scoreline.core.errors import BundleError, NotFound
from scoreline.core.manifest import Manifest
from scoreline.operations.bundles import manifest_of
from scoreline.records.outcomes import Known, Report

Status = Literal["matured", "immature", "unknown"]
_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Actual:
    """One report of what happened: a number or the name of a class, since when it is known, when it was received."""

    value: float | str
    observed_at: str
    received_at: str


@dataclass(frozen=True, slots=True)
class LatestActual(Actual):
    """The report that counts, and those it corrects, the oldest first.

    `matured`: whether it is final. Null: its bundle, which says how long an outcome may change, is not here.
    """

    matured: bool | None
    history: tuple[Actual, ...]


class Manifests:
    """The manifests of authors' bundles, as far as they are in the state folder."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._found: dict[str, Manifest | None] = {}

    def of(self, author: Author) -> Manifest | None:
        """The manifest of the bundle that decided; None where it is not here, or not what the record says of it."""
        if author.digest not in self._found:
            self._found[author.digest] = self._read(author)
        return self._found[author.digest]

    def is_matured(self, author: Author, time_ns: int, now_ns: int) -> bool | None:
        """Whether what is known of a decision of a time is final; None where nobody here can say."""
        manifest = self.of(author)
        return None if manifest is None else time_ns + manifest.maturity_s * _NS <= now_ns

    def _read(self, author: Author) -> Manifest | None:
        try:
            manifest = manifest_of(self._state_dir, author.digest)
        except (NotFound, BundleError):
            return None
        told = (author.model, author.version, author.fields, author.classes)
        is_same = told == (manifest.name, manifest.version, manifest.schema.names, manifest.classes)
        return manifest if is_same else None


def status_of(known: Known | None, *, matured: bool | None) -> Status:
    """`unknown`: nothing is known; `matured`: it is, and is final; `immature`: it may change still."""
    return "unknown" if known is None else "matured" if matured else "immature"


def actual_of(known: Known | None, *, matured: bool | None) -> LatestActual | None:
    """What is known of a decision as people see it."""
    if known is None:
        return None
    current, history = known.current, tuple(Actual(*_told(report)) for report in known.history)
    return LatestActual(*_told(current), matured, history)


def utc(time_ns: int) -> str:
    """A time in RFC 3339, in UTC, with microseconds."""
    seconds, rest = divmod(time_ns, _NS)
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC).replace(microsecond=rest // 1000)
    return moment.isoformat(timespec="microseconds")


def _told(report: Report) -> tuple[float | str, str, str]:
    return report.value, utc(report.observed_ns), utc(report.received_ns)
