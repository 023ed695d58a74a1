"""How far a challenger's answers lie from the champion's, before anything is known of outcomes. Additive folds.

It says what would change, not whether that is better.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import nsmallest
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from scoreline.core import ids
from scoreline.core.link import Floats

MOVERS: Final = 50
QUANTILES: Final = (0.5, 0.9, 0.99, 0.999)
# Distances are counted in bins, 32 to a decade: a quantile is told at most 7.5 % too high.
_EDGES: Final[Floats] = np.logspace(-9, 9, 18 * 32 + 1)
_N_BINS: Final = len(_EDGES) + 1

Counts = NDArray[np.int64]
Mover = tuple[float, int, float, float]  # minus the distance, id, the champion's score, the challenger's


@dataclass(frozen=True, slots=True)
class Versions:
    """What is compared: outcomes of champion and challenger by name, how many outputs, and the segments' names.

    A row's segment is a code: its position in `segments`; NaN, or no column at all, is the one behind the last.
    """

    outcomes: tuple[str, ...] = ()
    other_outcomes: tuple[str, ...] = ()
    outputs: int = 1
    segments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Agreement:
    """What was compared so far; `a + b` merges, in any order. The first axis of each array is the segment.

    `bins` counts distances, a row's largest over all outputs; `furthest` is the largest of them; `sums` are of the
    scores, (n_segments, outputs, 2); `flips` counts outcomes, from the champion's to the challenger's.
    """

    versions: Versions
    bins: Counts
    furthest: Floats
    sums: Floats
    flips: Counts
    movers: tuple[Mover, ...] = ()

    @classmethod
    def of(cls, versions: Versions) -> "Agreement":
        """Nothing compared yet."""
        n = len(versions.segments) + 1
        flips = np.zeros((n, len(versions.outcomes), len(versions.other_outcomes)), np.int64)
        sums = np.zeros((n, versions.outputs, 2))
        return cls(versions, np.zeros((n, _N_BINS), np.int64), np.zeros(n), sums, flips)

    def add(
        self,
        row_ids: Sequence[int],
        scores: Floats,
        other_scores: Floats,
        outcomes: Sequence[int] = (),
        other_outcomes: Sequence[int] = (),
        segment: Floats | None = None,
    ) -> Self:
        """With rows added: ids, scores (n_rows, outputs) of champion and challenger, outcomes and segment as codes."""
        n = len(self.furthest)
        codes = np.full(len(scores), n - 1.0) if segment is None else segment
        place = np.where(np.isnan(codes), n - 1, codes).astype(np.int64)
        distances = np.abs(other_scores - scores).max(axis=1)
        bins, furthest = np.zeros_like(self.bins), np.zeros_like(self.furthest)
        sums, flips = np.zeros_like(self.sums), np.zeros_like(self.flips)
        np.add.at(bins, (place, np.searchsorted(_EDGES, distances, side="left")), 1)
        np.maximum.at(furthest, place, distances)
        np.add.at(sums, place, np.stack([scores, other_scores], axis=2))
        if flips.size and len(outcomes) and len(other_outcomes):
            np.add.at(flips, (place, np.asarray(outcomes), np.asarray(other_outcomes)), 1)
        movers = tuple(_furthest(row_ids, distances, scores, other_scores))
        return self + type(self)(self.versions, bins, furthest, sums, flips, movers)

    def __add__(self, other: Self) -> Self:
        if self.versions != other.versions:
            raise ValueError("comparisons of other versions, outcomes or segments cannot be merged")
        return type(self)(
            self.versions,
            self.bins + other.bins,
            np.maximum(self.furthest, other.furthest),
            self.sums + other.sums,
            self.flips + other.flips,
            tuple(nsmallest(MOVERS, (*self.movers, *other.movers))),
        )

    @property
    def rows(self) -> int:
        return int(self.bins.sum())

    def to_json(self) -> dict[str, Any]:
        """The report: of all rows, of each segment that has any, and who moved furthest. None: no data."""
        names = (*self.versions.segments, None)
        used = [place for place in range(len(names)) if self.bins[place].any()]
        return {
            **self._report(slice(None)),
            "segments": [{"segment": names[at], **self._report(slice(at, at + 1))} for at in used]
            if names[:-1]
            else [],
            "movers": [
                {"id": ids.text(row), "score": score, "other_score": other} for _, row, score, other in self.movers
            ],
        }

    def _report(self, places: slice) -> dict[str, Any]:
        bins, sums = self.bins[places].sum(axis=0), self.sums[places].sum(axis=0)
        flips, rows = self.flips[places].sum(axis=0), int(bins.sum())
        told = {
            (before, after): int(flips[i, j])
            for i, before in enumerate(self.versions.outcomes)
            for j, after in enumerate(self.versions.other_outcomes)
            if flips[i, j]
        }
        same = sum(n for (before, after), n in told.items() if before == after)
        furthest = float(self.furthest[places].max())
        return {
            "rows": rows,
            "same_outcome": same / sum(told.values()) if told else None,
            "outcomes": [{"from": before, "to": after, "rows": n} for (before, after), n in told.items()],
            "distance": _quantiles(bins, furthest) if rows else None,
            "means": (sums / rows).tolist() if rows else None,
            "ratio_of_means": [_ratio(before, after) for before, after in sums.tolist()],
        }


def _quantiles(bins: Counts, furthest: float) -> dict[str, float]:
    """Quantiles of the distance, told as the upper ends of their bins, and the largest distance itself."""
    upper = np.append(_EDGES, np.inf)
    reached = np.searchsorted(np.cumsum(bins), np.ceil(np.array(QUANTILES) * bins.sum()), side="left")
    told = {f"p{100 * q:g}": min(float(upper[at]), furthest) for q, at in zip(QUANTILES, reached, strict=True)}
    return {**told, "max": furthest}


def _ratio(before: float, after: float) -> float | None:
    return after / before if before and math.isfinite(after / before) else None


def _furthest(row_ids: Sequence[int], distances: Floats, scores: Floats, other_scores: Floats) -> Iterator[Mover]:
    """The rows that moved furthest, as they sort: those of equal distance by their ids. Who did not move is none."""
    least = np.partition(distances, -MOVERS)[-MOVERS] if len(distances) > MOVERS else 0.0
    found = np.flatnonzero((distances >= least) & (distances > 0)).tolist()
    most = np.abs(other_scores - scores).argmax(axis=1)
    moved = (
        (-float(distances[row]), row_ids[row], float(scores[row, most[row]]), float(other_scores[row, most[row]]))
        for row in found
    )
    yield from nsmallest(MOVERS, moved)
