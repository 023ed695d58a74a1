"""Notifying: what happens in rollouts, and drift, is told to a webhook, each entry in its order, at least once.

Delivery order:
  1. the entries behind the cursor of a model are read;
  2. one is sent, and taken by an answer of 2xx;
  3. the cursor is put behind it, durably; the next one follows.
Whoever dies between the last two sends it once more. What is not taken is sent again, after growing pauses, and all
that follows waits; but not for ever: an entry that is refused (4xx) is given up once it is an hour old, and one that is
a day old is no news. Only the steward that leads sends.
"""

import logging
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from typing import Any, Final

from scoreline.control.attempts import Attempts
from scoreline.core.errors import NotTold
from scoreline.operations.notices import FEEDS, Feed, News, signed
from scoreline.records.database import Database
from scoreline.records.notified import tell_up_to, told_up_to

LOOK_S: Final = 1.0
MOST_S: Final = 300.0
PATIENCE_S: Final = 10.0
AT_ONCE: Final = 100
REFUSED_NS: Final = 3_600_000_000_000  # so old an entry that the webhook refuses is given up
NEWS_NS: Final = 24 * REFUSED_NS  # so old no entry is told
PASSING: Final = (408, 425, 429)  # of 4xx: what may be taken later
log = logging.getLogger("scoreline.steward.notify")


class Notifying:
    """Tells a webhook of every entry that is news, while `leads` says so; without a webhook it does nothing."""

    def __init__(self, database: Database, webhook: str, secret: str, leads: Callable[[], bool]) -> None:
        self._database = database
        self._webhook = webhook
        self._secret = secret
        self._leads = leads
        self._since_ns = time.time_ns()
        self._attempts = Attempts(log)
        self._failures = 0
        self._told = self._given_up = 0
        self._ending = threading.Event()
        self._one = threading.Lock()
        self._open = urllib.request.build_opener(_NoRedirect).open
        self._thread = threading.Thread(target=self._run, name="notify", daemon=True)

    def start(self) -> None:
        if self._webhook:
            self._thread.start()

    def finish(self, patience_s: float) -> None:
        """Tells what happened last, as far as there is time; the rest waits for the next steward."""
        self._ending.set()
        if self._webhook:
            last = threading.Thread(target=self._attempt, daemon=True)
            last.start()
            last.join(max(0.0, patience_s))

    def status(self) -> dict[str, Any]:
        """Whether there is a webhook, how many entries it was told and was not by this steward, and what is wrong."""
        told, given_up = self._told, self._given_up
        return {"on": bool(self._webhook), "told": told, "given_up": given_up, "error": self._attempts.said}

    def look(self) -> None:
        """Tells what is new; raises NotTold, DatabaseDown or DatabaseRefused where the rest has to wait."""
        with self._one:
            if not self._webhook or not self._leads():
                return
            self._database.prepare_once()
            for feed in FEEDS:
                for model, seq in sorted(told_up_to(self._database, self._since_ns, feed.cursor).items()):
                    self._tell_all(feed, model, seq)

    def _tell_all(self, feed: Feed, model: str, seq: int) -> None:
        while news := feed.behind(self._database, model, seq, AT_ONCE):
            for each in news:
                if each.body is not None:
                    self._tell(each, each.body)
                seq = each.seq
                tell_up_to(self._database, model, seq, feed.cursor)

    def _tell(self, news: News, body: bytes) -> None:
        """Tells it, or gives it up; raises NotTold where it is to be sent again."""
        age_ns = time.time_ns() - news.at_ns
        why = self._send(news.name, body) if age_ns < NEWS_NS else "it is a day old"
        if why and age_ns < REFUSED_NS:
            raise NotTold(why)
        if why:
            log.error("%s (%s) is not told: %s", news.name, news.action, why)
        self._given_up += bool(why)
        self._told += not why

    def _send(self, name: str, body: bytes) -> str:
        """Why the webhook refuses an entry, as it would again; empty: it took it. Raises NotTold where it may yet."""
        headers = {"Content-Type": "application/json", **signed(self._secret, body, int(time.time()))}
        request = urllib.request.Request(self._webhook, body, headers, method="POST")
        try:
            with self._open(request, timeout=PATIENCE_S):
                pass
        except urllib.error.HTTPError as error:
            error.close()
            why = f"the webhook answered {error.code} to {name}"
            if 400 <= error.code < 500 and error.code not in PASSING:
                return why
            raise NotTold(why) from None
        except (OSError, HTTPException, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise NotTold(f"the webhook is not reached: {type(reason).__name__}") from None
        return ""

    def _run(self) -> None:
        while not self._ending.is_set():
            self._attempt()
            self._ending.wait(min(LOOK_S * 2.0**self._failures, MOST_S))

    def _attempt(self) -> None:
        self._failures = 0 if self._attempts("notifying", self.look) else min(self._failures + 1, 30)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """An answer that leads elsewhere is none: what is signed for one address is not sent to another."""

    def redirect_request(self, *_: Any) -> None:
        return None
