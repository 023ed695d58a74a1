"""Admitting: which keys count becomes what workers read, from the database each second and from an issuer of tokens.

What cannot be asked changes nothing: the last known keys count on, also after a restart, and nothing opens.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from scoreline.control.attempts import Attempts
from scoreline.control.jwks import fetch_jwks
from scoreline.core.errors import NotFound, SettingError
from scoreline.operations.credentials import Credentials, asked_ns, read_credentials, used_since, write_credentials
from scoreline.records.apikeys import active_keys, keep_used
from scoreline.records.database import Database

LOOK_S: Final = 1.0
AGAIN_S: Final = 10.0
_NS: Final = 1_000_000_000
SAYS: Final = "%s: those known before count on: %s"
log = logging.getLogger("scoreline.steward.access")


class Admitting:
    """The one writer of `access.json`, in two threads: an issuer that hangs holds up no revocation.

    `jwks_url` is empty where no tokens are accepted; its keys are fetched each `refresh_s`, and where a worker asks for
    one that it does not know, but never more often than each 10 s.
    """

    def __init__(self, database: Database, state_dir: Path, jwks_url: str = "", refresh_s: float = 300.0) -> None:
        self._database = database
        self._state_dir = state_dir
        self._jwks_url = jwks_url
        self._refresh_s = refresh_s
        self._known = self._kept()
        self._used: dict[int, int] = {}
        self._fetched_s = self._tried_s = -float("inf")
        self._asked_ns = time.time_ns()
        self._attempts = Attempts(log, SAYS)
        self._changing = threading.Lock()
        self._ending = threading.Event()
        acts = [("keys", self.look)] + ([("issuer", self.fetch)] if jwks_url else [])
        self._threads = [threading.Thread(target=self._run, args=(act,), name=name, daemon=True) for name, act in acts]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def finish(self) -> None:
        self._ending.set()

    def status(self) -> dict[str, Any]:
        """How many keys count here, the age of the issuer's, and what is wrong."""
        fetched_ns = self._known.fetched_ns
        return {
            "keys": len(self._known.keys),
            "seconds_since_jwks": (time.time_ns() - fetched_ns) / 1e9 if fetched_ns else None,
            "error": self._attempts.said,
        }

    def look(self) -> None:
        """Takes up the keys that count, and puts down which were used; raises DatabaseDown or DatabaseRefused."""
        self._database.prepare_once()
        found, guarded = active_keys(self._database, time.time_ns())
        self._change(keys={key.digest: key.caller for key in found}, guarded=guarded)
        used = used_since(self._state_dir, self._used)
        if used:
            keep_used(self._database, used)
            self._used |= used

    def fetch(self) -> None:
        """Fetches the issuer's keys where that is due; raises IssuerDown."""
        now_s, asked = time.monotonic(), asked_ns(self._state_dir)
        wanted = now_s - self._fetched_s >= self._refresh_s or asked > self._asked_ns
        if not wanted or now_s - self._tried_s < AGAIN_S:
            return
        self._tried_s = now_s
        jwks = fetch_jwks(self._jwks_url)
        self._change(jwks=jwks, fetched_ns=time.time_ns())
        self._fetched_s, self._asked_ns = now_s, asked

    def _kept(self) -> Credentials:
        try:
            return read_credentials(self._state_dir)
        except (NotFound, SettingError):
            return Credentials(guarded=True)  # until it is known that there is no key

    def _change(self, **changed: Any) -> None:
        with self._changing:
            known = replace(self._known, **changed)
            if known != self._known:
                write_credentials(self._state_dir, known)
                self._known = known

    def _run(self, act: Callable[[], None]) -> None:
        name = threading.current_thread().name
        while not self._ending.is_set():
            self._attempts(name, act)
            self._ending.wait(LOOK_S)
