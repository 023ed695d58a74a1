"""Decisions are found in a spool by their id, whichever segment and request they stand in."""

from pathlib import Path

from scoreline.core.ids import ROW_BITS
from scoreline.records.lookup import SpoolRecord, one_row
from scoreline.records.writer import SpoolWriter
from somedecisions import author_of, decisions_of, exactly


def test_every_decision_of_every_segment_is_found(tmp_path: Path) -> None:
    writers = [SpoolWriter(tmp_path, 600) for _ in range(2)]
    made = [decisions_of(author_of(f"m{number % 3}"), number + 1, number % 4 + 1) for number in range(40)]
    for number, found in enumerate(made):
        writers[number % 2].write(found)
    record = SpoolRecord(tmp_path)
    assert len(list(tmp_path.iterdir())) > 10
    for found in made:
        for row, decision in enumerate(found):
            again = record.get(found.base | row)
            assert again is not None and len(again) == 1
            assert exactly(again) == exactly(one_row(found, row))
            assert again[0].id == decision.id


def test_what_is_not_there_is_not_found(tmp_path: Path) -> None:
    record = SpoolRecord(tmp_path)
    assert record.get(1 << ROW_BITS) is None
    SpoolWriter(tmp_path, 1 << 20).write(decisions_of(author_of(), 1, 3))
    assert record.get((1 << ROW_BITS) + 2) is not None
    assert record.get((1 << ROW_BITS) + 3) is None
    assert record.get(2 << ROW_BITS) is None
    assert record.get(0) is None


def test_decisions_are_gone_through_by_model(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path, 1 << 20)
    for number in range(6):
        writer.write(decisions_of(author_of(f"m{number % 2}"), number + 1))
    record = SpoolRecord(tmp_path)
    assert len(list(record.iterate())) == 6
    assert [found.author.model for found in record.iterate("m1")] == ["m1"] * 3
    assert list(record.iterate("m2")) == []
