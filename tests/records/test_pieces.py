"""A piece of a segment read as rows is what it says as decisions."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoreline.core.decision import Decisions
from scoreline.records.frames import Missed, frame_missed
from scoreline.records.pieces import is_damaged, read_rows
from scoreline.records.rows import rows_of
from scoreline.records.segments import BEGIN, read_items, segments
from scoreline.records.writer import SpoolWriter
from somedecisions import any_decisions, author_of, decisions_of


@settings(max_examples=60)
@given(st.lists(any_decisions(), min_size=1, max_size=6))
def test_its_rows_are_those_of_its_decisions(many: list[Decisions]) -> None:
    with TemporaryDirectory() as folder:
        writer = SpoolWriter(Path(folder), 1 << 30)
        for decisions in many:
            writer.write(decisions)
        writer.unsent(many[0])
        writer.close()
        (segment,) = segments(Path(folder))
        piece, (items, end) = read_rows(segment.path, BEGIN, {}), read_items(segment.path, BEGIN, {})
        found = [item for item in items if isinstance(item, Decisions)]
        assert piece.end == end
        assert piece.rows == [tuple(row) for decisions in found for row in rows_of(decisions)]
        assert [piece.authors[by] for by in piece.by] == [each.author for each in found for _ in range(len(each))]
        assert piece.unsent == [many[0].base.to_bytes(16, "big")]
        times = {(each.base.to_bytes(16, "big")[:6], each.context.time_ns // 1_000_000) for each in found}
        assert piece.times <= times
        assert {id_[:4] for id_, _ in piece.times} == {id_[:4] for id_, _ in times}


def test_it_goes_on_where_it_ended_though_nobody_remembers_the_authors(tmp_path: Path) -> None:
    writer, one, other = SpoolWriter(tmp_path, 1 << 20), author_of(), author_of("churn", 3)
    writer.write(decisions_of(one, 1))
    (segment,) = segments(tmp_path)
    first = read_rows(segment.path, BEGIN, {})
    writer.write(decisions_of(other, 2, 2))
    writer.write(decisions_of(one, 3))
    piece = read_rows(segment.path, first.end, {})
    assert [piece.authors[by] for by in piece.by] == [other, other, one]
    assert read_rows(segment.path, piece.end, {}).rows == []


def test_what_was_answered_without_a_record_is_counted(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path, 1 << 20)
    writer.write(decisions_of(author_of(), 1))
    (segment,) = segments(tmp_path)
    with segment.path.open("ab") as file:
        file.write(frame_missed(Missed(3, 5, 6)) + frame_missed(Missed(4, 7, 8)))
    assert read_rows(segment.path, BEGIN, {}).missed == 7


@pytest.mark.parametrize(
    ("tail", "damaged"),
    ((b"", False), (b"\1\2\3", False), (bytes(4096), False), (b"\xff" * 64, False), (b"\4\0\0\0" + b"x" * 64, True)),
)
def test_a_tail_is_damage_unless_a_death_left_it(tmp_path: Path, tail: bytes, damaged: bool) -> None:
    writer = SpoolWriter(tmp_path, 1 << 20)
    writer.write(decisions_of(author_of(), 1))
    (segment,) = segments(tmp_path)
    end = segment.path.stat().st_size
    with segment.path.open("ab") as file:
        file.write(tail)
    assert is_damaged(segment.path, end) == damaged
