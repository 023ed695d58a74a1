"""The steward's thread that watches for drift while it leads, and `GET /drift/{name}`."""

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final, Literal

from fastapi import Path, Query

from scoreline.control.attempts import Attempts
from scoreline.core.errors import NotFound
from scoreline.core.manifest import NAME
from scoreline.operations.drifting import References, clean, look
from scoreline.operations.driftreport import SPANS_S, Standing, drift_of, standings
from scoreline.records.database import Database
from scoreline.web.routes import Routes

LOOK_S: Final = 1.0
TELL_S: Final = 5.0  # Prometheus asks seldomer
CLEAN_S: Final = 3600.0
Name = Annotated[str, Path(alias="name", description="Name of the model.")]
Last = Annotated[
    Literal["1h", "1d", "14d"], Query(alias="last", description="Counts of the last hour, day or 14 days.")
]
log = logging.getLogger("scoreline.steward.drift")


class Watching:
    """Makes evidence of what was counted, for as long as `leads` says so; what fails is said once and tried again.

    `standings` is the evidence about each champion and its subjects, for `/metrics`; nothing where another one leads.
    """

    def __init__(self, database: Database, references: References, leads: Callable[[], bool]) -> None:
        self._database = database
        self._references = references
        self._leads = leads
        self.standings: Sequence[Standing] = ()
        self._attempts = Attempts(log)
        self._told_s = self._cleaned_s = -math.inf
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="drift", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def finish(self) -> None:
        """Ends it; what is in the inbox waits for the next leader."""
        self._ending.set()

    def status(self) -> dict[str, Any]:
        """What it has to wait for, in words; None: nothing."""
        return {"error": self._attempts.said}

    def look(self) -> None:
        """One look at what is due; raises DatabaseDown or DatabaseRefused."""
        if not self._leads():
            self.standings, self._told_s = (), -math.inf
            return
        self._database.prepare_once()
        try:
            look(self._database, self._references)
        finally:  # what is wrong with one model keeps no other from the metrics
            now_s = time.monotonic()
            if now_s - self._told_s >= TELL_S:
                self.standings, self._told_s = standings(self._database, self._references), now_s
        if now_s - self._cleaned_s >= CLEAN_S:
            self._cleaned_s = now_s
            clean(self._database)

    def _run(self) -> None:
        while not self._ending.is_set():
            self._attempts("drift", self.look)
            self._ending.wait(LOOK_S)


def add_drift(routes: Routes, database: Database, references: References) -> None:
    """A plain function, because it waits for the database."""

    def drift(name: Name, last: Last = "1d") -> Any:
        """Whether the world of a model has changed: evidence, an open incident, every field beside its reference."""
        if not NAME.fullmatch(name):
            raise NotFound("no model has such a name")
        database.prepare_once()
        return drift_of(database, references, name, SPANS_S[last])

    routes.add("GET", "/drift/{name}", drift, refusals=(404, 422, 503), tags=["control"])
