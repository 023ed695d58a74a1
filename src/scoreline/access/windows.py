"""The counts of one limit for a whole host, in memory that its workers share.

A place of the memory is for one key: its hash, then for this window and the one before a cell of each worker. A cell is
a window's number and a count in one word of 64 bits, and only its worker writes it, so nobody waits for anybody and
one that dies, or stands still, leaves the counts whole; its successor goes on with its cells. A worker counts first and
adds up then: of two at the same moment each sees the other, and none is taken too many. Two that claim one place in the
same microsecond look again: the one whose hash was written over may have counted once under the other's.
"""

import mmap
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from scoreline.access.limits import Limit, wait_ns

PLACES: Final = 1 << 16
_WAYS: Final = 8  # places a key may have; the last is for all keys that found none free
_COUNT: Final = (1 << 32) - 1
_HASH: Final = (1 << 64) - 1
WORD: Final = 8
HEAD: Final = 1
_ALONE: Final = 0  # the word that has when the host last counted alone
_MOST_KNOWN: Final = 100_000


class Windows:
    """The memory of one limit; made before the workers are forked. Only what is written to takes memory.

    `refusals` has a word of each worker, for whoever tells of them; None: for forks of this process.
    """

    def __init__(self, limit: Limit, n_workers: int, n_places: int = PLACES, refusals: mmap.mmap | None = None) -> None:
        self.limit = limit
        self.n_workers = n_workers
        self.n_ways = n_places // _WAYS
        self.size = 1 + 2 * n_workers
        self.words = memoryview(mmap.mmap(-1, WORD * (HEAD + n_places * self.size))).cast("Q")
        self.refusals = memoryview(mmap.mmap(-1, WORD * n_workers) if refusals is None else refusals).cast("Q")

    @property
    def refused(self) -> int:
        """How many requests all workers have refused."""
        return sum(self.refusals[: self.n_workers])

    def of_worker(self, number: int) -> "Window":
        """The counts as one worker sees and writes them."""
        return Window(self, number)


class _Seen:
    """What one worker knows of a key in one window: its place there, and what the window before had counted."""

    __slots__ = ("before", "end_ns", "hashed", "mine", "others", "place", "window")

    place: int
    hashed: int
    window: int
    end_ns: int
    mine: int
    others: Sequence[int]
    before: int


class Window:
    """The counts of one limit in one worker. A `limits.Window`."""

    def __init__(self, shared: Windows, worker: int) -> None:
        self.limit = shared.limit
        self._shared = shared
        self._worker = worker
        self._words = shared.words
        self._n_workers = shared.n_workers
        self._amount = shared.limit.amount
        self._period_ns = shared.limit.period_s * 1_000_000_000
        self._known: OrderedDict[str, _Seen] = OrderedDict()
        self._last = 0

    def hit(self, key: str, now_ns: int) -> int:
        words, seen = self._words, self._known.get(key)
        if seen is None or now_ns >= seen.end_ns or words[seen.place] != seen.hashed:
            seen = self._look(key, now_ns)
        self._last = mine = seen.mine
        words[mine] = cell = words[mine] + 1
        left = self._amount - (cell & _COUNT)
        for other in seen.others:
            cell = words[other]
            if cell >> 32 == seen.window:
                left -= cell & _COUNT
        if seen.before:
            left -= seen.before * (seen.end_ns - now_ns) // self._period_ns
        if left < 0:
            words[mine] -= 1
            self.refuse()
            return -1
        return left

    def add(self, key: str, now_ns: int) -> None:
        words, seen = self._words, self._known.get(key)
        if seen is None or now_ns >= seen.end_ns or words[seen.place] != seen.hashed:
            seen = self._look(key, now_ns)
        words[seen.mine] += 1

    def refuse(self) -> None:
        self._shared.refusals[self._worker] += 1

    def count_alone(self, now_ns: int) -> None:
        self._words[_ALONE] = now_ns

    def counted_alone(self, now_ns: int) -> bool:
        return now_ns - self._words[_ALONE] < 2 * self._period_ns and bool(self._words[_ALONE])

    def undo(self) -> None:
        self._words[self._last] -= 1

    def wait_ns(self, key: str, now_ns: int) -> int:
        window, into_ns = divmod(now_ns, self._period_ns)
        place = self._find(hash(key) & _HASH or 1, window)
        current, before = self._count(self._cells(place, window), window), self._count_before(place, window)
        return wait_ns(self.limit, current, before, into_ns)

    def _look(self, key: str, now_ns: int) -> _Seen:
        """The place of a key in this window. `hash` is of the process that all workers are forks of, so they agree, and
        nobody outside can foresee it.
        """
        words, seen = self._words, _Seen()
        seen.window = window = now_ns // self._period_ns
        seen.end_ns = (window + 1) * self._period_ns
        hashed = hash(key) & _HASH or 1
        seen.place = self._find(hashed, window)
        seen.hashed = words[seen.place]
        cells = self._cells(seen.place, window)
        seen.mine = cells[self._worker]
        seen.others = [cell for cell in cells if cell != seen.mine]
        seen.before = self._count_before(seen.place, window)
        if words[seen.mine] >> 32 != window:
            words[seen.mine] = window << 32
        if len(self._known) >= _MOST_KNOWN:
            self._known.popitem(last=False)
        self._known[key] = seen
        return seen

    def _cells(self, place: int, window: int) -> range:
        """The cells of all workers for a window: those of even windows come first."""
        first = place + 1 + (window & 1) * self._n_workers
        return range(first, first + self._n_workers)

    def _count(self, cells: range, window: int) -> int:
        words = self._words
        return sum(words[cell] & _COUNT for cell in cells if words[cell] >> 32 == window)

    def _count_before(self, place: int, window: int) -> int:
        return self._count(self._cells(place, window - 1), window - 1)

    def _find(self, hashed: int, window: int) -> int:
        """The place of a key: its own, else one nobody has used in this window or the last, else the shared one."""
        words, size = self._words, self._shared.size
        first = HEAD + hashed % self._shared.n_ways * _WAYS * size
        shared = first + (_WAYS - 1) * size
        own = range(first, shared, size)
        place = next((place for place in own if words[place] == hashed), 0)
        if not place:
            place = next((place for place in own if self._is_free(place, window)), shared)
            if place != shared:
                words[place] = hashed
        return place

    def _is_free(self, place: int, window: int) -> bool:
        words = self._words
        return not words[place] or all(cell >> 32 < window - 1 for cell in words[place + 1 : place + self._shared.size])
