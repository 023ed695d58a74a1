"""Random SIGKILLs of everything that serves, records and ships, under load; and then every prediction is counted.

A run is a real `scoreline serve` with two workers, its database, and clients of their own processes. What is killed:
a worker; the steward; the supervisor alone, whose children then end; the whole service at once; one session of
PostgreSQL's (which makes it end all others, and recover); PostgreSQL with all its processes, started again on the same
folder up to two seconds later, while the others go on dying. A service that was killed is started again at once, on the
same state folder. Kills come at moments drawn from the seed, each after more requests were answered since the last.
"""

import os
import random
import signal
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import func, select

from askers import Askers, Told, asking
from postgres_server import Postgres
from scoreline.audit.verify import verify
from scoreline.records.database import Database, open_database
from scoreline.records.read import read_record
from scoreline.records.segments import segments
from scoreline.records.tables import DECISIONS, OUTCOMES, SEGMENTS
from scoreline.signing import TrustStore
from service import SealedModel, Service, free_port, start_serving, wait_until
from trees import check_trees

OF_SERVICE = ("worker", "steward", "supervisor", "service")
OF_POSTGRES = ("session", "postgres")
WORKERS = 2
LEAST_ANSWERS = 30  # between two kills
LEAST_OUTCOMES = 5  # after the last one
LONGEST_PAUSE_S = 1.5
LONGEST_OUTAGE_S = 2.0
PATIENCE_S = 120
SETTINGS = {"SCORELINE_RECORDS__SEGMENT_BYTES": "400000"}  # many segments begin, end and are deleted meanwhile


@dataclass
class Count:
    """What a run found. All of `held` must be zero or empty; the rest says what was done."""

    kills: Counter[str]
    told: Told
    stored: int = 0
    untold: int = 0  # recorded, and never told: their answers were lost on the way
    segments: int = 0
    held: dict[str, int] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        return not any(self.held.values())


class Ground:
    """The service of a run with its database: killed piece by piece, and started again."""

    def __init__(
        self, model: SealedModel, folder: Path, rng: random.Random, url: str, postgres: Postgres | None
    ) -> None:
        self._model = model
        self._rng = rng
        self._folder = folder
        self._environment = SETTINGS | {"SCORELINE_RECORDS__DATABASE": url}
        self._postgres = postgres
        self._postgres_due_s = 0.0
        self.port, self.admin_port = free_port(), free_port()
        self.service = self.serve()

    @property
    def kinds(self) -> tuple[str, ...]:
        return OF_SERVICE + (OF_POSTGRES if self._postgres else ())

    def serve(self) -> Service:
        """A service on the same folder and ports, ready; the log of the one before is kept beside."""
        log = self._folder / "serve.log"
        if log.exists():
            log.rename(self._folder / f"serve-{time.monotonic_ns()}.log")
        ports = ("--port", str(self.port), "--admin-port", str(self.admin_port))
        service = start_serving(self._model, folder=self._folder, workers=WORKERS, arguments=ports, **self._environment)
        service.wait_until_ready()
        return service

    def kill(self, kind: str) -> None:
        """One kill, by its kind; what starts nothing again by itself is started by us."""
        if kind in OF_POSTGRES:
            self.restart_postgres()
        getattr(self, f"_kill_{kind}")()

    def look(self) -> None:
        """Starts PostgreSQL again where that is due."""
        if self._postgres_due_s and time.monotonic() > self._postgres_due_s:
            self.restart_postgres()

    def restart_postgres(self) -> None:
        if self._postgres and self._postgres_due_s:
            self._postgres.start()
        self._postgres_due_s = 0.0

    def end(self) -> int:
        """SIGTERM, and the exit code."""
        return self.service.stop()

    def abandon(self) -> None:
        """Leaves no process behind, whatever has failed."""
        if self.service.process.poll() is None:
            self._kill_all()

    def _kill_worker(self) -> None:
        found = wait_until(self.service.workers, "there is a worker", PATIENCE_S)
        self._rng.choice(found).kill()

    def _kill_steward(self) -> None:
        wait_until(self.service.steward, "there is a steward", PATIENCE_S).kill()

    def _kill_supervisor(self) -> None:
        children = self.service.children()
        self.service.process.kill()
        self.service.process.wait()
        _, left = psutil.wait_procs(children, timeout=PATIENCE_S)
        assert not left, "children outlived their supervisor"
        self.service = self.serve()

    def _kill_service(self) -> None:
        self._kill_all()
        self.service = self.serve()

    def _kill_all(self) -> None:
        children = self.service.children()
        os.killpg(self.service.process.pid, signal.SIGKILL)
        self.service.process.wait()
        psutil.wait_procs(children, timeout=PATIENCE_S)

    def _kill_session(self) -> None:
        assert self._postgres
        found = wait_until(self._postgres.sessions, "PostgreSQL has a session", PATIENCE_S)
        self._rng.choice(found).kill()

    def _kill_postgres(self) -> None:
        assert self._postgres
        self._postgres.kill()
        self._postgres_due_s = time.monotonic() + self._rng.uniform(0, LONGEST_OUTAGE_S)


def run(
    model: SealedModel, folder: Path, n_kills: int, seed: int, url: str = "", postgres: Postgres | None = None
) -> Count:
    """So many kills under load, an end in order, and what was found then. Without a URL it is SQLite in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(seed)
    ground = Ground(model, folder, rng, url, postgres)
    try:
        with asking(folder, ground.port, ground.admin_port) as askers:
            kills = kill_under_load(ground, askers, planned(ground.kinds, n_kills, rng), rng)
            told = askers.end()
        open_segments = caught_up(ground)
        assert open_segments <= WORKERS, f"{open_segments} segments are open"
        assert ground.end() == 0
    finally:
        ground.abandon()
    database = open_database(url, folder / "state" / "scoreline.db")
    database.prepare()
    try:
        return counted(folder / "state" / "spool", database, Count(kills, told))
    finally:
        database.close()


def planned(kinds: Sequence[str], n_kills: int, rng: random.Random) -> list[str]:
    """As many of each kind as there can be, in an order drawn from the seed."""
    plan = [kinds[number % len(kinds)] for number in range(n_kills)]
    rng.shuffle(plan)
    return plan


def kill_under_load(ground: Ground, askers: Askers, plan: list[str], rng: random.Random) -> Counter[str]:
    for kind in plan:
        goal, due_s = askers.answered + LEAST_ANSWERS, time.monotonic() + rng.uniform(0, LONGEST_PAUSE_S)

        def is_due(goal: int = goal, due_s: float = due_s) -> bool:
            ground.look()
            return askers.answered >= goal and time.monotonic() >= due_s

        wait_until(is_due, f"{LEAST_ANSWERS} more requests were answered", PATIENCE_S)
        ground.kill(kind)
    ground.restart_postgres()
    answers, outcomes = askers.answered + LEAST_ANSWERS, askers.reported + LEAST_OUTCOMES
    wait_until(
        lambda: askers.answered >= answers and askers.reported >= outcomes,
        "all goes on after the last kill",
        PATIENCE_S,
    )
    return Counter(plan)


def caught_up(ground: Ground) -> int:
    """Waits until all is shipped and what has ended is deleted; returns how many segments are left, all open."""
    spool = ground.service.state_dir / "spool"

    def is_shipped() -> bool:
        wait_until(ground.service.steward, "there is a steward", PATIENCE_S)
        status = ground.service.admin("/status").json()
        database = status["database"]
        return (database["lag_bytes"], database["error"], status["spool"]["lag_bytes"]) == (0, None, 0)

    wait_until(is_shipped, "shipping has caught up", PATIENCE_S)
    wait_until(lambda: not any(found.is_final for found in segments(spool)), "ended segments are deleted", PATIENCE_S)
    return len(segments(spool))


def counted(spool: Path, database: Database, count: Count) -> Count:
    """What the clients were told, against the record."""
    told, times = count.told, Counter[str]()
    differing = strangers = 0
    for decisions in read_record(spool, database):
        for row in range(len(decisions)):
            id_ = str(uuid.UUID(int=decisions.base | row))
            times[id_] += 1
            score = told.scores.get(id_)
            if score is None:
                count.untold += 1
                strangers += decisions.context.request_id not in told.failed
            elif score != decisions.scores[row, 0]:
                differing += 1
    with database.reading() as connection:
        rows, ids = connection.execute(select(func.count(), func.count(DECISIONS.c.id.distinct()))).one()
        count.segments = connection.scalar(select(func.count()).select_from(SEGMENTS)) or 0
        repeated, missed = connection.execute(select(func.sum(SEGMENTS.c.repeated), func.sum(SEGMENTS.c.missed))).one()
        outcomes = outcome_counts(connection)
    check_trees(database)
    audited = verify(database, TrustStore.from_files([spool.parent / "audit.pub"]))
    count.stored = rows
    count.held = {
        "answered predictions missing": len(told.scores.keys() - times.keys()),
        "predictions that are there twice": sum(n > 1 for n in times.values()) + rows - ids,
        "predictions told twice": told.twice,
        "scores that differ from what was told": differing,
        "predictions of no request that failed": strangers,
        "shipped again and dropped (segments.repeated)": int(repeated or 0),
        "answered without a record (segments.missed)": int(missed or 0),
        "files left in the spool": len([path for path in spool.iterdir() if not path.name.startswith(".")]),
        "findings of `audit verify`, and decisions not signed": audited.n_findings + audited.unsigned,
        "outcomes taken and missing, or there twice": sum(outcomes[id_] != 1 for id_ in told.outcomes),
        "outcomes by entity taken and missing": max(0, told.by_entity - outcomes[""]),
    }
    return count


def outcome_counts(connection: Any) -> Counter[str]:
    """How many outcomes there are by prediction id; those by entity under no id."""
    found: Counter[str] = Counter()
    for (prediction,) in connection.execute(select(OUTCOMES.c.prediction)):
        found[str(uuid.UUID(bytes=prediction)) if prediction else ""] += 1
    return found
