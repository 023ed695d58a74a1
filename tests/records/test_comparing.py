"""Who was decided on again, and which decisions a challenger is still to come to."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from shipping import AUTHOR, decided, opened, ship_all
from sqlalchemy import select

from scoreline.records.comparing import awaited, followed
from scoreline.records.database import Database
from scoreline.records.segments import BEGIN, Segment
from scoreline.records.shadowed import add_scores, numbers_of
from scoreline.records.ship import Shipper
from scoreline.records.tables import SEGMENTS
from scoreline.records.writer import SpoolWriter

NOW_NS = 1_790_000_000_000_000_000
ADA, BOB = b"a" * 16, b"b" * 16
CHALLENGER = replace(AUTHOR, version="2", digest="2" * 64, role="challenger", epoch=2)
# When after the first decision (seconds), about whom, and by which model.
DECISIONS = [
    (0, ADA, "m"),
    (1, BOB, "m"),
    (5, ADA, "m"),
    (6, BOB, "other"),
    (60, ADA, "m"),
    (61, b"", "m"),
    (62, b"", "m"),
]


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    with opened(database_url) as found:
        yield found


def shipped(database: Database, spool: Path) -> list[bytes]:
    """The ids of the decisions, in their order."""
    writer, ids = SpoolWriter(spool, 1 << 20), []
    for second, entity, model in DECISIONS:
        author = replace(AUTHOR, model=model)
        found = decided(1, NOW_NS + second * 10**9, author, entities=[entity] if entity else ())
        writer.write(found)
        ids.append(found.base.to_bytes(16, "big"))
    writer.close()
    ship_all(Shipper(spool, database, "here"))
    return ids


@pytest.mark.parametrize(("within_s", "places"), [(4, []), (5, [0]), (54, [0]), (55, [0, 2]), (999, [0, 2])])
def test_an_entity_is_followed_by_its_next_decision_of_the_model_within_a_time(
    database: Database, tmp_path: Path, within_s: int, places: list[int]
) -> None:
    ids = shipped(database, tmp_path)
    with database.reading() as connection:
        assert followed(connection, "m", ids, within_s * 10**9) == {ids[place] for place in places}
        assert followed(connection, "m", ids[1:], within_s * 10**9) == {ids[place] for place in places if place}
        assert followed(connection, "unknown", ids, within_s * 10**9) == set()


def test_of_one_moment_the_last_id_follows(database: Database, tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path, 1 << 20)
    found = decided(3, NOW_NS, AUTHOR, entities=[ADA] * 3)
    writer.write(found)
    writer.close()
    ship_all(Shipper(tmp_path, database, "here"))
    ids = [(found.base | row).to_bytes(16, "big") for row in range(3)]
    with database.reading() as connection:
        assert followed(connection, AUTHOR.model, ids, 0) == set(ids[:2])


def test_decisions_are_awaited_where_a_challenger_has_begun_with_their_segment(
    database: Database, tmp_path: Path
) -> None:
    ids = shipped(database, tmp_path)
    with database.reading() as connection:
        writer, number, end = connection.execute(select(SEGMENTS.c.writer, SEGMENTS.c.number, SEGMENTS.c.offset)).one()
        assert awaited(connection, [1, 2, 3], ids) == set(), "it has not begun"
    segment = Segment(writer, number, tmp_path)
    for begin, until, expected in ((BEGIN, BEGIN + 1, set(ids)), (BEGIN + 1, end, set())):
        assert add_scores(database, CHALLENGER, segment, begin, until, [], 0)
        numbers = numbers_of(database, CHALLENGER.model, CHALLENGER.digest, CHALLENGER.epoch)
        with database.reading() as connection:
            assert awaited(connection, numbers, ids) == expected
            assert awaited(connection, [], ids) == set()
