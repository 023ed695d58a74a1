"""A worker: loads what `state.json` assigns, answers, and follows the state as it changes."""

import asyncio
import gc
import logging
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final

from scoreline.access.guesses import guesses_of
from scoreline.access.limits import Window
from scoreline.access.peers import is_trusted, networks
from scoreline.core.arms import DIED
from scoreline.core.counts import Counts
from scoreline.core.errors import BundleError, ScorelineError
from scoreline.core.marks import Marks
from scoreline.core.names import load
from scoreline.doors.http.app import App
from scoreline.doors.http.door import Door
from scoreline.doors.http.keyed import Keyed
from scoreline.doors.http.limiting import limiting_of
from scoreline.doors.http.quoting import Quoting
from scoreline.doors.http.served import serve_model
from scoreline.operations.leased import Lease
from scoreline.operations.memory import give_back_freed_memory, keep_freed_memory
from scoreline.operations.standing import Model, teller
from scoreline.operations.state import FILE, State, read_state
from scoreline.records.turn import Turn
from scoreline.records.writer import sync_and_close
from scoreline.settings import Settings
from scoreline.web.asgi import ASGI, Receive, Scope, Send, health
from scoreline.web.problems import NOT_READY, kind_of_bundle, kind_of_status
from scoreline.web.server import DrainingServer, limits_of, run
from scoreline.web.tls import Certificate
from scoreline.wiring import (
    answers_of,
    entity_key,
    guard_of,
    ladder_of,
    limiter_elsewhere,
    open_state,
    quote_seed,
    recorder,
    spool_writer,
    verifier,
    watched,
)

WATCH_S: Final = 0.2
SYNC_S: Final = 1.0
TELL_S: Final = 60.0
PRESSED_S: Final = 10.0
LIVE: Final = "/healthz/live"
HEALTH: Final = (LIVE, "/healthz/ready", "/healthz/startup")
PAGES: Final = "scoreline.doors.http.pages:make_pages"
log = logging.getLogger("scoreline.worker")


def run_worker(
    settings: Settings,
    listener: socket.socket,
    marks: Marks,
    tls: Certificate | None,
    windows: Sequence[Window],
    counts: Counts,
    on_ready: Callable[[], None],
) -> None:
    """Runs one worker until it is told to drain. Loads first: it takes no connection before it can answer.

    `marks` may hold what the one before it died of, `windows` and `counts` what it counted.
    """
    keep_freed_memory()
    worker = Worker(settings, marks, windows, counts)
    worker.take_over()
    worker.load()
    door, server = worker.door, settings.server
    draining = DrainingServer(
        App(door, LatePages(door)),
        limits=limits_of(server),
        delay_s=server.drain_delay_ms / 1e3,
        drain_s=server.drain_ms / 1e3,
        on_drain=lambda: setattr(door, "draining", True),
        tls=tls,
    )
    run(draining, listener, worker.watch, on_ready)
    worker.close()


class Worker:
    """The models of one process: a door that is opened anew whenever the state assigns other bundles."""

    def __init__(
        self,
        settings: Settings,
        marks: Marks | None = None,
        windows: Sequence[Window] = (),
        counts: Counts | None = None,
    ) -> None:
        self._settings = settings
        self._state_dir = Path(settings.state_dir)
        self._verifier = verifier(settings)
        self._sink = spool_writer(settings)
        self._turn = Turn(self._sink)
        self._record = recorder(settings, self._turn)
        self._marks = marks or Marks()
        self._lease = Lease(self._state_dir)
        self._guard = guard_of(settings, self._turn, self._lease, self._marks, teller())
        self._ladder = ladder_of(settings)
        self._models: dict[str, Model] = {}
        self._seen: Any = None
        self._synced_s = self._told_s = self._pressed_s = 0.0
        self._access = watched(settings)
        server = settings.server
        self._proxies = networks(server.trusted_proxies)
        limiting = limiting_of(windows, limiter_elsewhere(settings), self._proxies, server.forwarded_header)
        self._keyed = Keyed(*answers_of(settings), self._turn)
        guesses = guesses_of(windows, self._proxies, server.forwarded_header)
        self.door = Door(server.max_body_bytes, self._turn, limiting, self._keyed, counts, guesses)

    def take_over(self) -> None:
        """Records what the worker before this one was scoring when it died, if it was."""
        try:
            left = self._marks.left()
        except ValueError as error:
            log.error("a worker died while it scored, and with which version is not known: %s", error)
            left = None
        if left is not None:
            self._sink.failed(left.author, left.base, left.time_ns, DIED, left.entities)
            log.error("a worker died while version %s (%s) scored", left.author.version, left.author.role)
        self._marks.clear()

    def load(self) -> None:
        """Opens the door for the state as it is; raises what reading or loading raises, and then changes nothing.

        A collector's pass over all that is here from the beginning would stop the process for tens of milliseconds: it
        is frozen. What comes with later versions is only collected: connections open just then would never be freed.
        """
        self._lease.look()
        self._seen = self._stamp()
        self._open(*self._prepare())
        gc.freeze()

    async def watch(self) -> None:
        """Looks at the state every 200 ms; what cannot be loaded is logged, and the last good one goes on answering."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(WATCH_S)
            self._lease.look()
            if self._access.look():
                self.door.keyring = self._access.ring
            self._look_at_the_spool(loop)
            if loop.time() - self._told_s >= TELL_S:
                self._told_s = loop.time()
                self._ladder.tell()
            self._tell_of_pressure(loop)
            await self.follow()

    async def follow(self) -> None:
        """Takes the state where it is another than the last one looked at."""
        stamp = self._stamp()
        if stamp == self._seen:
            return
        self._seen = stamp
        try:
            with ThreadPoolExecutor(1) as thread:  # one each time: what libraries keep for a thread goes with it
                prepared = await asyncio.get_running_loop().run_in_executor(thread, self._prepare)
            self._open(*prepared)
        except ScorelineError as error:
            log.error("the new state is not taken, the last one goes on: %s", error)
            if isinstance(error, BundleError):
                self.door.counts.add("bundles_refused", kind_of_bundle(error))
        except Exception:
            log.exception("the new state is not taken, the last one goes on")

    def _look_at_the_spool(self, loop: asyncio.AbstractEventLoop) -> None:
        """Without room for the record this worker is not ready; what is to be on the disk each second goes there."""
        self._sink.look()
        self.door.recording = self._sink.has_room
        if loop.time() - self._synced_s >= SYNC_S:
            self._synced_s = loop.time()
            if fds := self._sink.unsynced():
                loop.run_in_executor(None, sync_and_close, fds)

    def _tell_of_pressure(self, loop: asyncio.AbstractEventLoop) -> None:
        """Says now and then how many requests were refused because there was no time or room for them."""
        pressed = self.door.pressed
        if pressed and loop.time() - self._pressed_s >= PRESSED_S:
            self._pressed_s = loop.time()
            told = ", ".join(f"{n} to {model}" for model, n in sorted(pressed.items()))
            log.warning("requests were refused for lack of time or room: %s", told)
            pressed.clear()

    def close(self) -> None:
        """Ends the record."""
        self._turn.commit()
        self._keyed.close()
        self._sink.close()
        sync_and_close(self._sink.unsynced())

    def _prepare(self) -> tuple[State, dict[str, Model]]:
        state = read_state(self._state_dir)
        return state, open_state(state, self._state_dir, self._verifier, self._record, self._guard, self._models)

    def _open(self, state: State, models: dict[str, Model]) -> None:
        server, budgets = self._settings.server, self._settings.latency.budgets
        served = {
            name: serve_model(
                model.manifest,
                model.score,
                server.max_rows,
                schema=model.schema,
                looking=partial(self._ladder.looking, budget_s=budgets.of(name).features_ms / 1e3),
                csv_header=server.csv_header,
                versions=model.versions,
                quoting=self._quoting(name, model),
                budget=budgets.of(name),
                is_trusted=partial(is_trusted, trusted=self._proxies),
            )
            for name, model in models.items()
        }
        if not self._marks.name([author for model in models.values() for author in model.authors]):
            log.error("the models have too many fields to tell after a death which version scored")
        self.door.open(served, state.default, self._access.ring)
        self._models = models
        gc.collect()  # of itself the collector comes too seldom: versions that went would lie among what stays
        give_back_freed_memory()

    def _quoting(self, name: str, model: Model) -> Quoting:
        settings = self._settings
        seed, key = quote_seed(settings), entity_key(settings)
        return Quoting(name, seed, key, model.opened.keys(), settings.rollout.quote_days)

    def _stamp(self) -> tuple[int, int] | None:
        try:
            status = (self._state_dir / FILE).stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_ino


class LatePages:
    """Health at once; every other page by FastAPI, which is loaded in a thread when the first one is asked for.

    Importing it takes 0.2 s and 30 MB: a worker that only answers predictions spends neither.
    """

    def __init__(self, door: Door) -> None:
        self._door = door
        self._pages: ASGI | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        send = self._told(send)
        if scope["type"] == "http" and scope["method"] == "GET" and scope["path"] in HEALTH:
            status, headers, body = health(live_only=scope["path"] == LIVE, ready=self._door.ready)
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": body})
            return
        pages = await self._current()
        await pages(scope, receive, send)

    async def _current(self) -> ASGI:
        if self._pages is None:
            self._pages = await asyncio.to_thread(self._load)
        return self._pages

    def _load(self) -> ASGI:
        pages: ASGI = load(PAGES)(self._door)
        gc.collect()
        gc.freeze()
        return pages

    def _told(self, send: Send) -> Send:
        """Counts refusals, and ends connections while the worker drains."""

        async def told(message: Any) -> None:
            if message["type"] == "http.response.start":
                if message["status"] >= 400:
                    self._count(kind_of_status(message["status"]))
                if self._door.draining:
                    message["headers"] = [*message["headers"], (b"connection", b"close")]
            await send(message)

        return told

    def _count(self, kind: str) -> None:
        if kind != NOT_READY:
            self._door.counts.add("refusals", "", kind)
