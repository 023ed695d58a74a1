"""What a champion decided last equals a plain look at the same decisions."""

from pathlib import Path

import numpy as np
from shipping import NOON_NS, decided, opened, ship_all
from sqlalchemy import text

from scoreline.core.outcome import Outcome
from scoreline.records.outcomes import add_outcomes
from scoreline.records.recent import recent
from scoreline.records.ship import Shipper
from scoreline.records.tables import OTHER_TIME
from scoreline.records.writer import SpoolWriter
from somedecisions import author_of

SECOND = 1_000_000_000


def test_the_newest_decisions_of_the_champion_alone(database_url: str, tmp_path: Path) -> None:
    mine, canary = author_of(outcomes=()), author_of(role="canary", outcomes=(), digest="e" * 64)
    other, before = author_of("churn", outcomes=()), author_of(version="0", digest="f" * 64)
    made = []
    with opened(database_url) as database:
        writer = SpoolWriter(tmp_path, 1 << 20)
        for number in range(60):
            author = (mine, canary, other, before)[number % 4]
            entity = f"{number % 5}".encode() * 16 if number % 3 else b""
            found = decided(
                1, NOON_NS + number * SECOND, author, score=number / 100, entities=[entity], model_ns=number
            )
            writer.write(found)
            made.append(found)
        writer.close()
        ship_all(Shipper(tmp_path, database, "here"))
        mine_only = [found for found in reversed(made) if found.author == mine]
        for most in (4, 15, 100):
            wanted = mine_only[:most]
            found = recent(database, "fraud", "d" * 64, most)
            assert len(found) == len(wanted)
            np.testing.assert_array_equal(found.model_ns, [one.model_ns for one in wanted])
            np.testing.assert_array_equal(found.scores, [one.scores[0, 0] for one in wanted])
            assert found.units == len({one.entities[0] or one.base for one in wanted})
            assert found.span_s == (wanted[0].context.time_ns - wanted[-1].context.time_ns) / SECOND
        assert len(recent(database, "fraud", "0" * 64)) == len(recent(database, "none", "d" * 64)) == 0
        assert recent(database, "none", "d" * 64).span_s == 0.0
        ids = [one.base.to_bytes(16, "big") for one in mine_only[:3]]
        told = [Outcome(value=1.0, observed_ns=NOON_NS, prediction=one) for one in ids]
        told.append(
            Outcome(value=1.0, observed_ns=NOON_NS, model="fraud", entity="x", event_ns=mine_only[5].context.time_ns)
        )
        told.append(
            Outcome(value=1.0, observed_ns=NOON_NS, model="churn", entity="x", event_ns=mine_only[5].context.time_ns)
        )
        add_outcomes(database, [(one, b"0" * 16) for one in told], "", NOON_NS)
        assert recent(database, "fraud", "d" * 64).known == 4


def test_a_quiet_model_is_found_behind_any_number_of_decisions_of_others(database_url: str, tmp_path: Path) -> None:
    mine, other = author_of(outcomes=()), author_of("churn", outcomes=())
    with opened(database_url) as database:
        writer = SpoolWriter(tmp_path, 1 << 20)
        for number in range(300):
            writer.write(decided(1, NOON_NS + number * SECOND, mine if number < 5 else other))
        writer.close()
        ship_all(Shipper(tmp_path, database, "here"))
        assert len(recent(database, "fraud", "d" * 64, 4)) == 4
        assert len(recent(database, "fraud", "d" * 64)) == 5


def test_the_newest_are_taken_over_all_entries_of_the_ledger(database_url: str, tmp_path: Path) -> None:
    """Each entry makes an author of its own, and hosts may be at different ones at the same time."""
    authors = [author_of(outcomes=(), epoch=epoch) for epoch in (1, 2, 3)]
    with opened(database_url) as database:
        writer = SpoolWriter(tmp_path, 1 << 20)
        for number in range(90):
            writer.write(decided(1, NOON_NS + number * SECOND, authors[number * 7 % 3], model_ns=number))
        writer.close()
        ship_all(Shipper(tmp_path, database, "here"))
        for most in (1, 10, 45, 100):
            found = recent(database, "fraud", "d" * 64, most).model_ns
            np.testing.assert_array_equal(found, np.arange(89, max(89 - most, -1), -1))


def test_an_index_finds_them(database_url: str) -> None:
    with opened(database_url) as database, database.reading() as connection:
        told = "EXPLAIN" if database.kind == "postgresql" else "EXPLAIN QUERY PLAN"
        if database.kind == "postgresql":
            connection.execute(text("SET LOCAL enable_seqscan = off"))
        wanted = f"SELECT time_ns FROM decisions WHERE author = 3 AND NOT ({OTHER_TIME[database.kind]})"
        plan = connection.execute(text(f"{told} {wanted} ORDER BY id DESC LIMIT 10")).all()
        lines = " ".join(str(cell) for row in plan for cell in row)
        assert "author" in lines and "Sort" not in lines and "TEMP B-TREE" not in lines, lines
