"""The parity gate: the sealed engines against the trainer's own library, bit for bit. What does not pass is refused."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from scoreline.core.errors import SealRefused
from scoreline.core.link import LINKS, Floats
from scoreline.core.ports import Engine
from scoreline.sealing.trained import TrainedModel

MAX_SCORE_ULP: Final = 4
ROWS_ALONE: Final = 300
SIZES: Final = (2, 3, 63, 64, 65, 127)


@dataclass(frozen=True, slots=True)
class Parity:
    """What the gate saw: rows compared, and the largest distance of a score to the trainer's own, in float32 ulp."""

    rows: int
    score_ulp: int


def check_parity(model: TrainedModel, engines: list[Engine], rows: Floats) -> Parity:
    """Compares every engine on all rows: in bulk, in small batches and alone; raises SealRefused with the count."""
    wanted = model.margins(rows)
    for engine in engines:
        _compare(engine, "together", engine.predict(rows), wanted)
        step = max(1, len(rows) // ROWS_ALONE)
        picked = range(0, len(rows), step)
        alone = np.concatenate([engine.predict(rows[row : row + 1]) for row in picked])
        _compare(engine, "alone", alone, wanted[list(picked)])
        for size in SIZES:
            _compare(engine, f"in a batch of {size}", engine.predict(rows[:size]), wanted[:size])
    distance = 0
    theirs = model.scores(rows)
    if theirs.shape == wanted.shape:
        ours = LINKS[model.link](wanted)
        distance = int(ulp_distance(ours, theirs).max())
        if distance > MAX_SCORE_ULP:
            raise SealRefused(
                f"scores are up to {distance} float32 ulp from the library's own; at most {MAX_SCORE_ULP}"
            )
    return Parity(len(rows), distance)


def ulp_distance(ours: Floats, theirs: Floats) -> npt.NDArray[np.int64]:
    """How many float32 values lie between two arrays, element by element."""
    with np.errstate(over="ignore"):  # beyond float32 both are infinite
        first, second = (_ordered(np.asarray(array, dtype=np.float32)) for array in (ours, theirs))
    distance: npt.NDArray[np.int64] = np.abs(first - second)
    return distance


def _ordered(array: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    bits = array.view(np.int32).astype(np.int64)
    return np.where(bits < 0, -(bits & 0x7FFFFFFF), bits)


def _compare(engine: Engine, how: str, found: Floats, wanted: Floats) -> None:
    if not np.isfinite(found).all():
        raise SealRefused(
            f"{engine.name} gives margins that are not finite at the ends of the fields' ranges; declare a range in "
            "schema.toml for every field whose size has no limit yet"
        )
    differing = int((found.view(np.int64) != wanted.view(np.int64)).any(axis=1).sum())
    if differing:
        raise SealRefused(
            f"{engine.name} differs from the trainer's library on {differing} of {len(wanted)} parity rows scored {how}"
        )
