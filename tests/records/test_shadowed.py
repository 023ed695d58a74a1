"""A challenger's scores are there once each, whatever shippers, shadows and databases go through."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shipping import AUTHOR, decided, opened, ship_all
from sqlalchemy import func, select

from scoreline.core.decision import Author, Decisions
from scoreline.records.database import Database
from scoreline.records.pieces import read_rows
from scoreline.records.rollout_tables import SHADOW_OFFSETS, SHADOW_SCORES
from scoreline.records.rows import rows_of
from scoreline.records.segments import BEGIN, Segment, segments
from scoreline.records.shadowed import (
    FAULTS,
    GIVEN_UP,
    Scored,
    add_fault,
    add_lost,
    add_scores,
    is_given_up,
    numbers_of,
    offset_of,
    place_of,
    progress,
    scores_of,
)
from scoreline.records.ship import Shipper
from scoreline.records.tables import DECISIONS, SEGMENTS
from scoreline.records.writer import SpoolWriter

OTHER_MODEL = replace(AUTHOR, model="churn")
IN_SHADOW = [replace(AUTHOR, version=str(n), digest=str(n) * 64, role="challenger", epoch=n) for n in (2, 3)]
SEGMENT = Segment("00" * 12, 0, Path("unused"))


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    with opened(database_url) as found:
        yield found


def numbers(database: Database, author: Author) -> list[int]:
    return numbers_of(database, author.model, author.digest, author.epoch)


def score_of(author: Author, values: bytes) -> bytes:
    """A challenger's own: each version has another one for the same row."""
    return np.array([np.frombuffer(values, "<f8").sum() / (1 + author.epoch)]).tobytes()


def read(author: Author, segment: Segment, offset: int) -> tuple[list[Scored], int]:
    piece = read_rows(segment.path, offset, {})
    mine = [row for by, row in zip(piece.by, piece.rows, strict=True) if piece.authors[by].model == author.model]
    return [Scored(row[0], score_of(author, row[6]), author.epoch % 2 - 1) for row in mine], piece.end


class Host:
    """A spool that grows, and who reads it; whoever dies is followed by somebody who knows the database only."""

    def __init__(self, folder: Path, database: Database) -> None:
        self.folder, self.database = folder, database
        self.writer = SpoolWriter(folder, 600)  # several segments
        self.shipper = self.new_shipper()
        self.known: dict[tuple[str, Author], int] = {}
        self.answered: list[Decisions] = []

    def new_shipper(self) -> Shipper:
        return Shipper(self.folder, self.database, "here", self.may_delete)

    def may_delete(self, segment: Segment, offset: int) -> bool:
        return all(offset_of(self.database, author, segment) >= offset for author in IN_SHADOW)

    def append(self, model: Author, n_rows: int) -> None:
        found = decided(n_rows, author=model)
        found.values[:] = np.arange(found.values.size).reshape(found.values.shape) + len(self.answered)
        self.writer.write(found)
        self.answered.append(found)

    def end(self) -> None:
        self.writer.close()
        self.writer = SpoolWriter(self.folder, 600)

    def shadow(self, author: Author, death: str) -> int:
        """A look at every segment; a death is before a transaction, or after it and before it is known."""
        steps = 0
        for segment in segments(self.folder):
            key = segment.path.name, author
            offset = self.known.get(key) or offset_of(self.database, author, segment)
            found, end = read(author, segment, offset)
            if end == offset:
                continue
            if death == "before":
                return self.forget()
            done = add_scores(self.database, author, segment, offset, end, found, 0)
            if death == "after":
                return self.forget()
            if death == "twin" and done:
                assert not add_scores(self.database, author, segment, offset, end, found, 0), "it was faster"
            self.known.pop(key, None)
            if done:
                self.known[key] = end
            steps += 1
        return steps

    def forget(self) -> int:
        self.known.clear()
        return 1

    def drain(self) -> None:
        self.writer.close()
        ship_all(self.shipper)
        for author in IN_SHADOW:
            while self.shadow(author, ""):
                pass
        ship_all(self.shipper)


appends = st.tuples(st.just("append"), st.sampled_from([AUTHOR, AUTHOR, OTHER_MODEL]), st.integers(1, 4))
shadows = st.tuples(st.just("shadow"), st.sampled_from(IN_SHADOW), st.sampled_from(["", "", "before", "after", "twin"]))
others = st.sampled_from([("ship",), ("shipper dies",), ("shadow dies",), ("end",)])


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(acts=st.lists(appends | appends | shadows | shadows | others, max_size=40))
def test_each_decision_has_one_score_of_each_challenger_whoever_dies_between_any_two_steps(
    database: Database, acts: list[tuple]
) -> None:
    with database.writing() as connection:
        for table in (DECISIONS, SEGMENTS, SHADOW_SCORES, SHADOW_OFFSETS):
            connection.execute(table.delete())  # what the example before left
    with TemporaryDirectory() as folder:
        host = Host(Path(folder), database)
        for act, *more in acts:
            match act:
                case "append":
                    host.append(*more)
                case "shadow":
                    host.shadow(*more)
                case "ship":
                    host.shipper.ship()
                case "shipper dies":
                    host.shipper = host.new_shipper()
                case "shadow dies":
                    host.forget()
                case "end":
                    host.end()
        host.drain()
        assert segments(host.folder) == [], "all is deleted once all have read it"
        rows = [row for found in host.answered if found.author == AUTHOR for row in rows_of(found)]
    for author in IN_SHADOW:
        whose, ids = numbers(database, author), [row.id for row in rows]
        with database.reading() as connection:
            n = select(func.count()).select_from(SHADOW_SCORES).where(SHADOW_SCORES.c.author.in_(whose))
            assert connection.scalar(n) == len(rows)
            found = scores_of(connection, whose, ids)
        assert found == {row.id: (score_of(author, row.values), author.epoch % 2 - 1) for row in rows}
        assert progress(database, whose)[:2] == (len(rows), 0)


def test_a_piece_is_taken_in_once_and_only_from_where_the_last_one_ended(database: Database) -> None:
    (author, _), found = IN_SHADOW, [Scored(bytes([n]) * 16, score_of(AUTHOR, bytes(8)), -1) for n in range(3)]
    assert not add_scores(database, author, SEGMENT, BEGIN + 5, BEGIN + 9, found, 0), "a gap"
    assert offset_of(database, author, SEGMENT) == BEGIN
    assert add_scores(database, author, SEGMENT, BEGIN, BEGIN + 5, found[:2], 4)
    assert not add_scores(database, author, SEGMENT, BEGIN, BEGIN + 9, found, 0), "from the beginning again"
    assert add_scores(database, author, SEGMENT, BEGIN + 5, BEGIN + 9, found[2:], 1)
    assert offset_of(database, author, SEGMENT) == BEGIN + 9
    assert progress(database, numbers(database, author))[:2] == (3, 5)
    assert progress(database, [])[:2] == (0, 0)


def test_of_a_segment_that_is_gone_what_is_without_a_score_is_counted_once(database: Database, tmp_path: Path) -> None:
    begun, late = IN_SHADOW
    writer = SpoolWriter(tmp_path, 1 << 20)
    writer.write(decided(3))
    (segment,) = segments(tmp_path)
    found, end = read(begun, segment, BEGIN)
    assert add_scores(database, begun, segment, BEGIN, end, found[:2], 1), "one row it has no score for"
    for more in (decided(4), decided(5, author=OTHER_MODEL), decided(6, author=replace(AUTHOR, role="challenger"))):
        writer.write(more)
    assert add_lost(database, begun, segment) == 0, "the database does not have it"
    writer.close()
    ship_all(Shipper(tmp_path, database, "here"))
    assert segments(tmp_path) == []
    assert (add_lost(database, begun, segment), add_lost(database, late, segment)) == (4, 7)
    assert (add_lost(database, begun, segment), add_lost(database, late, segment)) == (0, 0)
    assert progress(database, numbers(database, begun))[:2] == (2, 5)
    assert progress(database, numbers(database, late))[:2] == (0, 7)
    assert not add_scores(database, begun, segment, end, end + 9, found, 0), "what was counted is not scored later"


def test_a_segment_that_all_have_read_has_lost_nothing(database: Database, tmp_path: Path) -> None:
    author, writer = IN_SHADOW[0], SpoolWriter(tmp_path, 1 << 20)
    writer.write(decided(3))
    (segment,) = segments(tmp_path)
    found, end = read(author, segment, BEGIN)
    assert add_scores(database, author, segment, BEGIN, end, found, 0)
    writer.close()
    ship_all(Shipper(tmp_path, database, "here"))
    assert add_lost(database, author, segment) == 0
    assert progress(database, numbers(database, author))[:2] == (3, 0)


def test_who_fails_twice_at_one_place_is_given_up_on_that_host_only(database: Database) -> None:
    author, other = IN_SHADOW
    places = [place_of("here", SEGMENT, offset) for offset in (BEGIN, BEGIN + 7)]
    for number, place in enumerate(places):
        add_fault(database, author, "crashed", place, number)
        add_fault(database, author, "crashed", place, number)  # told again by whoever died after telling
    whose = numbers(database, author)
    assert progress(database, whose).faults == {"crashed": GIVEN_UP}
    assert not is_given_up(database, whose, "here"), "at two places: it went on from the first"
    add_fault(database, author, "hung", places[0], 9)
    assert is_given_up(database, whose, "here")
    assert progress(database, whose).given_up
    assert not is_given_up(database, whose, "elsewhere")
    assert not is_given_up(database, whose, "her")
    assert not is_given_up(database, numbers(database, other), "here")


def test_who_fails_at_one_place_after_another_is_given_up_too(database: Database) -> None:
    author = IN_SHADOW[0]
    for number in range(FAULTS):
        whose = numbers(database, author)
        assert not is_given_up(database, whose, "here") and not progress(database, whose).given_up
        add_fault(database, author, "crashed", place_of("here", SEGMENT, BEGIN + number), number)
    assert is_given_up(database, whose, "here") and progress(database, whose).given_up
    assert not is_given_up(database, whose, "elsewhere")
