"""A desk over small sealed versions of a model `m`, in a folder, with a ledger that has begun."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from models import opened, sealed_bundle, trust
from recorded import decided, golden_rows, kept
from scoreline.core.decision import Decisions
from scoreline.core.marks import Patience
from scoreline.operations.admission import Host
from scoreline.operations.desk import Desk, Shown
from scoreline.operations.governed import arm_of
from scoreline.operations.rollouts import By, seed
from scoreline.records.counting import Counting
from scoreline.records.database import Database, open_database
from scoreline.records.ship import Shipper
from scoreline.records.writer import SpoolWriter
from scoreline.registries.folder import FolderRegistry
from scoreline.rollout.gates import ShadowEvidence
from scoreline.rollout.policy import Policy
from scoreline.rollout.stages import Arm

ADA, BOB = By("ada", "to see"), By("bob")
SAFE = ShadowEvidence(rows=5000, pairs=4000, e_better=0.5, e_safe=200.0)
MODEL_NS = 1_000_000


def bundles(folder: Path, *versions: str, **options: Any) -> Path:
    """A folder with these versions of `m`."""
    folder.mkdir(exist_ok=True)
    for version in versions:
        sealed_bundle(folder, version=version, parameters={"seed": int(version), "subsample": 0.7}, **options)
    return folder


@contextmanager
def desk(
    url: str, folder: Path, *, policy: Policy | None = None, seen: dict[str, ShadowEvidence] | None = None
) -> Iterator[Desk]:
    """A desk where version 1 of a folder of bundles is the champion; `seen`: what shadow shows, by version."""
    database = open_database(url, folder / "unused.db")
    database.prepare()
    state_dir = folder / "state"
    known = {"folder": FolderRegistry(folder)}
    kept(folder / "m-1", state_dir)
    seed(database, "m", arm(folder, "1"), By("serve"))
    shown = seen or {}
    found = Desk(
        database,
        Host(known, lambda: trust(folder), state_dir),
        policy or Policy(),
        lambda _, __, each: Shown(shown.get(each.arm.version, ShadowEvidence()), {"rows": 1}),
    )
    try:
        yield found
    finally:
        database.close()


def arm(folder: Path, version: str) -> Arm:
    return arm_of("folder:/m", "m", version, opened(folder / f"m-{version}").manifest.digest)


def ship(
    database: Database, folder: Path, many: Sequence[Decisions], change: Callable[[int, Decisions], None] | None = None
) -> None:
    """Decisions as if a service had recorded and shipped them."""
    spool = folder / f"spool-{time.time_ns()}"
    writer = SpoolWriter(spool, 1 << 26)
    for number, found in enumerate(many):
        found.model_ns = MODEL_NS + number
        if change:
            change(number, found)
        writer.write(found)
    writer.close()
    counting = Counting(database, lambda _: 140_000_000, Patience(1_000_000_000, 140_000_000))
    shipper = Shipper(spool, database, "here", counting=[counting])
    while shipper.ship():
        pass


def decisions(folder: Path, n: int, version: str = "1") -> list[Decisions]:
    """So many decisions of a version, one row each."""
    rows = golden_rows(folder / f"m-{version}")
    return decided(folder / f"m-{version}", np.ascontiguousarray(rows[np.arange(n) % len(rows)]))
