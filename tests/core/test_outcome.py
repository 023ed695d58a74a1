"""Outcomes as callers report them: read whole, or refused with every problem, by row and field, and no value."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreline.core import ids
from scoreline.core.errors import RowsRefused
from scoreline.core.outcome import Outcome, read_outcomes, time_ns_of

ID = "0193a1b2-c3d4-7e5f-8a6b-7c8d9e0f1a2b"
EVENT = {"model": "fraud", "entity": "c-1", "event_time": "2026-11-24T10:00:00+01:00", "value": 1}


def test_by_prediction_or_by_entity_and_event_time() -> None:
    by_id = {"prediction_id": ID, "value": True, "observed_at": "2026-11-24T10:00:00.5Z"}
    first, second, third = read_outcomes([by_id, EVENT, {"prediction_id": ID, "value": "gold", "observed_at": None}])
    assert ids.text(int.from_bytes(first.prediction, "big")) == ID
    assert (first.value, first.observed_ns) == (1.0, 1_795_514_400_500_000_000)
    assert second == Outcome(1.0, model="fraud", entity="c-1", event_ns=1_795_510_800_000_000_000)
    assert (third.value, third.observed_ns) == ("gold", None)


@pytest.mark.parametrize(
    ("given", "problems"),
    (
        ([], {("", "must be an object")}),
        ({"value": 1}, {("entity", "is required"), ("event_time", "is required"), ("model", "is required")}),
        ({"prediction_id": ID}, {("value", "is required")}),
        ({"prediction_id": ID, "value": 1, "entity": "c-1"}, {("entity", "is not known here")}),
        (
            {"prediction_id": "secret", "value": []},
            {("prediction_id", "must be the id"), ("value", "must be")},
        ),
        (EVENT | {"entity": None, "event_time": 5}, {("entity", "must be a text"), ("event_time", "must be a time")}),
        (EVENT | {"event_time": "2026-11-24T10:00:00"}, {("event_time", "must be a time with its zone")}),
        (EVENT | {"event_time": "1969-12-31T00:00:00Z"}, {("event_time", "must be a time with its zone")}),
        (EVENT | {"value": 1e300, "model": "a b"}, {("value", "must be"), ("model", "must be the name")}),
        (EVENT | {"value": float("nan")}, {("value", "must be")}),
        (
            EVENT | {"value": "", "observed_at": "yesterday"},
            {("value", "must be"), ("observed_at", "must be a time")},
        ),
    ),
)
def test_every_problem_is_named_by_row_and_field_without_the_value(
    given: object, problems: set[tuple[str, str]]
) -> None:
    with pytest.raises(RowsRefused) as caught:
        read_outcomes([EVENT, given])
    found = caught.value.problems
    assert {problem.row for problem in found} == {1}
    assert len(found) == len(problems)
    for field, start in problems:
        assert any(one.field == field and one.problem.startswith(start) for one in found), (field, found)
    assert "secret" not in repr(found)


@given(
    st.datetimes(datetime(1970, 1, 2), datetime(2262, 1, 1)),
    st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)
def test_a_time_is_the_same_in_any_zone_to_the_microsecond(time: datetime, zone: timezone) -> None:
    there = time.replace(tzinfo=UTC).astimezone(zone)
    expected = (time - datetime(1970, 1, 1)) // timedelta(microseconds=1) * 1000
    assert time_ns_of(there.isoformat()) == time_ns_of(there) == expected
