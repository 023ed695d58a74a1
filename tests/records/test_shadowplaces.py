"""What the shadow and whoever deletes segments tell each other: never more than is true."""

from pathlib import Path

import pytest

from scoreline.records.segments import BEGIN, Segment, segment_name
from scoreline.records.shadowplaces import (
    LOST,
    PLACES,
    Key,
    Place,
    add_lost,
    behind,
    read_lost,
    read_places,
    write_places,
)

ONE, OTHER = Key("fraud", "a" * 64, 2), Key("fraud", "b" * 64, 3)
WRITER = "0" * 24


def segment_in(folder: Path, number: int = 0) -> Segment:
    return Segment(WRITER, number, folder / segment_name(WRITER, number))


def test_a_segment_waits_for_every_challenger_that_is_wanted(tmp_path: Path) -> None:
    segment = segment_in(tmp_path)
    name = segment.path.name
    assert behind(tmp_path, [], segment, 100) == []
    assert behind(tmp_path, [ONE], segment, 100) == [ONE], "its shadow has not begun"
    write_places(tmp_path, [Place(*ONE, {name: 100})])
    assert behind(tmp_path, [ONE], segment, 100) == []
    assert behind(tmp_path, [ONE], segment, 101) == [ONE]
    assert behind(tmp_path, [ONE], segment_in(tmp_path, 1), BEGIN + 1) == [ONE], "another segment"
    assert behind(tmp_path, [ONE, OTHER], segment, 100) == [OTHER], "what is said of one is not said of another"
    again = ONE._replace(since=9)
    assert behind(tmp_path, [again], segment, 100) == [again], "nor of the same version in another shadow"
    write_places(tmp_path, [Place(*ONE, {name: 100}), Place(*OTHER, {}, given_up=True)])
    assert behind(tmp_path, [ONE, OTHER], segment, 100) == [], "who is given up reads no more"


def test_places_read_are_those_written_and_anything_else_is_none(tmp_path: Path) -> None:
    assert read_places(tmp_path) == {}
    place = Place(*ONE, {"x.seg": 70}, 5, 2, {"crashed": 1}, False)
    write_places(tmp_path, [place])
    assert read_places(tmp_path) == {ONE: place}
    for broken in ("", "[", '[{"model": "fraud"}]', "{}", '{"challengers": 0, "places": {}}'):
        (tmp_path / "shadow" / PLACES).write_text(broken)
        assert read_places(tmp_path) == {}


def test_lag_is_what_is_there_and_not_read(tmp_path: Path) -> None:
    first, second = segment_in(tmp_path), segment_in(tmp_path, 1)
    first.path.write_bytes(bytes(100))
    second.path.write_bytes(bytes(50))
    place = Place(*ONE, {first.path.name: 60})
    assert place.lag_bytes([first, second, segment_in(tmp_path, 2)]) == 40 + 50 - BEGIN
    assert Place(*ONE, given_up=True).lag_bytes([first, second]) == 0


@pytest.mark.parametrize("torn", [b'{"segment": ["00', b""])
def test_lost_segments_are_said_whole_beside_a_torn_line(tmp_path: Path, torn: bytes) -> None:
    assert read_lost(tmp_path, tmp_path) == []
    first, second = segment_in(tmp_path), segment_in(tmp_path, 1)
    add_lost(tmp_path, first, [ONE])
    with (tmp_path / "shadow" / LOST).open("ab") as file:
        file.write(torn)
    add_lost(tmp_path, second, [ONE, OTHER])
    assert read_lost(tmp_path, tmp_path) == [(first, [ONE]), (second, [ONE, OTHER])]
