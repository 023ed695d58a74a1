"""What rollouts keep of entities and decisions goes with them, and whom they counted a while after they have ended."""

import time
from pathlib import Path

from shipping import DAY_NS, decided, opened, ship_all, signer
from sqlalchemy import func, select

from scoreline.core.marks import Patience
from scoreline.records.counted import KEPT_NS
from scoreline.records.counting import Counting
from scoreline.records.database import Database
from scoreline.records.erase import Eraser
from scoreline.records.ledger import Entry, append
from scoreline.records.rollout_tables import COUNTS, SHADOW_SCORES, UNITS
from scoreline.records.segments import BEGIN, Segment
from scoreline.records.shadowed import Scored, add_scores
from scoreline.records.ship import Shipper
from scoreline.records.upkeep import Upkeep
from scoreline.records.writer import SpoolWriter
from somedecisions import author_of

MARIE, PAUL = b"m" * 16, b"p" * 16
CANARY, CHALLENGER = author_of(role="canary", epoch=2), author_of(role="challenger", epoch=2)


def begun(database: Database, spool: Path, days_ago: int = 0) -> None:
    """A rollout that has counted two entities, and a challenger that has scored their decisions."""
    stage = {"rollout": 2, "stepped": 2, "share": 0.5, "slow_ns": 0, "high_score": None, "canary": {"version": "2"}}
    for seq in (1, 2):
        append(database, Entry("fraud", seq, 1, "step", "ada", "", {**stage, "rollout": 2 * (seq == 2)}, {}))
    writer = SpoolWriter(spool, 1 << 20)
    many = [decided(1, time.time_ns() - days_ago * DAY_NS, CANARY, entities=[who]) for who in (MARIE, PAUL)]
    for found in many:
        writer.write(found)
    writer.close()
    ship_all(
        Shipper(
            spool, database, "here", counting=[Counting(database, lambda _: 1_000_000_000, Patience(2_000_000_000, 0))]
        )
    )
    scores = [Scored(found.base.to_bytes(16, "big"), b"s" * 8, -1) for found in many]
    assert add_scores(database, CHALLENGER, Segment("a" * 24, 0, spool), BEGIN, BEGIN + 9, scores, 0)
    assert not add_scores(database, CHALLENGER, Segment("a" * 24, 0, spool), BEGIN, BEGIN + 9, scores, 0), "once"


def counts(database: Database) -> tuple[int, int]:
    """Rows that name units, and scores of challengers."""
    with database.reading() as connection:
        found = [connection.scalar(select(func.count()).select_from(table)) for table in (UNITS, SHADOW_SCORES)]
    return found[0] or 0, found[1] or 0


def test_an_erasure_takes_them(database_url: str, tmp_path: Path) -> None:
    with opened(database_url) as database:
        begun(database, tmp_path)
        assert counts(database) == (4, 2)
        Eraser(database, signer()).erase(MARIE, "asked for", "ada")
        assert counts(database) == (2, 1)
        with database.reading() as connection:
            assert set(connection.scalars(select(UNITS.c.unit))) == {PAUL}


def test_retention_takes_the_scores_of_decisions_that_are_gone(database_url: str, tmp_path: Path) -> None:
    with opened(database_url) as database:
        begun(database, tmp_path, days_ago=5)
        upkeep = Upkeep(signer(), retention_days=10)
        while upkeep.expire(database, time.time_ns()):
            pass
        assert counts(database) == (4, 2)
        while upkeep.expire(database, time.time_ns() + 6 * DAY_NS):
            pass
        assert counts(database) == (4, 0)


def test_whom_a_rollout_counted_is_forgotten_a_month_after_its_end(database_url: str, tmp_path: Path) -> None:
    with opened(database_url) as database:
        begun(database, tmp_path)
        upkeep, now_ns = Upkeep(signer()), time.time_ns()
        upkeep.expire(database, now_ns + 99 * KEPT_NS)
        assert counts(database)[0] == 4, "it goes on"
        append(database, Entry("fraud", 3, now_ns, "roll_back", "ada", "", {"rollout": 0, "canary": None}, {}))
        upkeep.expire(database, now_ns + KEPT_NS - 1)
        assert counts(database)[0] == 4
        upkeep.expire(database, now_ns + KEPT_NS)
        assert counts(database)[0] == 0
        with database.reading() as connection:
            assert connection.scalar(select(func.count()).select_from(COUNTS)), "counts name nobody"
