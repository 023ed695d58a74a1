"""Where the time of requests goes: by part of a request, since the beginning and of late.

Counts of both kinds add up over workers and hosts. Those of late are in bins of 1/16 of an octave, so that a percentile
is at most 4.5 % above the true one.
"""

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final, Self

import numpy as np

from scoreline.core.decision import Decisions
from scoreline.metrics import BOUNDS_S

# What a request's time is made of; `rest` is decoding, encoding and all else, `total` is all of it.
PARTS: Final = ("wait", "auth", "features", "model", "rest", "total")
SHOWN: Final = ("total", "features", "model")
SLOT_NS: Final = 60_000_000_000
RECENT_S: Final = 600
_SLOTS: Final = RECENT_S * 1_000_000_000 // SLOT_NS
_PER_OCTAVE: Final = 16
_LEAST: Final = 9 * _PER_OCTAVE  # the first bin has what took half a microsecond or less, the last a minute or more
_BINS: Final = 27 * _PER_OCTAVE
Counts = np.ndarray[tuple[int, int], np.dtype[np.int32]]


class Spent:
    """The time of requests, as the record has it; decisions that no door has timed are passed over."""

    def __init__(self) -> None:
        self._by_bound = np.zeros((len(PARTS), len(BOUNDS_S) + 1), np.int64)
        self._sum_ns = np.zeros(len(PARTS), np.int64)
        self._recent: dict[int, Counts] = {}

    def add(self, many: Iterable[Decisions]) -> None:
        """Adds the requests of some decisions; many at once take a tenth of the time."""
        timed = [
            (each.context.time_ns, each.wait_ns, each.auth_ns, each.features_ns, each.model_ns, each.total_ns)
            for each in many
            if each.total_ns
        ]
        if timed:
            self._fold(np.array(timed, np.int64))

    def recent(self, now_ns: int) -> Counts:
        """How many requests of the last minutes took how long, by part and bin."""
        first = now_ns // SLOT_NS - _SLOTS
        found = [counts for slot, counts in self._recent.items() if slot > first]
        return np.sum(found, axis=0) if found else _no_counts()

    def to_json(self) -> dict[str, Any]:
        """Histograms since the beginning, in seconds: how many were at most each bound, how many in all, their sum."""
        found: dict[str, Any] = {"bounds": list(BOUNDS_S)}
        for name in SHOWN:
            counts, sum_s = self.histogram(name)
            *at_most, count = accumulate(counts)
            found[name] = {"at_most": at_most, "count": count, "sum": sum_s}
        return found

    def histogram(self, part: str) -> tuple[list[int], float]:
        """Since the beginning: how many were within each bound but not the one before, those above all, and the sum."""
        at = PARTS.index(part)
        return self._by_bound[at].tolist(), int(self._sum_ns[at]) / 1e9

    def kept(self) -> dict[str, Any]:
        """All of it, for msgpack; `Spent.of(spent.kept())` is the same."""
        recent = {slot: zlib.compress(counts.tobytes(), 1) for slot, counts in self._recent.items()}
        return {"by_bound": self._by_bound.tolist(), "sum_ns": self._sum_ns.tolist(), "recent": recent}

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> Self:
        found = cls()
        found._by_bound[:] = kept["by_bound"]
        found._sum_ns[:] = kept["sum_ns"]
        for slot, raw in kept["recent"].items():
            found._recent[slot] = np.frombuffer(zlib.decompress(raw), np.int32).reshape(len(PARTS), _BINS).copy()
        return found

    def _fold(self, table: Any) -> None:
        rest = np.maximum(table[:, -1] - table[:, 1:-1].sum(axis=1), 0)
        slots, times = table[:, 0] // SLOT_NS, np.column_stack((table[:, 1:-1], rest, table[:, -1]))
        bins = np.clip(np.log2(np.maximum(times, 1)) * _PER_OCTAVE - _LEAST, 0, _BINS - 1).astype(np.int64)
        within = np.searchsorted(np.array(BOUNDS_S) * 1e9, times)
        self._sum_ns += times.sum(axis=0)
        for part in range(len(PARTS)):
            self._by_bound[part] += np.bincount(within[:, part], minlength=len(BOUNDS_S) + 1)
        for slot in np.unique(slots).tolist():
            counts = self._recent.setdefault(slot, _no_counts())
            for part in range(len(PARTS)):
                counts[part] += np.bincount(bins[slots == slot, part], minlength=_BINS)
        oldest = max(self._recent) - _SLOTS
        self._recent = {slot: counts for slot, counts in self._recent.items() if slot > oldest}


@dataclass(frozen=True, slots=True)
class Spending:
    """What requests of late spent: milliseconds by part at p50, p95 and p99, and which share was within `here_ms`."""

    requests: int
    within: float | None
    parts: Mapping[str, Mapping[str, float | None]]


def spending(all_spent: Iterable[Spent], here_ms: int, now_ns: int) -> Spending:
    """Over several versions, roles or workers together; None stands where there were no requests."""
    counts = sum((spent.recent(now_ns) for spent in all_spent), start=_no_counts())
    n_requests = int(counts[0].sum())
    parts = {
        name: {f"p{q}_ms": _percentile_ms(counts[part], q / 100) for q in (50, 95, 99)}
        for part, name in enumerate(PARTS)
    }
    within = counts[PARTS.index("total")][_tops_ms() <= here_ms].sum() / n_requests if n_requests else None
    return Spending(n_requests, None if within is None else float(within), parts)


def _percentile_ms(counts: Any, share: float) -> float | None:
    """The upper end of the bin that holds it."""
    reached = np.cumsum(counts)
    if not reached[-1]:
        return None
    place = int(np.searchsorted(reached, np.ceil(share * reached[-1])))
    return float(_tops_ms()[place]) if place else 0.0  # half a microsecond or less


def _tops_ms() -> Any:
    return np.exp2((np.arange(_BINS) + 1 + _LEAST) / _PER_OCTAVE) / 1e6


def _no_counts() -> Counts:
    return np.zeros((len(PARTS), _BINS), np.int32)
