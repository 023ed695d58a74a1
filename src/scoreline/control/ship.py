"""The steward's thread that ships: for ever, whatever the database goes through."""

import logging
import random
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from scoreline.core.errors import DatabaseDown, ScorelineError
from scoreline.records.database import Database
from scoreline.records.segments import Segment
from scoreline.records.ship import PieceCounter, Shipper

PACE_S: Final = 0.5
LAST_PACE_S: Final = 0.05
LONGEST_PAUSE_S: Final = 5.0
log = logging.getLogger("scoreline.steward.ship")


class Shipping:
    """Ships this host's spool; a database that is down costs lag, and one line in the log per outage."""

    def __init__(
        self,
        database: Database,
        spool: Path,
        may_delete: Callable[[Segment, int], bool],
        counting: Sequence[PieceCounter] = (),
    ) -> None:
        self._database = database
        self._spool = spool
        self._may_delete = may_delete
        self._counting = counting
        self._shipper: Shipper | None = None
        self._prepared = False
        self._failures = 0
        self._error = ""
        self._said: set[str] = set()
        self._succeeded_s = 0.0
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="shipping", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def finish(self, patience_s: float) -> None:
        """Ships to the end, or as far as the time allows; what is left waits in the spool for the next steward."""
        self._ending.set()
        self._thread.join(max(0.0, patience_s))

    def status(self) -> dict[str, Any]:
        """How far shipping is; `error` is a word: down, refused, failed, or none."""
        shipper = self._shipper
        return {
            "kind": self._database.kind,
            "lag_bytes": shipper.lag_bytes if shipper else None,
            "shipped": shipper.shipped if shipper else 0,
            "refused_segments": len(shipper.refused) if shipper else 0,
            "damaged_segments": len(shipper.damaged) if shipper else 0,
            "seconds_since_success": time.monotonic() - self._succeeded_s if self._succeeded_s else None,
            "error": self._error or None,
        }

    def look(self) -> int:
        """One look at the spool; returns how many steps it took, none where the database is down. Never raises."""
        try:
            shipper = self._open()
            steps = shipper.ship()
        except ScorelineError as error:
            self._failed("down" if isinstance(error, DatabaseDown) else "refused", str(error))
            return 0
        except Exception:
            if self._error != "failed":
                log.exception("shipping failed")
            self._failed("failed", "")
            return 0
        if self._error:
            log.info("decisions are shipped again")
        self._failures, self._error, self._succeeded_s = 0, "", time.monotonic()
        self._prepared = not shipper.refused
        self._say(shipper)
        return steps

    def _open(self) -> Shipper:
        """The shipper of a database whose schema fits: looked at first, and again after anything has failed."""
        if not self._prepared:
            self._database.prepare()
            self._prepared = True
        if self._shipper is None:
            self._shipper = Shipper(self._spool, self._database, socket.gethostname(), self._may_delete, self._counting)
        return self._shipper

    def _failed(self, word: str, said: str) -> None:
        if word != self._error and said:
            log.error("%s; decisions wait in the spool", said)
        self._failures, self._error, self._prepared = self._failures + 1, word, False

    def _say(self, shipper: Shipper) -> None:
        """What is new of segments that cannot be shipped or read whole."""
        found = {f"{name} cannot be shipped and waits: {why}" for name, why in shipper.refused.items()}
        found |= {
            f"{name} is shipped as far as it can be read, and kept for you to look at" for name in shipper.damaged
        }
        for line in sorted(found - self._said):
            log.error("%s", line)
        self._said = found

    def _run(self) -> None:
        while True:
            steps = self.look()
            if steps:
                continue
            if self._ending.is_set():
                if not self._error:
                    self._end()
                    return
                time.sleep(LAST_PACE_S)
            else:
                self._ending.wait(self._pause_s())

    def _end(self) -> None:
        """No shadow waits for this host any longer; where the database cannot be told, it sees by itself."""
        with suppress(ScorelineError):
            if self._shipper:
                self._shipper.end()

    def _pause_s(self) -> float:
        """Longer while the database is down, and never in step with other hosts."""
        longest_s = min(PACE_S * 2.0 ** min(self._failures, 10), LONGEST_PAUSE_S)
        return longest_s * random.uniform(0.5, 1.0) if self._failures else PACE_S
