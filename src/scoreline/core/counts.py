"""Counts of one process by name, in memory that outlives it: what no record tells, as it was never answered.

Made before the fork and shared: one process adds, others read. A name's place is written before it is counted in, so
whoever dies in the middle leaves all of it whole, and its successor goes on.
"""

import mmap
import struct
from collections import Counter
from collections.abc import Iterable
from typing import Final

MOST: Final = 512  # names; what comes after them is counted together
OTHER: Final = ("", "other")
_PLACE: Final = 192
_HEAD: Final = struct.Struct("<QH")  # count, bytes of the name
_MOST_BYTES: Final = _PLACE - _HEAD.size
_BETWEEN: Final = "\n"
Name = tuple[str, str]


class Counts:
    """The counts of one process; a name is the model that a count is of, or nothing, and what is counted."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _PLACE * (MOST + 1))
        self._words = memoryview(self._memory).cast("Q")
        self._places: dict[Name, int] | None = None

    def add(self, model: str, what: str) -> None:
        """Adds one. The memory is bounded: of more than 512 names those that come last are counted as one."""
        if self._places is None:
            self._places = {name: place for place, (name, _) in enumerate(self._named())}
            self._places = self._places or {OTHER: self._begin(OTHER, 0)}
        place = self._places.get((model, what))
        if place is None:
            place = self._place((model, what), self._places)
        self._words[place * _PLACE // 8] += 1

    def read(self) -> Counter[Name]:
        """All counts by name; a process that adds meanwhile is not waited for."""
        return Counter(dict(self._named()))

    def _place(self, name: Name, places: dict[Name, int]) -> int:
        if len(places) > MOST or len(_BETWEEN.join(name).encode()) > _MOST_BYTES:
            return places[OTHER]
        places[name] = self._begin(name, len(places))
        return places[name]

    def _begin(self, name: Name, place: int) -> int:
        raw = _BETWEEN.join(name).encode()
        at = place * _PLACE
        self._memory[at + _HEAD.size : at + _HEAD.size + len(raw)] = raw
        _HEAD.pack_into(self._memory, at, 0, len(raw))
        return place

    def _named(self) -> Iterable[tuple[Name, int]]:
        for at in range(0, len(self._memory), _PLACE):
            count, n_bytes = _HEAD.unpack_from(self._memory, at)
            if not n_bytes:
                return
            model, _, what = self._memory[at + _HEAD.size : at + _HEAD.size + n_bytes].decode().partition(_BETWEEN)
            yield (model, what), count


def total(counts: Iterable[Counts]) -> Counter[Name]:
    """The counts of several processes together."""
    return sum((each.read() for each in counts), Counter())
