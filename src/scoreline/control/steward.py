"""The steward: tails this host's spool into tallies, ships it, governs rollouts, and serves the control plane."""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI

import scoreline
from scoreline.access.guesses import guesses_of
from scoreline.access.peers import networks
from scoreline.access.scopes import CONTROL_PLANE
from scoreline.control.admitting import Admitting
from scoreline.control.budget import add_budget
from scoreline.control.challenge import Challenges
from scoreline.control.challengers import is_needed, status_of_shadow
from scoreline.control.drift import Watching, add_drift
from scoreline.control.following import Following
from scoreline.control.govern import CONTROLLER, Governing
from scoreline.control.keep import Keeping
from scoreline.control.keys import add_keys
from scoreline.control.metrics import add_metrics
from scoreline.control.notify import Notifying
from scoreline.control.outcomes import add_outcomes_route
from scoreline.control.predictions import add_predictions
from scoreline.control.rollouts import add_rollouts
from scoreline.control.samples import Sample, of_counts, of_drift, of_processes, of_state, of_status, of_tallies
from scoreline.control.ship import Shipping
from scoreline.core.errors import BundleError, ScorelineError, SettingError
from scoreline.core.names import load
from scoreline.core.refs import is_path
from scoreline.drift.folding import Folding
from scoreline.operations.counted import Counted
from scoreline.operations.drifting import References
from scoreline.operations.follow import moving
from scoreline.operations.movers import movers
from scoreline.operations.paired import PAGES_AT_ONCE
from scoreline.operations.processes import processes
from scoreline.operations.shapes import shape_of
from scoreline.operations.state import State, read_state
from scoreline.records.counting import Counting
from scoreline.records.database import Database
from scoreline.records.segments import ITEMS_BYTES, Segment, segments
from scoreline.records.spent import Spent
from scoreline.records.tallied import Tallied
from scoreline.records.upkeep import Upkeep
from scoreline.settings import Settings
from scoreline.web.problems import kind_of_bundle
from scoreline.web.routes import Routes, add_docs, add_health, new_app
from scoreline.web.server import DrainingServer, limits_of, run
from scoreline.web.tls import Certificate
from scoreline.wiring import (
    database_of,
    desk_of,
    kept_of,
    patience_of,
    policy,
    registries,
    signer,
    spool_folder,
    verifier,
    watched,
)

TALLIES: Final = "tallies"
TAIL_S: Final = 0.1
LAST_TAIL_S: Final = 4.0
LAST_SIGN_S: Final = 1.0
log = logging.getLogger("scoreline.steward")


def run_steward(
    settings: Settings,
    refs: Sequence[str],
    listener: socket.socket,
    tls: Certificate | None,
    counted: Counted,
    on_ready: Callable[[], None],
) -> None:
    """Runs the steward until it is told to end; the spool is read and shipped to its end before it does."""
    steward = Steward(settings, refs, counted)
    server = DrainingServer(
        make_control_app(steward),
        limits=limits_of(settings.server),
        delay_s=0.0,
        drain_s=1.0,
        on_drain=steward.drain,
        tls=tls,
    )
    parts = (
        steward.admitting,
        steward.following,
        steward.shipping,
        steward.keeping,
        steward.governing,
        steward.watching,
        steward.notifying,
    )
    for part in parts:
        part.start()
    run(server, listener, steward.run, on_ready)
    steward.admitting.finish()
    steward.following.finish()
    steward.watching.finish()
    steward.notifying.finish(LAST_SIGN_S)
    steward.governing.finish()
    deadline_s = time.monotonic() + LAST_TAIL_S
    while steward.tail() and time.monotonic() < deadline_s:
        pass
    steward.tallied.save()
    if steward.tracing:
        steward.tracing.finish(LAST_SIGN_S)
    steward.shipping.finish(deadline_s - time.monotonic())
    steward.keeping.finish(deadline_s + LAST_SIGN_S - time.monotonic())


class Steward:
    """What the control plane knows: the tallies of this host's spool, and the state it serves."""

    def __init__(self, settings: Settings, refs: Sequence[str] = (), counted: Counted | None = None) -> None:
        self.settings = settings
        self._counted = counted or Counted()
        windows = [each.of_worker(settings.server.workers) for each in self._counted.windows]
        self.guesses = guesses_of(windows, networks(settings.server.trusted_proxies), settings.server.forwarded_header)
        self.ready = True
        state_dir = Path(settings.state_dir)
        self._folder = spool_folder(settings)
        self.tracing = tracing_of(settings)
        also = [self.tracing.take] if self.tracing else []
        self.tallied = Tallied(self._folder, state_dir / TALLIES, partial(shape_of, state_dir), *also)
        self.database: Database = database_of(settings)
        self.access = watched(settings)
        self.admitting = Admitting(self.database, state_dir, settings.oauth.jwks_url, settings.oauth.refresh_s)
        known, rules, trust = registries(settings), policy(settings), cache(lambda: verifier(settings))
        self.references = References(state_dir, settings.drift.rules)
        counting = (
            Counting(self.database, rules.budgets.over_ns, patience_of(settings)),
            Folding(self.references.fold),
        )
        self.shipping = Shipping(self.database, self._folder, self._may_delete, counting)
        self.keeping = Keeping(self.database, upkeep_of(settings))
        named = [ref for ref in refs if not is_path(ref)]
        self.desk = desk_of(settings, self.database, PAGES_AT_ONCE)
        challenges = Challenges(self.desk, CONTROLLER)
        self.governing = Governing(self.database, state_dir, rules, known, trust, named, challenges, self._refused)
        webhook, secret = settings.notify.webhook, settings.notify.secret
        self.notifying = Notifying(self.database, webhook, secret, lambda: self.governing.leads)
        self.watching = Watching(self.database, self.references, lambda: self.governing.leads)
        self.following = Following(
            moving(refs),
            known,
            self.database,
            state_dir,
            trust,
            asks_for=rules.alias_moved,
            poll_ms=settings.registry.poll_ms,
            leads=lambda: self.governing.leads,
            on_refused=self._refused,
        )

    def _refused(self, error: BundleError) -> None:
        self._counted.here.add("bundles_refused", kind_of_bundle(error))

    def _may_delete(self, segment: Segment, offset: int) -> bool:
        """Whether all who follow the spool are past an offset. A shadow that lags is waited for within bounds."""
        if not self.tallied.is_past(segment, offset):
            return False
        most = self.settings.records.max_bytes
        return not is_needed(Path(self.settings.state_dir), self._folder, most, segment, offset)

    def drain(self) -> None:
        self.ready = False

    def tail(self) -> int:
        """Folds what the workers have appended since; returns how many decisions that was."""
        return self.tallied.read()

    async def run(self) -> None:
        """Tails for ever, without a pause while it is behind; what fails is logged and tried again."""
        while True:
            behind = False
            self.access.look()
            try:
                behind = self.tail() > 0 and self.tallied.reader.lag_bytes > ITEMS_BYTES
            except (OSError, ScorelineError) as error:
                log.error("the spool cannot be read now: %s", error)
            await asyncio.sleep(0.0 if behind else TAIL_S)

    def spent(self, model: str) -> list[Spent]:
        return self.tallied.tallies.spent(model)

    def samples(self) -> Iterator[Sample]:
        """What metrics are made of, of all processes of this host."""
        yield "ready", (), int(self.ready)
        yield "build", (scoreline.__version__,), {}
        state = read_state(Path(self.settings.state_dir))
        yield from of_state(state, self.settings.latency.budgets)
        yield from of_tallies(self.tallied.tallies)
        yield from of_counts(self._counted.read(), state.models)
        yield from of_status(self._parts(state))
        yield from of_drift(self.watching.standings)
        yield from of_processes(processes(os.getppid()))

    def status(self) -> dict[str, Any]:
        """Models as assigned, the spool, the database, and decisions as counted since this state folder began.

        `missed` are decisions without a record, `rate_limited` requests this host refused, by limit, since it began.
        """
        state = read_state(Path(self.settings.state_dir))
        return {
            "models": {name: asdict(assignment) for name, assignment in state.models.items()},
            **self._parts(state),
            "decisions": self.tallied.tallies.to_json(),
            "rate_limited": self._counted.refused,
        }

    def _parts(self, state: State) -> dict[str, Any]:
        """How each part of it is."""
        return {
            "spool": {"segments": len(segments(self._folder)), "lag_bytes": self.tallied.reader.lag_bytes},
            "database": self.shipping.status(),
            "audit": self.keeping.status(),
            "access": self.admitting.status(),
            "rollouts": self.governing.status(),
            "drift": self.watching.status(),
            "notify": self.notifying.status(),
            "shadow": status_of_shadow(state, Path(self.settings.state_dir), self._folder),
            "missed": self.tallied.tallies.missed,
        }


def upkeep_of(settings: Settings) -> Upkeep:
    records = settings.records
    return Upkeep(signer(settings), records.retention_days, records.archive, records.archive_days)


def tracing_of(settings: Settings) -> Any:
    """Who sends traces of requests, a `control.tracing.Tracing`; None where nobody takes them. Raises SettingError."""
    found = settings.trace
    if not found.otlp:
        return None
    try:
        tracing = load("scoreline.control.tracing:Tracing")
    except ImportError:
        raise SettingError("trace.otlp: OpenTelemetry is not installed: pip install 'scoreline[otel]'") from None
    return tracing(found.otlp, found.share, found.most_per_s)


def make_control_app(steward: Steward) -> FastAPI:
    """The app of the control plane."""
    app = new_app("Scoreline control plane", "What the workers of this host have decided.", scoreline.__version__)
    routes = Routes(app, CONTROL_PLANE, lambda: steward.access.ring, steward.guesses)
    add_health(routes, lambda: steward.ready)
    add_docs(routes, app)

    async def status() -> dict[str, Any]:
        """Models as assigned, the lag of the spool and the database, and decisions by model, version and role."""
        return steward.status()

    routes.add("GET", "/status", status, tags=["control"])
    add_metrics(routes, steward.samples)
    add_keys(routes, steward.database, steward.settings)
    add_outcomes_route(routes, steward.settings, steward.database)
    kept, state_dir = kept_of(steward.settings, steward.database), Path(steward.settings.state_dir)
    budgets = steward.settings.latency.budgets
    add_drift(routes, steward.database, steward.references)
    add_budget(routes, budgets, lambda: tuple(read_state(state_dir).models), steward.spent)
    movers_of = partial(movers, steward.desk, kept, state_dir)
    add_rollouts(routes, steward.desk, movers_of, steward.settings.server.max_body_bytes)
    add_predictions(routes, kept, kept.known, state_dir)
    return app
