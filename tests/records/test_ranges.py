"""Ranges are sets of places."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from scoreline.records.ranges import Ranges, has, joined, without

ranges = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 6)), max_size=8)


def places(found: Ranges) -> set[int]:
    return {place for first, count in found for place in range(first, first + count)}


@given(ranges, ranges)
def test_they_are_joined_taken_away_and_asked_as_sets_are(some: Ranges, others: Ranges) -> None:
    one, other = joined(some), joined(others)
    assert places(one) == places(some)
    assert all(sum(before) < after[0] for before, after in pairwise(one)), "apart and in order"
    assert places(without(one, other)) == places(some) - places(others)
    assert {place for place in range(-1, 40) if has(one, place)} == places(some)
