"""Counts outlive who counts, add up over processes, and take bounded memory."""

import multiprocessing
import os
import signal
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from scoreline.core.counts import MOST, Counts

NAMES = st.tuples(
    st.sampled_from(("refusals", "repeated")), st.text("abcß-. ", max_size=20), st.text("xyz", max_size=5)
)


@given(st.lists(NAMES))
def test_each_name_is_counted_as_often_as_it_came(names: list[tuple[str, ...]]) -> None:
    counts = Counts()
    for name in names:
        counts.add(*name)
    assert counts.read() == Counter(names)


def test_a_successor_goes_on_and_others_read_meanwhile() -> None:
    counts, fork = Counts(), multiprocessing.get_context("fork")

    def count(seed: int) -> None:
        for number in range(1000):
            counts.add("refusals", "fraud", str((number + seed) % 7))
        os.kill(os.getpid(), signal.SIGKILL)

    for seed in range(3):
        process = fork.Process(target=count, args=(seed,))
        process.start()
        process.join()
        assert counts.read().total() == 1000 * (seed + 1)
    assert counts.read() == Counter(
        ("refusals", "fraud", str((n + seed) % 7)) for seed in range(3) for n in range(1000)
    )


def test_one_that_dies_between_a_name_and_its_count_leaves_both_whole() -> None:
    counts = Counts()
    counts.add("refusals", "fraud", "a")
    counts._begin(("refusals", "fraud", "b"), counts._places or {})  # and dies
    successor = Counts()
    successor._memory, successor._words = counts._memory, counts._words
    successor.add("refusals", "fraud", "b")
    successor.add("refusals", "fraud", "c")
    assert counts.read() == {("refusals", "fraud", name): 1 for name in "abc"}


def test_names_are_bounded_in_number_and_length() -> None:
    counts = Counts()
    for number in range(2 * MOST):
        counts.add("refusals", str(number))
    counts.add("refusals", "x" * 300)
    counts.add("refusals", "0")
    found = counts.read()
    assert (len(found), found["refusals", "0"]) == (MOST, 2)
