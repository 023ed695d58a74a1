"""Upkeep of the database: what is past goes to the archive, what is older than the retention goes altogether.

Outcomes go after the decisions they belong to.
"""

from dataclasses import dataclass

from scoreline.records.archive import Archive
from scoreline.records.database import Database
from scoreline.records.forgetting import remove_outcomes
from scoreline.records.retention import remove_expired


@dataclass(frozen=True, slots=True)
class Upkeep:
    """What becomes of decisions in time; a retention of 0 keeps them for ever, no archive keeps all in the database."""

    retention_days: int = 0
    archive: str = ""
    archive_days: int = 0

    def step(self, database: Database, now_ns: int) -> bool:
        """One step, by one steward at a time; whether there may be more. Raises a ScorelineError or OSError."""
        if not (self.retention_days or self.archive):
            return False
        with database.alone() as alone:
            return alone and (self._archive(database, now_ns) or self._expire(database, now_ns))

    def _archive(self, database: Database, now_ns: int) -> bool:
        return bool(self.archive) and Archive(self.archive).move(database, self.archive_days, now_ns)

    def _expire(self, database: Database, now_ns: int) -> bool:
        days = self.retention_days
        if not days:
            return False
        if remove_expired(database, days, now_ns):
            return True
        if self.archive and Archive(self.archive).expire(database, days, now_ns):
            return True
        return remove_outcomes(database, days, now_ns)
