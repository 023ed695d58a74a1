"""Loading features: what is loaded stays loaded, and a load that was killed goes on where it stopped."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from scoreline.core.errors import FeaturesRefused
from scoreline.core.ports import FeatureSink
from scoreline.operations.featurefiles import FeatureFile
from scoreline.operations.files import replace_text

FOLDER: Final = "feature-loads"
LATEST_AHEAD_NS: Final = 86_400 * 10**9
TIME: Final = "@time"
Told = Callable[[int, int | None], None]


@dataclass(frozen=True, slots=True)
class Loaded:
    """How many rows are in the store, and how many of them an earlier run had brought there."""

    rows: int
    resumed_rows: int


def load_features(file: FeatureFile, view: str, sink: FeatureSink, state_dir: Path, now_ns: int, told: Told) -> Loaded:
    """Puts every row of a file into a view; `told` is told how many are done, of how many if that is known.

    How far it has come is kept in the state folder until it ends; rows are put again rather than left out. Rows without
    a time hold from when the first run began. Raises NotFound, FeaturesRefused or StoreDown.
    """
    if not view or ":" in view or not view.isprintable():
        raise FeaturesRefused("--view: printable characters, and no colon")
    total = file.rows_total()
    marker, identity = _marker(file, view, state_dir), _identity(file)
    found = _read(marker)
    if found.get("file") != identity:
        found = {"file": identity, "rows": 0, "time_ns": now_ns}
        _write(marker, found)
    done = resumed = int(found["rows"])
    for rows in file.chunks(done, int(found["time_ns"])):
        if any(row.time_ns > now_ns + LATEST_AHEAD_NS for row in rows):
            raise FeaturesRefused(f"{file.path.name}: {file.time!r} has times of the future; is it in seconds?")
        if TIME in rows[0].values:
            raise FeaturesRefused(f"{file.path.name}: no feature is called {TIME!r}")
        sink.put(view, rows)
        done += len(rows)
        _write(marker, found | {"rows": done})
        told(done, total)
    marker.unlink()
    return Loaded(done, resumed)


def _identity(file: FeatureFile) -> list[int]:
    status = file.path.stat()
    return [status.st_size, status.st_mtime_ns]


def _marker(file: FeatureFile, view: str, state_dir: Path) -> Path:
    """Where it is kept how far this load has come."""
    what = json.dumps([str(file.path.resolve()), file.key, file.time, view])
    return state_dir / FOLDER / f"{hashlib.sha256(what.encode()).hexdigest()[:32]}.json"


def _read(marker: Path) -> dict[str, Any]:
    try:
        found = json.loads(marker.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(marker: Path, found: dict[str, Any]) -> None:
    replace_text(marker, json.dumps(found))
