"""Whose turn it is in the shadow: a mark on the disk that outlives the process a challenger may end."""

import json
import os
import signal
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from scoreline.core.decision import Author, author_from
from scoreline.operations.files import replace_text

CRASHED: Final = "crashed"
HUNG: Final = "hung"
_ENDS: Final = (signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True, slots=True)
class Left:
    """What a process was about when it ended: which challenger, where in the spool, since when, and how that ended."""

    author: Author
    place: str
    at_ns: int
    kind: str


class Mark:
    """Set before a challenger scores and cleared after. A turn longer than `limit_s` ends the process."""

    def __init__(self, path: Path, limit_s: float) -> None:
        self._path = path
        self._limit_s = limit_s
        self._changing = threading.Lock()

    def set(self, author: Author, place: str) -> None:
        now_s = time.time()
        mark = {"author": asdict(author), "place": place, "at_ns": time.time_ns(), "until_s": now_s + self._limit_s}
        with self._changing:
            replace_text(self._path, json.dumps(mark))
        signal.setitimer(signal.ITIMER_REAL, self._limit_s)

    def clear(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        self._path.unlink(missing_ok=True)

    def left(self) -> Left | None:
        """What the process before left, if anything; a mark that the machine's own end has torn blames nobody.

        Who is replaced only after the limit is taken for one that hung: nothing else is left of it.
        """
        try:
            mark = json.loads(self._path.read_text())
            kind = HUNG if time.time() >= mark["until_s"] else CRASHED
            return Left(author_from(mark["author"]), mark["place"], mark["at_ns"], kind)
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

    def clear_when_told_to_end(self) -> None:
        """From now on SIGTERM and SIGINT end the process at once, and blame nobody, whatever an engine is at."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _ENDS)
        threading.Thread(target=self._wait_for_the_end, name="end", daemon=True).start()

    def _wait_for_the_end(self) -> None:
        signal.sigwait(_ENDS)
        with self._changing:
            self._path.unlink(missing_ok=True)
            os._exit(0)
