"""Rows that are asked about again are no news: who repeats one row, or one entity, raises no alarm."""

import numpy as np
from somereference import DEFAULT, some_fold, some_rows

from scoreline.drift.fold import Fold
from scoreline.drift.folding import counted
from scoreline.drift.repeats import LEAST_NS, MOST, Repeats
from scoreline.drift.rules import Rules
from scoreline.drift.state import State
from scoreline.records.rows import Cells

FOLD = some_fold()
LOG_ALARM_AT = Rules(DEFAULT).log_alarm_at
TICK_NS = 10_000_000_000


def row(number: int, entity: bytes = b"") -> Cells:
    return (b"", 0, entity, "", "", "", number.to_bytes(8, "little"), b"", b"", 0, b"", b"", 0)


def distinct() -> Repeats:
    return Repeats(has_distinct_rows=True)


def test_an_entity_and_a_row_that_names_none_count_once_and_keep_their_first_place() -> None:
    a, b, other = row(1, b"ada"), row(2, b"ada"), row(3)
    assert distinct().without([a, b, other, other, row(4)], 1, 0) == [a, other, row(4)]
    repeats = distinct()
    assert repeats.without([a], 1, 0) == [a]
    assert repeats.without([b, other], 2, TICK_NS) == [other]
    assert repeats.without([], 3, TICK_NS) == []


def test_of_a_model_with_few_distinct_rows_all_count_that_name_no_entity() -> None:
    rows = [row(1), row(1), row(1, b"ada"), row(2, b"ada")]
    assert Repeats(has_distinct_rows=False).without(rows, 1, 0) == rows[:3]


def test_what_could_not_be_shipped_counts_when_it_comes_again() -> None:
    repeats, rows = distinct(), [row(1), row(2)]
    assert repeats.without(rows[:1], "piece", 0) == rows[:1]
    assert repeats.without(rows, "piece", 0) == rows
    assert repeats.without(rows, "next", 0) == []


def test_who_asks_all_the_time_counts_about_twice_an_hour() -> None:
    """A fleet that reports each minute is seen to change, too."""
    repeats, hour_ns = distinct(), 2 * LEAST_NS
    counted_rows = [len(repeats.without([row(1)], minute, minute * hour_ns // 60)) for minute in range(10 * 60)]
    assert counted_rows[0] == 1
    assert 8 <= sum(counted_rows) <= 20


def test_no_more_are_remembered_than_fit() -> None:
    repeats = distinct()
    for at in range(20):
        repeats.without([row(number) for number in range(at * 10_000, (at + 1) * 10_000)], at, 0)
    assert len(repeats.without([row(number) for number in range(200_000)], "all again", 0)) >= 200_000 - MOST


def alarms(fold: Fold, repeats: Repeats, times: int, n_ticks: int = 1500, n_rows: int = 20) -> int:
    """Alarms of a healthy world in which every row is sent so many times in a row."""
    rng, state, found = np.random.default_rng(5), State.new(fold.reference), 0
    for tick in range(n_ticks):
        values, scores = some_rows(rng, n_rows // times)
        rows: list[Cells] = [
            (b"", 0, b"", "", "", "", v.tobytes(), b"", s.tobytes(), 0, b"", b"", 0)
            for v, s in zip(values, scores, strict=True)
            for _ in range(times)
        ]
        counts = counted(fold, repeats.without(rows, tick, tick * TICK_NS))
        if counts is not None:
            state = state.tick(fold.reference, counts)
        if state.log_evidence(fold.reference) >= LOG_ALARM_AT:
            state, found = state.begun_anew(fold.reference), found + 1
    return found


def test_a_world_in_which_every_row_is_sent_ten_times_raises_no_alarm() -> None:
    assert alarms(FOLD, distinct(), 10) == 0
    assert alarms(FOLD, Repeats(has_distinct_rows=False), 10) > 0, "the check can fail"
