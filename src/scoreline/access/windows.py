"""The counts of one limit for a whole host, in memory that its workers share.

A place of the memory is for one key: its hash, then for this window and the one before a cell of each worker. A cell is
a window's number and a count in one word of 64 bits, and only its worker writes it, so nobody waits for anybody and
one that dies, or stands still, leaves the counts whole; its successor goes on with its cells. A worker counts first and
adds up then: of two at the same moment each sees the other, and none is taken too many. Two that claim one place in the
same microsecond look again: the one whose hash was written over may have counted once under the other's.
"""

import mmap
from typing import Final

from scoreline.access.limits import Limit, wait_ns

PLACES: Final = 1 << 16
_WAYS: Final = 8  # places a key may have; the last is for all keys that found none free
_COUNT: Final = (1 << 32) - 1
_HASH: Final = (1 << 64) - 1
_WORD: Final = 8
_MOST_KNOWN: Final = 100_000


class Windows:
    """The memory of one limit; made before the workers are forked. Only what is written to takes memory."""

    def __init__(self, limit: Limit, n_workers: int, n_places: int = PLACES) -> None:
        self.limit = limit
        self.n_workers = n_workers
        self.n_ways = n_places // _WAYS
        self.size = 1 + 2 * n_workers
        self.words = memoryview(mmap.mmap(-1, _WORD * (n_workers + n_places * self.size))).cast("Q")

    @property
    def refused(self) -> int:
        """How many requests all workers have refused."""
        return sum(self.words[: self.n_workers])

    def of_worker(self, number: int) -> "Window":
        """The counts as one worker sees and writes them."""
        return Window(self, number)


class Window:
    """The counts of one limit in one worker. A `limits.Window`."""

    def __init__(self, shared: Windows, worker: int) -> None:
        self.limit = shared.limit
        self._shared = shared
        self._worker = worker
        self._words = shared.words
        self._n_workers = shared.n_workers
        self._period_ns = shared.limit.period_s * 1_000_000_000
        self._known: dict[str, tuple[int, int]] = {}
        self._last = 0

    def hit(self, key: str, now_ns: int) -> int:
        words, n_workers = self._words, self._n_workers
        window, into_ns = divmod(now_ns, self._period_ns)
        place, hashed = self._known.get(key) or (0, 0)
        if not hashed or words[place] != hashed:
            place = self._find(key, window)
        now_at = place + 1 + (window & 1) * n_workers
        self._last = mine = now_at + self._worker
        cell = words[mine]
        words[mine] = cell + 1 if cell >> 32 == window else (window << 32) + 1
        current, previous = self._counts(place, window)
        left = self.limit.amount - current - previous * (self._period_ns - into_ns) // self._period_ns
        if left < 0:
            words[mine] -= 1
            self.refuse()
            return -1
        return left

    def refuse(self) -> None:
        self._words[self._worker] += 1

    def undo(self) -> None:
        self._words[self._last] -= 1

    def wait_ns(self, key: str, now_ns: int) -> int:
        window, into_ns = divmod(now_ns, self._period_ns)
        return wait_ns(self.limit, *self._counts(self._find(key, window), window), into_ns)

    def _counts(self, place: int, window: int) -> tuple[int, int]:
        """What all workers counted in this window, and in the one before."""
        words, n_workers = self._words, self._n_workers
        even, odd = place + 1, place + 1 + n_workers
        now_at, before_at = (odd, even) if window & 1 else (even, odd)
        if n_workers == 1:
            now, before = words[now_at], words[before_at]
            return now & _COUNT if now >> 32 == window else 0, before & _COUNT if before >> 32 == window - 1 else 0
        current = sum([cell & _COUNT for cell in words[now_at : now_at + n_workers] if cell >> 32 == window])
        earlier = words[before_at : before_at + n_workers]
        return current, sum([cell & _COUNT for cell in earlier if cell >> 32 == window - 1])

    def _find(self, key: str, window: int) -> int:
        """The place of a key: its own, else one that nobody has used in this window or the last, else the shared one.

        `hash` is of the process that all workers are forks of, so they agree, and nobody outside can foresee it.
        """
        words, size = self._words, self._shared.size
        hashed = hash(key) & _HASH or 1
        first = self._n_workers + hashed % self._shared.n_ways * _WAYS * size
        shared = first + (_WAYS - 1) * size
        own = range(first, shared, size)
        place = next((place for place in own if words[place] == hashed), 0)
        if not place:
            place = next((place for place in own if self._is_free(place, window)), shared)
            if place != shared:
                words[place] = hashed
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[key] = place, hashed if place != shared else 0
        return place

    def _is_free(self, place: int, window: int) -> bool:
        words = self._words
        cells = words[place + 1 : place + self._shared.size]
        return not words[place] or all(cell >> 32 < window - 1 for cell in cells)
