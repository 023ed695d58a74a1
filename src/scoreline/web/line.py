"""Requests in line: what one event loop has read and not yet begun, and who is next.

The loop hands on the bytes of every connection that is readable before anything else runs. With a slow model that
would take seconds, with all answers at its end. So a turn of the loop answers for SLICE_NS; what is read after that
waits here and is begun in later turns, each of which reads first. By that the time a request came is known to about a
turn, what cannot begin in time is refused when it comes, and health, pages and new connections are near their turn.
libuv accepts one connection a turn: while they come, turns that begin nothing take in up to ACCEPTS of them first, or
clients that connect anew for each request would wait in the listener's queue, where nobody sees them.
"""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from statistics import median
from typing import Final, NamedTuple, Protocol

SLICE_NS: Final = 2_000_000
ACCEPTS: Final = 64
LONG_NS: Final = 50_000_000
PRIORITIES: Final = ("high", "normal", "low")
NORMAL: Final = PRIORITIES.index("normal")
_SLICES: Final = 15  # by whose median it is told how long a request takes: one that the machine delayed is no rule


class Place(NamedTuple):
    """Where a request stands: the position of its priority, and until when it may begin (`time.perf_counter_ns`)."""

    priority: int
    until_ns: int


class Waiting(Protocol):
    """A request in line, which stands there once."""

    def begin(self) -> bool:
        """Answers it; False where its client is gone."""
        ...

    def refuse(self) -> None:
        """Says that it can no longer be in time."""
        ...


class _Task:
    """A task in line: who waits for it is told whether it may begin."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.may: asyncio.Future[bool] = loop.create_future()

    def begin(self) -> bool:
        return self._tell(may=True)

    def refuse(self) -> None:
        self._tell(may=False)

    def _tell(self, *, may: bool) -> bool:
        if self.may.done():
            return False
        self.may.set_result(may)
        return True


class Line:
    """The line of one event loop. `release` sends what has been answered.

    Higher priorities go first, and within one whoever came first.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, release: Callable[[], None]) -> None:
        self.arrived_ns = 0
        self.n_turns = 0
        self.is_long = False  # as who asked last for a place found it
        self._loop = loop
        self._release = release
        self._in_turn = False
        self._until_ns = 0
        self._queues: tuple[OrderedDict[Waiting, int], ...] = tuple(OrderedDict() for _ in PRIORITIES)
        self._n_waiting = 0
        self._each_ns = 0.0  # of the loop's time, per request begun of late
        self._slices: deque[float] = deque(maxlen=_SLICES)
        self._since_ns = 0
        self._is_due = False
        self._taking = False
        self._came = False
        self._passed = 0

    def __len__(self) -> int:
        return self._n_waiting

    def turn(self) -> None:
        """Before bytes are read: the first of a turn say when all of it were there."""
        if not self._in_turn:
            self._in_turn = True
            self.n_turns += 1
            self.arrived_ns = time.perf_counter_ns()
            self._until_ns = self.arrived_ns + SLICE_NS
            self._loop.call_soon(self._end_turn)

    def came(self) -> None:
        """A connection was accepted: there may be more."""
        self.turn()
        self._came = True

    def is_free(self) -> bool:
        """Whether a request may begin at once: nobody waits, and the turn is young."""
        return not self._n_waiting and not self._came and time.perf_counter_ns() < self._until_ns

    def join(self, waiting: Waiting, place: Place) -> bool:
        """Lets a request wait; False: it could not begin in time, so it does not."""
        now_ns = time.perf_counter_ns()
        ahead = sum([len(queue) for queue in self._queues[: place.priority + 1]])
        wait_ns = ahead * self._each_ns
        self.is_long = wait_ns > LONG_NS
        if now_ns + wait_ns > place.until_ns:
            return False
        self._queues[place.priority][waiting] = place.until_ns
        self._n_waiting += 1
        if not self._is_due and not self._taking:
            self._since_ns = now_ns
            self._come_back()
            self._release()  # what is answered does not wait until all is read
        return True

    async def stand(self, place: Place) -> bool:
        """Lets a task wait until its turn; False: it can no longer be in time."""
        self.turn()
        if self.is_free():
            return True
        task = _Task(self._loop)
        if not self.join(task, place):
            return False
        try:
            return await task.may
        finally:
            self.leave(task)

    def leave(self, waiting: Waiting) -> None:
        """Its client is gone: nobody waits for it any more."""
        for queue in self._queues:
            if queue.pop(waiting, None) is not None:
                self._n_waiting -= 1

    def _end_turn(self) -> None:
        self._in_turn = False
        if not self._is_due:
            self._came = False

    def _take_up(self) -> None:
        """Begins what waits, for a slice; what can no longer be in time is told so."""
        if self._came and self._passed < ACCEPTS:
            self._came = False
            self._passed += 1
            self._come_back()
            return
        self._passed = 0
        self._is_due, self._taking, self._came = False, True, False
        now_ns, begun = time.perf_counter_ns(), 0
        until_ns = self._until_ns = now_ns + SLICE_NS
        try:
            while self._n_waiting and now_ns < until_ns:
                waiting, latest_ns = self._next()
                if now_ns > latest_ns:
                    waiting.refuse()
                else:
                    begun += waiting.begin()
                now_ns = time.perf_counter_ns()
        finally:
            self._taking = False
            if self._n_waiting:
                self._come_back()
            self._release()
        if begun:
            now_ns = time.perf_counter_ns()
            self._slices.append((now_ns - self._since_ns) / begun)
            self._each_ns = median(self._slices)
            self._since_ns = now_ns

    def _come_back(self) -> None:
        self._is_due = True
        self._loop.call_soon(self._take_up)

    def _next(self) -> tuple[Waiting, int]:
        self._n_waiting -= 1
        return next(queue for queue in self._queues if queue).popitem(last=False)
