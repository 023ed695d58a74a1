"""Prediction ids: UUID version 7, ordered in time and by row, never twice."""

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreline.core import ids
from scoreline.core.errors import NotFound

moments_ns = st.integers(0, (1 << 48) * 1_000_000 - 1)


@given(moments_ns, st.integers(0, ids.MAX_ROWS - 1))
def test_every_id_is_a_uuid_of_version_7(time_ns: int, row: int) -> None:
    found = uuid.UUID(ids.text(ids.IdSource().new_base(time_ns) | row))
    assert found.version == 7
    assert found.variant == uuid.RFC_4122
    assert found.int >> 80 == time_ns // 1_000_000
    assert found.int & (ids.MAX_ROWS - 1) == row


@given(moments_ns, moments_ns)
def test_ids_sort_by_the_millisecond_they_were_drawn_in(first_ns: int, second_ns: int) -> None:
    source = ids.IdSource()
    first, second = ids.text(source.new_base(first_ns)), ids.text(source.new_base(second_ns))
    if first_ns // 1_000_000 < second_ns // 1_000_000:
        assert first < second


def test_no_id_is_drawn_twice_within_a_millisecond() -> None:
    source = ids.IdSource()
    drawn = {source.new_base(1_700_000_000_000_000_000) for _ in range(200_000)}
    assert len(drawn) == 200_000
    assert all(base & (ids.MAX_ROWS - 1) == 0 for base in drawn)


def test_all_random_bits_are_used() -> None:
    """Over 2,000 draws each of the 54 bits is set about half the time: one stuck would halve the room."""
    source = ids.IdSource()
    drawn = [source.new_base(0) for _ in range(2000)]
    random_bits = [*range(20, 62), *range(64, 76)]
    assert len(random_bits) == 54
    for bit in random_bits:
        assert 800 < sum(base >> bit & 1 for base in drawn) < 1200


def test_two_sources_do_not_repeat_one_another() -> None:
    one, other = ids.IdSource(), ids.IdSource()
    assert {one.new_base(0) for _ in range(1000)}.isdisjoint({other.new_base(0) for _ in range(1000)})


@pytest.mark.parametrize("n_rows", [0, 1, 2, 1000])
def test_ids_of_a_request_are_consecutive_and_in_row_order(n_rows: int) -> None:
    base = ids.IdSource().new_base(1_700_000_000_000_000_000)
    shared, endings = ids.texts(base, n_rows)
    found = [shared + ending for ending in endings]
    assert found == [ids.text(base | row) for row in range(n_rows)]
    assert found == sorted(found)


@given(st.integers(0, 2**128 - 1))
def test_a_text_names_its_id(base: int) -> None:
    assert ids.parse(ids.text(base)) == ids.parse(ids.text(base).upper()) == base


@pytest.mark.parametrize("given", ("", "1", "x" * 36, ids.text(0)[:-1], f"{ids.text(0)}0", f" {ids.text(0)}", "0" * 32))
def test_what_is_no_id_is_not_found_and_not_repeated(given: str) -> None:
    with pytest.raises(NotFound) as found:
        ids.parse(given)
    assert not given or len(given) == 1 or given not in str(found.value)


@given(
    st.integers(0, 2**47).map(lambda ms: ms * 1_000_000), st.text(max_size=9), st.integers(0, 99), st.integers(0, 2**63)
)
def test_a_message_of_a_stream_has_the_same_id_whenever_it_is_read(
    time_ns: int, topic: str, partition: int, offset: int
) -> None:
    found = uuid.UUID(int=ids.derived_base(time_ns, topic, partition, offset))
    assert found.int == ids.derived_base(time_ns, topic, partition, offset)
    assert (found.version, found.variant) == (8, uuid.RFC_4122)
    assert found.int >> 80 == time_ns // 1_000_000
    assert found.int & (ids.MAX_ROWS - 1) == 0


def test_messages_of_other_places_have_other_ids() -> None:
    places = [(topic, part, at) for topic in ("a", "b", "a:1") for part in range(20) for at in range(500)]
    assert len({ids.derived_base(0, *place) for place in places}) == len(places)
