"""What one steward does for all hosts of a database, under a lease: checkpoints each minute, upkeep each hour.

Two threads: a checkpoint does not wait until a day is archived, and neither waits for shipping.
"""

import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from scoreline.control.attempts import Attempts
from scoreline.records.chain import Checkpoint, sign_pending
from scoreline.records.database import Database
from scoreline.records.lease import Lease
from scoreline.records.upkeep import Upkeep

LOOK_S: Final = 3.0
CHECKPOINT_S: Final = 60.0
PULSE_S: Final = 3600.0
UPKEEP_S: Final = 3600.0
log = logging.getLogger("scoreline.steward.keep")


class Keeping:
    """Signs and cleans for as long as it holds the lease; what fails is logged once and tried again."""

    def __init__(self, database: Database, upkeep: Upkeep) -> None:
        self._database = database
        self._upkeep = upkeep
        self._lease = Lease(database, "keeper")
        self._leads = False
        self._last: Checkpoint | None = None
        self._looked_s = self._signed_s = self._kept_up_s = 0.0
        self._attempts = Attempts(log)
        self._ending = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(act,), name=name, daemon=True)
            for name, act in (("checkpoints", self.look), ("upkeep", self.keep_up))
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def finish(self, patience_s: float) -> None:
        """Signs what was shipped last and gives the lease back; what is not signed in time the next steward signs."""
        self._ending.set()
        last = threading.Thread(target=self._attempt, args=("checkpoints", self._end), daemon=True)
        last.start()
        last.join(max(0.0, patience_s))

    def status(self) -> dict[str, Any]:
        """Whether this steward holds the lease, and the last checkpoint it has signed."""
        last = self._last
        return {
            "leads": self._leads,
            "checkpoint": last.seq if last else None,
            "seconds_since_checkpoint": (time.time_ns() - last.at_ns) / 1e9 if last else None,
            "error": self._attempts.said,
        }

    def look(self) -> None:
        """Takes or renews the lease; a checkpoint where one is due."""
        self._database.prepare_once()
        self._leads = self._lease.hold()
        now_s = time.monotonic()
        if self._leads and (not self._looked_s or now_s - self._looked_s >= CHECKPOINT_S):
            self._looked_s = now_s
            self._sign(pulse=not self._signed_s or now_s - self._signed_s >= PULSE_S)

    def keep_up(self) -> None:
        """Erasures that wait, each minute; and what is due each hour, until nothing is left. None stops another."""
        if not self._leads:
            return
        now_s = time.monotonic()
        due = not self._kept_up_s or now_s - self._kept_up_s >= UPKEEP_S
        self._attempt("erasures", lambda: self._upkeep.erase(self._database, again=due))
        if due:
            self._kept_up_s = now_s
            for name, step in (("archiving", self._upkeep.move), ("retention", self._upkeep.expire)):
                self._attempt(name, partial(self._exhaust, step))

    def _exhaust(self, step: Callable[[Database, int], bool]) -> None:
        while self._leads and not self._ending.is_set() and step(self._database, time.time_ns()):
            pass

    def _sign(self, *, pulse: bool) -> None:
        link = sign_pending(self._database, self._upkeep.signer, time.time_ns(), pulse=pulse)
        if link:
            self._last, self._signed_s = link, time.monotonic()

    def _end(self) -> None:
        """Signs whoever leads: a lease spares work, and this is the last of this host's."""
        self._sign(pulse=False)
        if self._leads:
            self._lease.give_back()

    def _run(self, act: Callable[[], None]) -> None:
        name = threading.current_thread().name
        while not self._ending.is_set():
            self._attempt(name, act)
            self._ending.wait(LOOK_S if name == "checkpoints" or not self._kept_up_s else CHECKPOINT_S)

    def _attempt(self, name: str, act: Callable[[], None]) -> None:
        """Never raises."""
        if not self._attempts(name, act) and name == "checkpoints":
            self._leads = False
