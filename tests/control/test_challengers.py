"""Segments wait for challengers within bounds; what goes without them is said. Status shows how far each is."""

from pathlib import Path

import pytest

from scoreline.control.challengers import PART, is_needed, status_of_shadow
from scoreline.operations.state import Assignment, Challenged, State, write_state
from scoreline.records.segments import BEGIN, Segment, segment_name
from scoreline.records.shadowplaces import Key, Place, read_lost, write_places

KEY = Key("fraud", "b" * 64, 2)
WITH = State({"fraud": Assignment("1", "a" * 64, challengers=(Challenged("2", KEY.digest, KEY.since),))})


@pytest.fixture
def segment(tmp_path: Path) -> Segment:
    found = Segment("0" * 24, 0, tmp_path / "spool" / segment_name("0" * 24, 0))
    found.path.parent.mkdir()
    found.path.write_bytes(bytes(100))
    return found


def test_a_segment_waits_for_a_challenger_only_while_the_spool_is_small(tmp_path: Path, segment: Segment) -> None:
    spool = segment.path.parent
    write_state(tmp_path, State({"fraud": Assignment("1", "a" * 64)}))
    assert not is_needed(tmp_path, spool, 0, segment, 100), "without a challenger nothing waits"
    write_state(tmp_path, WITH)
    assert is_needed(tmp_path, spool, 0, segment, 100), "without a bound 100 bytes are few"
    assert is_needed(tmp_path, spool, 101 * PART, segment, 100)
    assert read_lost(tmp_path, spool) == []
    assert not is_needed(tmp_path, spool, 100 * PART, segment, 100)
    assert read_lost(tmp_path, spool) == [(segment, [KEY])], "whoever is without is told"
    write_places(tmp_path, [Place(*KEY, {segment.path.name: 100})])
    assert not is_needed(tmp_path, spool, 0, segment, 100)
    assert len(read_lost(tmp_path, spool)) == 1


def test_status_shows_each_challenger_and_one_that_has_not_begun(tmp_path: Path, segment: Segment) -> None:
    spool = segment.path.parent
    (told,) = status_of_shadow(WITH, tmp_path, spool)
    who = {"model": "fraud", "version": "2", "digest": KEY.digest}
    none = {"scored": 0, "missed": 0, "faults": {}, "given_up": False}
    assert told == who | none | {"lag_bytes": 100 - BEGIN}
    write_places(tmp_path, [Place(*KEY, {segment.path.name: 60}, 5, 1, {"raised": 1}), Place("gone", "c" * 64, 1)])
    (told,) = status_of_shadow(WITH, tmp_path, spool)
    assert told == who | {"scored": 5, "missed": 1, "faults": {"raised": 1}, "given_up": False, "lag_bytes": 40}
    assert status_of_shadow(State({}), tmp_path, spool) == []
