"""The thread that asks whoever keeps answers: what is furthest goes first, and nobody waits beyond a deadline."""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from itertools import count
from queue import PriorityQueue
from statistics import median
from typing import Final, TypeVar

from scoreline.core.errors import ScorelineError, TooLate
from scoreline.doors.http.deadlines import LATE
from scoreline.web.asgi import log

# What goes before what: an answer that only has to be kept, a key that only has to be let go, a request that begins.
KEEP: Final = 0
SETTLE: Final = 1
BEGIN: Final = 2
_END: Final = 3
_QUESTIONS: Final = 3  # of a request: one of each kind
_REMEMBERED: Final = 15
_Found = TypeVar("_Found")


def nothing(_: object) -> None:
    """What is to be done about an answer that came too late, where nothing is."""


class Asking:
    """One thread, and what waits for it. All moments are of `time.perf_counter_ns`.

    The loop and the thread count what was asked and what is done, each for itself.
    """

    def __init__(self) -> None:
        self._queue: PriorityQueue[tuple[int, int, Callable[[], bool]]] = PriorityQueue()
        self._numbers = count()
        self._n_asked = self._n_done = 0
        self._took_ns: deque[int] = deque(maxlen=_REMEMBERED)
        self._each_ns = 0.0
        self._thread: threading.Thread | None = None

    def check(self, until_ns: int) -> None:
        """Raises TooLate where those who wait take longer than a request has time. Who waits for nobody may try."""
        n_waiting = self._n_asked - self._n_done
        if n_waiting and time.perf_counter_ns() + (n_waiting + _QUESTIONS) * self._each_ns > until_ns:
            raise TooLate(LATE)

    async def by(
        self,
        until_ns: int,
        what: int,
        ask: Callable[[], _Found],
        too_late: Callable[[_Found], object] = nothing,
    ) -> _Found:
        """What the thread is told by then; raises TooLate, and what comes of it later `too_late` sees to."""
        left_s = (until_ns - time.perf_counter_ns()) / 1e9
        if left_s <= 0.0:
            raise TooLate(LATE)
        asked: Future[_Found] = Future()
        self._put(what, partial(_tell, asked, ask))
        waiting = asyncio.wrap_future(asked)
        try:
            await asyncio.wait((waiting,), timeout=left_s)
            if waiting.done():
                found = waiting.result()
            if not waiting.done() or time.perf_counter_ns() > until_ns:
                raise TooLate(LATE)
        except BaseException:
            waiting.cancel()
            if not asked.cancel():
                self.later(partial(_see_to, asked, too_late))
            raise
        return found

    def later(self, ask: Callable[[], object]) -> None:
        """Asks without anybody waiting for it; what goes wrong is logged."""
        self._put(SETTLE, partial(_try, ask))

    def close(self) -> None:
        """Ends the thread, once all that waits is asked."""
        if self._thread is not None:
            self._put(_END, _nobody)
            self._thread.join()

    def _put(self, what: int, ask: Callable[[], bool]) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="answers", daemon=True)
            self._thread.start()
        self._n_asked += 1
        self._queue.put((what, next(self._numbers), ask))

    def _run(self) -> None:
        what = BEGIN
        while what != _END:
            what, _, ask = self._queue.get()
            since_ns = time.perf_counter_ns()
            if ask():
                self._took_ns.append(time.perf_counter_ns() - since_ns)
                self._each_ns = median(self._took_ns)
            self._n_done += 1


def _tell(asked: "Future[_Found]", ask: Callable[[], _Found]) -> bool:
    """Whether anybody still waited for it."""
    if not asked.set_running_or_notify_cancel():
        return False
    try:
        asked.set_result(ask())
    except Exception as error:
        asked.set_exception(error)
    return True


def _try(ask: Callable[[], object]) -> bool:
    try:
        ask()
    except ScorelineError as error:
        log.warning("an idempotency key is not settled yet, who asks for it again settles it: %s", error)
    except Exception:
        log.exception("an idempotency key is not settled yet, who asks for it again settles it")
    return True


def _see_to(asked: "Future[_Found]", too_late: Callable[[_Found], object]) -> None:
    if asked.exception() is None:
        too_late(asked.result())


def _nobody() -> bool:
    return False
