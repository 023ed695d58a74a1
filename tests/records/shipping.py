"""What the tests of shipping share: a spool with decisions in it, a database, and what is in both."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from scoreline.core.batch import Context
from scoreline.core.decision import Author, Decisions
from scoreline.core.ids import IdSource
from scoreline.records.database import Database, open_database
from scoreline.records.read import read_decisions
from scoreline.records.ship import Shipper
from scoreline.signing import Signer, generate_keys
from somedecisions import author_of, decisions_of

AUTHOR = author_of(n_fields=3, outcomes=("approve", "decline"))
DAY_NS = 86_400_000_000_000
NOON_NS = 1_700_049_600_000_000_000  # 15 November 2023, 12:00 UTC
_ids = IdSource()


@contextmanager
def opened(url: str) -> Iterator[Database]:
    database = open_database(url, Path("unused"))
    database.prepare()
    try:
        yield database
    finally:
        database.close()


def decided(n_rows: int = 1, time_ns: int = 0, author: Author = AUTHOR, **more: Any) -> Decisions:
    """Decisions with ids as the service draws them."""
    taken_ns = time_ns or time.time_ns()
    context = Context(taken_ns, more.pop("request_id", "r"), "caller", "trace")
    found = decisions_of(author, 0, n_rows, context=context, **more)
    found.base = _ids.new_base(taken_ns)
    return found


def signer(name: str = "audit") -> Signer:
    """Who signs checkpoints; by another name somebody else."""
    return _signer(name)


@cache
def _signer(name: str) -> Signer:
    with tempfile.TemporaryDirectory() as folder:
        generate_keys(Path(folder) / f"{name}.key", Path(folder) / f"{name}.pub")
        return Signer.from_file(Path(folder) / f"{name}.key")


def ship_all(shipper: Shipper) -> None:
    while shipper.ship():
        pass


def stored(database: Database) -> list[Decisions]:
    return list(read_decisions(database))


def ids_of(many: list[Decisions]) -> list[str]:
    return sorted(decision.id for decisions in many for decision in decisions)
