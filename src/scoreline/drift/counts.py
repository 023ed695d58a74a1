"""What is counted of decisions: one vector of numbers, that adds up over pieces, workers and hosts in any order.

Counts are whole numbers below 2^53, so that their sums have no rounding; sums of values round as float64 does.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from scoreline.core.errors import DatabaseRefused
from scoreline.core.link import Floats
from scoreline.evidence.detector import MEAN_BETS

CUTS: Final = 9  # at most, of a field or an output


@dataclass(frozen=True)
class Layout:
    """Where what stands in a vector of counts, by how many fields, numbers among them, slots, outputs and thresholds.

    `rows`; of each field rows with a value (`present`) and without (`missing`); of each number those above each cut and
    the sum; of each slot of a category its rows; of each output those above each cut, the sum of scores, and that of
    s (1 - s); of each threshold the sum of what a calibrated score says is wrong; and ln e of bets on the mean score.
    """

    fields: int
    numbers: int
    slots: int
    outputs: int
    thresholds: int

    @cached_property
    def at(self) -> dict[str, slice]:
        found, start = {}, 0
        for name, size in self._sizes():
            found[name] = slice(start, start + size)
            start += size
        return found

    @property
    def size(self) -> int:
        return sum(size for _, size in self._sizes())

    def _sizes(self) -> Iterator[tuple[str, int]]:
        yield "rows", 1
        yield "present", self.fields
        yield "missing", self.fields
        yield "above", self.numbers * CUTS
        yield "sums", self.numbers
        yield "slots", self.slots
        yield "score_above", self.outputs * CUTS
        yield "score_sums", self.outputs
        yield "uncertainty", self.outputs
        yield "wrong", self.thresholds
        yield "log_e", self.outputs * MEAN_BETS


def packed(numbers: Floats) -> bytes:
    """As a database keeps it: `unpacked(packed(n), len(n))` has the same bits."""
    return zlib.compress(np.ascontiguousarray(numbers, dtype="<f8").tobytes(), 1)


def unpacked(raw: bytes, size: int) -> Floats:
    """Raises DatabaseRefused where it is not that many numbers."""
    try:
        found = np.frombuffer(zlib.decompress(raw), dtype="<f8")
    except (zlib.error, ValueError):
        found = np.empty(0)
    if len(found) != size:
        raise DatabaseRefused("it is damaged, or of another version")
    return found.astype(np.float64)
