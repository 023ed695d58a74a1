"""Upkeep of the database: what is past goes to the archive, what is older than the retention goes altogether.

Outcomes go after the decisions they belong to.
"""

from dataclasses import dataclass, field
from typing import Final

from scoreline.core.errors import ScorelineError
from scoreline.records.archive import Archive
from scoreline.records.counted import forget_units
from scoreline.records.database import Database
from scoreline.records.erase import Eraser
from scoreline.records.forgetting import remove_outcomes
from scoreline.records.reach import forget_spools
from scoreline.records.retention import remove_expired
from scoreline.records.shadowed import forget_scores
from scoreline.signing import Signer

DAY_NS: Final = 86_400_000_000_000


@dataclass(frozen=True, slots=True)
class Upkeep:
    """What becomes of decisions in time; a retention of 0 keeps them for ever, no archive keeps all in the database.

    `signer` signs for what is removed.
    """

    signer: Signer
    retention_days: int = 0
    archive: str = ""
    archive_days: int = 0
    _said: set[int] = field(default_factory=set, repr=False, compare=False)

    def step(self, database: Database, now_ns: int) -> bool:
        """One step of either, for one steward at a time; whether there may be more. Raises as they do."""
        return self.move(database, now_ns) or self.expire(database, now_ns)

    def erase(self, database: Database, *, again: bool) -> None:
        """Erases what has come up since it was asked for: of erasures that wait or, `again`, of every one."""
        Eraser(database, self.signer, self.archive, self._said).again(every=again)

    def move(self, database: Database, now_ns: int) -> bool:
        """One step into the archive; whether there may be more. Raises a ScorelineError or OSError."""
        if not self.archive:
            return False
        archive = Archive(self.archive)
        archive.sweep(database, now_ns)
        return archive.move(database, self.archive_days, now_ns)

    def expire(self, database: Database, now_ns: int) -> bool:
        """One step of what is older than the retention; whether there may be more. Raises as `move`.

        A file that cannot be read holds up no outcomes.
        """
        forget_units(database, now_ns)
        forget_spools(database)
        days = self.retention_days
        if not days:
            return False
        if remove_expired(database, days, now_ns, self.signer):
            return True
        if forget_scores(database, now_ns - days * DAY_NS):
            return True
        try:
            if self.archive and Archive(self.archive).expire(database, days, now_ns, self.signer):
                return True
        except (ScorelineError, OSError):
            if remove_outcomes(database, days, now_ns):
                return True
            raise
        return remove_outcomes(database, days, now_ns)
