"""What is framed is read back bit for bit; what is torn or changed is never taken for a decision."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from scoreline.core.decision import Author, Decisions
from scoreline.records.frames import frame_author, frame_decisions, read_frames
from somedecisions import any_decisions, author_of, decisions_of, exactly


def written(*many: Decisions) -> tuple[bytes, list[int]]:
    """A segment's frames without its magic word, and where each frame ends."""
    raw, ends, authors = b"", [], list[Author]()
    for decisions in many:
        if decisions.author not in authors:
            authors.append(decisions.author)
            raw += frame_author(len(authors) - 1, decisions.author)
            ends.append(len(raw))
        raw += frame_decisions(authors.index(decisions.author), decisions)
        ends.append(len(raw))
    return raw, ends


def read(raw: bytes) -> tuple[list[tuple[object, ...]], int]:
    found, end = [], 0
    for decisions, end in read_frames(raw, {}):  # noqa: B007
        if decisions is not None:
            found.append(exactly(decisions))
    return found, end


@given(st.lists(any_decisions(), min_size=1, max_size=3))
def test_decisions_come_back_bit_for_bit_and_in_order(many: list[Decisions]) -> None:
    raw, _ = written(*many)
    assert read(raw) == ([exactly(decisions) for decisions in many], len(raw))


def test_a_frame_from_before_rows_were_degraded_one_by_one_is_of_every_row() -> None:
    """It has a list, as this writes where it is given one."""
    old: Any = (1,)
    raw, _ = written(decisions_of(author_of(), 1, n_rows=2, degraded=old), decisions_of(author_of(), 2, degraded=()))
    some, none = (found for found, _ in read_frames(raw, {}) if isinstance(found, Decisions))
    assert [decision.degraded for decision in some] == [some.author.fields[1:2]] * 2
    assert none.degraded == {}


@settings(max_examples=25)
@given(st.lists(any_decisions(), min_size=2, max_size=3))
def test_a_tail_torn_anywhere_costs_that_frame_only(many: list[Decisions]) -> None:
    raw, ends = written(*many)
    whole = [exactly(decisions) for decisions in many]
    for size in range(len(raw)):
        found, end = read(raw[:size])
        assert end == max((stop for stop in ends if stop <= size), default=0)
        assert found == whole[: len(found)]
    assert len(found) == len(many) - 1


@settings(max_examples=10)
@given(st.integers(0, 7))
def test_one_flipped_bit_anywhere_stops_the_reader_at_its_frame(bit: int) -> None:
    author = author_of(outcomes=("approve", "decline"))
    many = [decisions_of(author, base, n_rows=base) for base in (1, 2, 3)]
    raw, ends = written(*many)
    for place in range(len(raw)):
        damaged = bytearray(raw)
        damaged[place] ^= 1 << bit
        _, end = read(bytes(damaged))
        assert end == max((stop for stop in ends if stop <= place), default=0), place


@given(st.integers(0, 100))
def test_zeros_after_the_last_frame_are_no_decision(n_zeros: int) -> None:
    raw, _ = written(decisions_of(author_of(), 1))
    found, end = read(raw + b"\0" * n_zeros)
    assert (len(found), end) == (1, len(raw))


@given(st.binary(max_size=200))
def test_bytes_that_are_no_frames_are_passed_over(raw: bytes) -> None:
    assert read(raw) == ([], 0)
