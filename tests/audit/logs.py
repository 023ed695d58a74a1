"""A log to audit: decisions of two models about a few people, by several writers, shipped and signed."""

import random
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "records"))

from shipping import DAY_NS, NOON_NS, decided, ship_all, signer

from scoreline.audit.report import Report
from scoreline.audit.verify import verify
from scoreline.core.decision import Decisions
from scoreline.records.archive import Archive
from scoreline.records.chain import sign_pending
from scoreline.records.database import Database, open_database
from scoreline.records.ship import Shipper
from scoreline.records.writer import SpoolWriter
from scoreline.signing import TrustStore
from somedecisions import author_of

MARIE, PAUL, NOBODY = b"m" * 16, b"p" * 16, b""
MODELS = (author_of("fraud", 3, outcomes=("approve", "decline")), author_of("churn", 2, classes=("a", "b")))
__all__ = ["DAY_NS", "NOON_NS", "decided", "ship_all", "signer"]


class Log:
    """A spool of two writers and the database it is shipped to; time passes as the test says."""

    def __init__(self, folder: Path, database: Database, seed: int = 0) -> None:
        self.folder = folder
        self.database = database
        self.made: list[Decisions] = []
        self._rng = random.Random(seed)
        self._shipper = Shipper(folder / "spool", database, "here")
        self._writers = [SpoolWriter(folder / "spool", 2000) for _ in range(2)]

    def decide(self, n_requests: int, day: float = 0.0, entity: bytes | None = None) -> None:
        """Requests of one to four rows, some of which never left; each writer has about as many."""
        for _ in range(n_requests):
            n_rows, author = self._rng.randint(1, 4), self._rng.choice(MODELS)
            about = [self._rng.choice((MARIE, PAUL, NOBODY)) if entity is None else entity for _ in range(n_rows)]
            time_ns = NOON_NS + int(day * DAY_NS) + len(self.made) * 1_000_000
            made = decided(n_rows, time_ns, author, entities=about, score=self._rng.random())
            writer = self._rng.choice(self._writers)
            writer.write(made)
            if self._rng.random() < 0.2:
                writer.unsent(made)
            self.made.append(made)

    def ship(self) -> None:
        ship_all(self._shipper)

    def end(self) -> None:
        """The writers end, and all is shipped."""
        for writer in self._writers:
            writer.close()
        self.ship()

    def sign(self) -> None:
        sign_pending(self.database, signer(), NOON_NS)

    def begin_anew(self) -> None:
        self._writers = [SpoolWriter(self.folder / "spool", 2000) for _ in range(2)]


def audited(database: Database, archive: Archive | None = None, head: str = "", *, is_export: bool = False) -> Report:
    return verify(database, TrustStore([signer().public_pem]), archive, head, is_export=is_export)


@contextmanager
def sample(folder: Path, url: str) -> Iterator[Log]:
    """A log of some hundred decisions in several segments, ended, and signed in several checkpoints."""
    with closing(open_database(url, folder / "unused")) as database:
        database.prepare()
        log = Log(folder, database)
        for _ in range(3):
            log.decide(12)
            log.ship()
            log.sign()
        log.decide(5)
        log.end()
        log.sign()
        yield log


def every(act: Callable[[], bool], most: int = 200) -> int:
    """Repeats an act for as long as there may be more to do; returns how often."""
    done = 0
    while act():
        done += 1
        assert done < most
    return done
