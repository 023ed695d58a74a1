"""Counts of one process by name, in memory that outlives it: what no record tells, because nothing was decided.

Made before the fork and shared: one process adds, others read. A name's place is written before it is counted in, so
whoever dies in the middle leaves all of it whole, and its successor goes on.
"""

import mmap
import struct
from collections import Counter
from collections.abc import Iterator
from typing import Final

MOST: Final = 1000  # names
_PLACE: Final = 256
N_BYTES: Final = _PLACE * MOST
_HEAD: Final = struct.Struct("<QH")  # count, bytes of the name
_MOST_BYTES: Final = _PLACE - _HEAD.size
_WORDS: Final = _PLACE // 8
_BETWEEN: Final = "\n"
Name = tuple[str, ...]  # a metric, and its labels


class Counts:
    """The counts of one process. The memory is bounded: names that find no room are not counted.

    It is what others see too, `N_BYTES` of it; None: the forks of this process.
    """

    def __init__(self, memory: mmap.mmap | None = None) -> None:
        self._memory = mmap.mmap(-1, N_BYTES) if memory is None else memory
        self._words = memoryview(self._memory).cast("Q")
        self._places: dict[Name, int] | None = None

    def add(self, *name: str) -> None:
        """Adds one; a name is that of a metric, and its labels."""
        places = self._places
        if places is None:  # whoever counted before has named some
            places = self._places = {known: place for place, (known, _) in enumerate(self._named())}
        place = places.get(name)
        if place is None:
            place = self._begin(name, places)
        if place >= 0:
            self._words[place * _WORDS] += 1

    def read(self) -> Counter[Name]:
        """All counts by name; a process that adds meanwhile is not waited for."""
        return Counter(dict(self._named()))

    def _begin(self, name: Name, places: dict[Name, int]) -> int:
        raw = _BETWEEN.join(name).encode()
        if len(places) >= MOST or len(raw) > _MOST_BYTES:
            return -1
        place = places[name] = len(places)
        at = place * _PLACE
        self._memory[at + _HEAD.size : at + _HEAD.size + len(raw)] = raw
        _HEAD.pack_into(self._memory, at, 0, len(raw))
        return place

    def _named(self) -> Iterator[tuple[Name, int]]:
        for at in range(0, len(self._memory), _PLACE):
            count, n_bytes = _HEAD.unpack_from(self._memory, at)
            if not n_bytes:
                return
            raw = self._memory[at + _HEAD.size : at + _HEAD.size + n_bytes]
            yield tuple(raw.decode().split(_BETWEEN)), count
