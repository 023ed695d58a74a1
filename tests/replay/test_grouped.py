"""Groups keep every decision once, in the order of their author, and never too many in memory."""

from hypothesis import given
from hypothesis import strategies as st

from scoreline.replay import grouped
from scoreline.replay.grouped import by_author, outcome_of
from somedecisions import author_of, decisions_of


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 5)), max_size=60), st.integers(1, 20), st.integers(1, 40))
def test_every_decision_is_in_one_group_in_its_order(found: list[tuple[int, int]], group: int, waiting: int) -> None:
    authors = [author_of(f"model {number}") for number in range(4)]
    made = [decisions_of(authors[number], at + 1, n_rows) for at, (number, n_rows) in enumerate(found)]
    before = grouped.GROUP_ROWS, grouped.WAITING_ROWS
    grouped.GROUP_ROWS, grouped.WAITING_ROWS = group, waiting  # type: ignore[misc]
    try:
        groups = list(by_author(made))
    finally:
        grouped.GROUP_ROWS, grouped.WAITING_ROWS = before  # type: ignore[misc]
    for author in authors:
        together = [one for whose, ones in groups if whose == author for one in ones]
        assert together == [one for one in made if one.author == author]
    assert all(ones and {one.author for one in ones} == {author} for author, ones in groups)
    assert all(sum(map(len, ones[:-1])) < group for _, ones in groups)


def test_nothing_gives_no_group() -> None:
    assert list(by_author([])) == []


def test_an_outcome_the_author_does_not_have_is_none() -> None:
    made = decisions_of(author_of(outcomes=("approve", "decline")), 1, 3, outcomes=[0, 1, 7])
    assert [outcome_of(made, row) for row in range(4)] == ["approve", "decline", None, None]
