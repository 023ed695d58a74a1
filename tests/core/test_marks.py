"""Marks outlive the process that set them, and say what it was scoring."""

import os
import signal
from contextlib import suppress
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from scoreline.core.decision import Author, same_author
from scoreline.core.marks import MOST_ENTITIES, NONE, Mark, Marks, Patience, Standing

texts = st.text(max_size=8)
names = st.lists(texts, max_size=3).map(tuple)


def author_of(**more: Any) -> Author:
    facts: dict[str, Any] = {"model": "m", "version": "1", "digest": "d" * 64, "engine": "e", "fields": ("a",)}
    return same_author(Author(**{**facts, "output": "p", "classes": (), "outcomes": (), **more}))


authors = st.builds(
    lambda **given: same_author(Author(**given)),
    model=texts,
    version=texts,
    digest=texts,
    engine=texts,
    fields=names,
    output=texts,
    classes=names,
    outcomes=names,
    role=texts,
    epoch=st.integers(0, 2**63),
)
hashes = st.lists(st.binary(min_size=16, max_size=16), max_size=5, unique=True)


@given(st.lists(authors, min_size=1, max_size=4, unique=True), st.data())
def test_what_is_marked_is_what_is_left(many: list[Author], data: st.DataObject) -> None:
    marks = Marks()
    assert not marks.any_named
    assert marks.name(many)
    assert marks.any_named
    for _ in range(3):
        author = data.draw(st.sampled_from(many))
        base, time_ns = data.draw(st.integers(0, 2**128 - 1)), data.draw(st.integers(0, 2**63 - 1))
        entities, may_end = data.draw(hashes), data.draw(st.booleans())
        n_rows = data.draw(st.integers(1, 2**32 - 1))
        marks.set(author, base, time_ns, entities, n_rows, may_end=may_end)
        assert marks.left() == Mark(author, base, time_ns, tuple(entities))
        assert marks.may_end == (Standing(marks.may_end.number, n_rows) if may_end else NONE)
        assert bool(marks.may_end.number) == may_end
        marks.clear()
        assert marks.left() is None
        assert marks.may_end == NONE


def test_a_mark_outlives_the_death_of_its_process_and_no_number_comes_again() -> None:
    marks, author = Marks(), author_of()
    numbers = []
    for base in (7, 8, 9):
        child = os.fork()
        if child == 0:
            marks.name([author])
            for _ in range(3):
                marks.set(author, base, 1, [], 1, may_end=True)
            os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(child, 0)
        left = marks.left()
        assert left and left.base == base
        numbers.append(marks.may_end.number)
    assert numbers == sorted(set(numbers))


def test_who_is_not_named_is_not_marked() -> None:
    marks, old, new = Marks(), author_of(), author_of(epoch=1)
    marks.name([old])
    marks.name([new])
    marks.set(old, 1, 1, [], 1, may_end=True)
    assert marks.left() is None
    marks.name([])
    assert not marks.any_named


def test_of_very_many_entities_the_first_are_kept() -> None:
    marks, author = Marks(), author_of()
    marks.name([author])
    many = [number.to_bytes(16, "big") for number in range(MOST_ENTITIES + 5)]
    marks.set(author, 1, 1, many, 1, may_end=False)
    left = marks.left()
    assert left and left.entities == tuple(many[:MOST_ENTITIES])
    assert left.author == author


def test_authors_beyond_the_memory_are_told_and_not_marked() -> None:
    marks, small = Marks(), author_of()
    large, another = (author_of(fields=tuple(f"{n:0200d}" for n in range(50_000)), epoch=epoch) for epoch in (1, 2))
    assert not marks.name([small, large, another])
    for author, is_marked in ((another, False), (large, True), (small, True)):
        marks.set(author, 1, 1, [], 1, may_end=True)
        left = marks.left()
        assert (left is not None and left.author == author) == is_marked


@given(st.binary(min_size=1, max_size=100), st.integers(0, 100))
def test_what_a_dying_process_wrote_over_is_told_and_nothing_else_raised(raw: bytes, at: int) -> None:
    marks, author = Marks(), author_of()
    marks.name([author])
    marks.set(author, 1, 1, [], 1, may_end=True)
    marks._memory[at : at + len(raw)] = raw
    with suppress(ValueError):
        marks.left()
    marks.clear()
    assert marks.left() is None


@given(st.integers(1, 10**12), st.integers(0, 10**9), st.integers(1, 10**6), st.integers(0, 10**6))
def test_patience_is_longer_for_more_rows_by_the_same_for_each(hang: int, row: int, n_rows: int, more: int) -> None:
    patience = Patience(hang, row)
    assert patience.limit_ns(1) == hang
    assert patience.limit_ns(n_rows + more) - patience.limit_ns(n_rows) == more * row
