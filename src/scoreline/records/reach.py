"""How far the spools of all hosts are in the database, so that whoever folds decisions in their order misses none.

1. A spool is heard of before anything of it is shipped: from then on nobody goes past what it is through with.
2. When all that was in it at a moment is shipped, it says so. Decisions come to it a few seconds after they were taken
   up, which everybody allows for (SLACK_NS).
3. A spool that is not heard of for GONE_NS holds nobody up: its host may never come back.
4. What comes from one that may have been passed by is put down as late, in the transaction that ships it. Whoever has
   gone past that begins anew, and comes to what those come to who begin now.
"""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, delete, func, select, text

from scoreline.records.database import Database
from scoreline.records.pieces import Piece
from scoreline.records.tables import LATE, SPOOLS

SLACK_NS: Final = 5_000_000_000
GONE_NS: Final = 300_000_000_000
SAY_NS: Final = 1_000_000_000
FORGET_NS: Final = 86_400_000_000_000
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_TIME_AT: Final = 1
_HEAR: Final = text(
    "INSERT INTO spools (id, through_ns, heard_ns) VALUES (:id, 0, :heard_ns) "
    "ON CONFLICT (id) DO UPDATE SET heard_ns = excluded.heard_ns"
)
_SAY: Final = text(
    "UPDATE spools SET heard_ns = :heard_ns, through_ns = "
    "CASE WHEN through_ns < :through_ns THEN :through_ns ELSE through_ns END WHERE id = :id"
)
_COUNT: Final = text(
    "INSERT INTO late (spool, passed_ns, model, rows, from_ns) VALUES (:spool, :passed_ns, :model, :rows, :from_ns) "
    "ON CONFLICT (spool, passed_ns, model) DO UPDATE SET rows = late.rows + excluded.rows, from_ns = "
    "CASE WHEN late.from_ns < excluded.from_ns THEN late.from_ns ELSE excluded.from_ns END"
)
Mark = tuple[int, int]  # how many decisions came late, and the time of the first of them


class Reaching:
    """What one spool says of itself."""

    def __init__(self, database: Database, folder: Path, host: str) -> None:
        self._database = database
        self._id = _name_of(folder, host)
        self._passed_ns = 0
        self._heard_ns = self._said_ns = 0  # by this clock, when it was last

    def begin(self) -> None:
        """Is heard of, unless it was just now; raises DatabaseDown or DatabaseRefused."""
        now_ns = time.time_ns()
        if 0 <= now_ns - self._heard_ns < GONE_NS // 2:
            return
        with self._database.writing() as connection:
            clock_ns = self._database.now_ns(connection)
            heard = SPOOLS.c.id == self._id, SPOOLS.c.heard_ns > clock_ns - GONE_NS
            through_ns = connection.scalar(select(SPOOLS.c.through_ns).where(*heard))
            self._passed_ns = max(self._passed_ns, now_ns if through_ns is None else through_ns)
            connection.execute(_HEAR, {"id": self._id, "heard_ns": clock_ns})
        self._heard_ns = now_ns

    def count_late(self, connection: Connection, piece: Piece) -> None:
        """Puts down what of a piece others may have passed by, in the transaction that ships it."""
        before_ns = self._passed_ns - SLACK_NS
        if not piece.rows or min(map(itemgetter(_TIME_AT), piece.rows)) >= before_ns:
            return
        times: dict[str, list[int]] = {}
        for by, row in zip(piece.by, piece.rows, strict=True):
            if row[_TIME_AT] < before_ns:
                times.setdefault(piece.authors[by].model, []).append(row[_TIME_AT])
        for model, found in sorted(times.items()):
            named = {"spool": self._id, "passed_ns": self._passed_ns, "model": model}
            connection.execute(_COUNT, {**named, "rows": len(found), "from_ns": min(found)})

    def say(self, through_ns: int) -> None:
        """All that was in the spool at a moment is shipped; 0: not yet. Raises DatabaseDown or DatabaseRefused."""
        now_ns = time.time_ns()
        is_news = through_ns and now_ns - self._said_ns >= SAY_NS
        if not is_news and 0 <= now_ns - self._heard_ns < GONE_NS // 4:
            return
        self._passed_ns = max(self._passed_ns, through_ns)
        with self._database.writing() as connection:
            told = {"id": self._id, "heard_ns": self._database.now_ns(connection), "through_ns": through_ns}
            connection.execute(_SAY, told)
        self._heard_ns = now_ns
        self._said_ns = now_ns if through_ns else self._said_ns

    def end(self) -> None:
        """Nothing is in the spool, and nothing comes to it any more: it holds nobody up."""
        with self._database.writing() as connection:
            connection.execute(delete(SPOOLS).where(SPOOLS.c.id == self._id))
        self._heard_ns = 0


@dataclass(frozen=True, slots=True)
class Reach:
    """Up to when decisions may be folded in their order, and what came late for a model, by spool and `passed_ns`."""

    until_ns: int
    late: Mapping[tuple[str, int], Mark]

    def rows_since(self, time_ns: int) -> int:
        """How many decisions came late since a time."""
        return sum(rows for (_, passed_ns), (rows, _) in self.late.items() if passed_ns >= time_ns)

    def has_passed(self, known: "Reach", seen_ns: int) -> bool:
        """Whether something of before `seen_ns` came late that was not there when `known` was taken."""
        new = self.late.items() - known.late.items()
        return any(from_ns < seen_ns for _, (_, from_ns) in new)

    @property
    def passed_ns(self) -> int:
        """When a spool was last heard of again whose decisions came late; 0: never."""
        return max((passed_ns for _, passed_ns in self.late), default=0)


def reach(database: Database, model: str, now_ns: int) -> Reach:
    """How far all spools are that are heard of; raises DatabaseDown or DatabaseRefused."""
    with database.reading() as connection:
        heard = SPOOLS.c.heard_ns > database.now_ns(connection) - GONE_NS
        through_ns = connection.scalar(select(func.min(SPOOLS.c.through_ns)).where(heard))
        found = connection.execute(select(LATE).where(LATE.c.model == model)).all()
    until_ns = now_ns if through_ns is None else min(now_ns, through_ns)
    return Reach(until_ns - SLACK_NS, {(row.spool, row.passed_ns): (row.rows, row.from_ns) for row in found})


def forget_spools(database: Database) -> None:
    """Forgets spools that were not heard of for a day; one that comes back after all is as one that is new."""
    with database.writing() as connection:
        gone = SPOOLS.c.heard_ns < database.now_ns(connection) - FORGET_NS
        connection.execute(delete(SPOOLS).where(gone))


def _name_of(folder: Path, host: str) -> str:
    """A name no other spool has: machines may be copies of each other, and their containers of one name."""
    folder.mkdir(parents=True, exist_ok=True)
    there = folder.stat()
    boot = _BOOT_ID.read_text().strip() if os.access(_BOOT_ID, os.R_OK) else ""
    return f"{host}:{boot}:{there.st_dev}:{there.st_ino}"
