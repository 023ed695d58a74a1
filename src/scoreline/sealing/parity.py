"""The parity gate: the sealed engines against the trainer's own library. What does not pass is refused.

Margins are compared bit for bit where the library has margins of its own, else scores within a tolerance; in either
case no outcome may differ, and every engine must give the same bits alone and in a batch.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from scoreline.core.errors import SealRefused
from scoreline.core.link import LINKS, Floats
from scoreline.core.policy import ThresholdPolicy
from scoreline.core.ports import Engine
from scoreline.sealing.trained import TrainedModel

MAX_SCORE_ULP: Final = 4
TOLERANCE: Final = 1e-6
ROWS_ALONE: Final = 300
_NO_OUTCOMES: Final = ThresholdPolicy()
_HUGE: Final = 8e307
SIZES: Final = (2, 3, 63, 64, 65, 127)


@dataclass(frozen=True, slots=True)
class Parity:
    """What the gate saw: rows compared, whether margins were equal bit for bit, and how far the scores lie apart.

    At most `score_ulp` float32 ulp, and `score_distance` as a part of the score (of 1, if that is more).
    """

    rows: int
    exact: bool
    score_ulp: int
    score_distance: float


def check_parity(
    model: TrainedModel, engines: list[Engine], rows: Floats, policy: ThresholdPolicy = _NO_OUTCOMES
) -> Parity:
    """Compares every engine on all rows: in bulk, in small batches and alone; raises SealRefused with the count."""
    wanted = model.margins(rows) if model.margins else engines[0].predict(rows)
    for engine in engines:
        _compare(engine, "together", engine.predict(rows), wanted)
        step = max(1, len(rows) // ROWS_ALONE)
        picked = range(0, len(rows), step)
        alone = np.concatenate([engine.predict(rows[row : row + 1]) for row in picked])
        _compare(engine, "alone", alone, wanted[list(picked)])
        for size in SIZES:
            _compare(engine, f"in a batch of {size}", engine.predict(rows[:size]), wanted[:size])
    theirs = model.scores(rows)
    if theirs.shape != wanted.shape:  # the library answers a class, and no score
        return Parity(len(rows), exact=True, score_ulp=0, score_distance=0.0)
    ours = LINKS[model.link](wanted)
    ulp = int(ulp_distance(ours, theirs).max())
    distance = float(_distances(ours, theirs).max())
    if model.tolerance and not distance <= model.tolerance:
        raise SealRefused(f"scores are up to {distance:.1e} from the trainer's own; at most {model.tolerance:.0e}")
    if not model.tolerance and ulp > MAX_SCORE_ULP:
        raise SealRefused(f"scores are up to {ulp} float32 ulp from the library's own; at most {MAX_SCORE_ULP}")
    flipped = int((np.asarray(policy.codes(ours)) != np.asarray(policy.codes(theirs))).sum())
    if model.tolerance and flipped:
        raise SealRefused(f"{flipped} of {len(rows)} parity rows have another outcome than by the trainer's own score")
    return Parity(len(rows), model.margins is not None, ulp, distance)


def check_types(model: TrainedModel, values: Floats, table: Any, policy: ThresholdPolicy) -> None:
    """Compares the trainer's scores of reference rows with those in the types of their `table`; raises SealRefused.

    On float32 a pipeline may compute in float32, and score otherwise than on the same numbers in float64.
    """
    if model.as_given is None or table is None:
        return
    rows = table.to_pandas()
    plain, typed = model.scores(values), model.as_given(values, rows)
    other = (_distances(plain, typed) > TOLERANCE).any(axis=1)
    if policy.outcomes:
        other |= np.asarray(policy.codes(plain)) != np.asarray(policy.codes(typed))
    if other.any():
        kinds, n_rows = ", ".join(sorted({str(kind) for kind in rows.dtypes})), int(other.sum())
        raise SealRefused(
            f"the pipeline computes in the types of the reference ({kinds}): {n_rows} of {len(rows)} rows "
            "have another score than in float64, in which requests are scored; fit it on float64, and give those "
            "rows as the reference"
        )


def ulp_distance(ours: Floats, theirs: Floats) -> npt.NDArray[np.int64]:
    """How many float32 values lie between two arrays, element by element."""
    with np.errstate(over="ignore"):  # beyond float32 both are infinite
        first, second = (_ordered(np.asarray(array, dtype=np.float32)) for array in (ours, theirs))
    distance: npt.NDArray[np.int64] = np.abs(first - second)
    return distance


def _distances(ours: Floats, theirs: Floats) -> Floats:
    """Distances as a part of the score, of 1 if that is more; scores so large that `exp` ends there are alike."""
    ours, theirs = (np.clip(array, -_HUGE, _HUGE) for array in (ours, theirs))
    found: Floats = np.abs(ours - theirs) / np.maximum(1.0, np.abs(theirs))
    return found


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
