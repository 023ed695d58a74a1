"""Up to where the shadow of a host has read its spool: a small file that whoever deletes segments looks at.

It says less than the database has, never more: it is written after the transaction.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from scoreline.records.segments import BEGIN, Segment

PLACES: Final = "places.json"


def write_places(state_dir: Path, offsets: Sequence[Mapping[str, int]]) -> None:
    """Replaces the file by the least offset of each segment over all challengers that are still scored."""
    names = {name for each in offsets for name in each}
    least = {name: min(each.get(name, BEGIN) for each in offsets) for name in sorted(names)}
    path = state_dir / "shadow" / PLACES
    raw = json.dumps({"challengers": len(offsets), "places": least})
    if not path.exists() or path.read_text() != raw:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{PLACES}")
        temporary.write_text(raw)
        temporary.replace(path)


def is_past(state_dir: Path, segment: Segment, offset: int) -> bool:
    """Whether every challenger of this host has scored a segment up to an offset."""
    try:
        found = json.loads((state_dir / "shadow" / PLACES).read_text())
    except (OSError, ValueError):
        return False
    return not found["challengers"] or bool(found["places"].get(segment.path.name, BEGIN) >= offset)
