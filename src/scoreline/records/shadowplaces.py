"""What the shadow of a host and whoever deletes segments of its spool tell each other, in two files.

`places.json`, by the shadow: how far each challenger is. It says less than the database has, never more: it is written
after the transaction. `lost.jsonl`, by whoever deletes: segments that were deleted before a challenger was through.
"""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from scoreline.records.segments import BEGIN, Segment, segment_name, size_of

PLACES: Final = "places.json"
LOST: Final = "lost.jsonl"


class Key(NamedTuple):
    """A challenger: the version of a model with a digest, in shadow since an entry of the ledger."""

    model: str
    digest: str
    since: int


@dataclass(frozen=True, slots=True)
class Place:
    """How far a challenger is on this host: its offset by segment; and over all hosts, decisions and faults by kind."""

    model: str
    digest: str
    since: int
    offsets: Mapping[str, int] = field(default_factory=dict)
    scored: int = 0
    missed: int = 0
    faults: Mapping[str, int] = field(default_factory=dict)
    given_up: bool = False

    @property
    def key(self) -> Key:
        return Key(self.model, self.digest, self.since)

    def is_past(self, segment: Segment, offset: int) -> bool:
        return self.given_up or self.offsets.get(segment.path.name, BEGIN) >= offset

    def lag_bytes(self, found: Iterable[Segment]) -> int:
        """Bytes of segments that it has not read; one that is given up reads no more."""
        if self.given_up:
            return 0
        return sum(max(0, size_of(each.path) - self.offsets.get(each.path.name, BEGIN)) for each in found)


def write_places(state_dir: Path, places: Sequence[Place]) -> None:
    """Replaces the file, where it says something else."""
    path = state_dir / "shadow" / PLACES
    raw = json.dumps([asdict(place) for place in places], sort_keys=True)
    if not path.exists() or path.read_text() != raw:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{PLACES}")
        temporary.write_text(raw)
        temporary.replace(path)


def read_places(state_dir: Path) -> dict[Key, Place]:
    """How far challengers are, as the shadow last said; one that is not there has not begun."""
    try:
        found = [Place(**each) for each in json.loads((state_dir / "shadow" / PLACES).read_text())]
    except (OSError, ValueError, TypeError):
        return {}
    return {place.key: place for place in found}


def behind(state_dir: Path, wanted: Iterable[Key], segment: Segment, offset: int) -> list[Key]:
    """Those challengers that have not scored a segment up to an offset, and still are to."""
    places = read_places(state_dir)
    return [key for key in wanted if not places.get(key, Place(*key)).is_past(segment, offset)]


def add_lost(state_dir: Path, segment: Segment, keys: Sequence[Key]) -> None:
    """Says, before it is deleted, that challengers will not have scored a segment to its end."""
    path = state_dir / "shadow" / LOST
    path.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps({"segment": [segment.writer, segment.number], "challengers": keys})
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, f"\n{line}\n".encode())  # what a death has torn stays a line of its own
    finally:
        os.close(fd)


def read_lost(state_dir: Path, spool: Path) -> list[tuple[Segment, list[Key]]]:
    """All that was said so far. Who said it may have died before it deleted: a segment that is there is not lost."""
    try:
        lines = (state_dir / "shadow" / LOST).read_text().splitlines()
    except FileNotFoundError:
        return []
    return [one for line in lines if (one := _lost(line, spool))]


def _lost(line: str, spool: Path) -> tuple[Segment, list[Key]] | None:
    """A line, or None where it is empty or torn."""
    try:
        found: Any = json.loads(line)
    except ValueError:
        return None
    writer, number = found["segment"]
    return Segment(writer, number, spool / segment_name(writer, number)), [Key(*key) for key in found["challengers"]]
