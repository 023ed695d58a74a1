"""A decision as a row of a table is the decision; its leaf changes with every part of it."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreline.core.batch import Context
from scoreline.core.decision import Decision, Decisions
from scoreline.records.rows import author_json, author_key, leaf, plain, rows_of
from scoreline.records.rows import author_of as author_of_json
from scoreline.records.rows import decisions_of as decisions_of_row
from somedecisions import any_decisions, author_of, decisions_of

SALT = b"s" * 16


def exactly(decision: Decision) -> str:
    return repr(decision)  # NaN is not equal to itself


def plainly(decision: Decision) -> Decision:
    """Texts as every database keeps them."""
    context = decision.context
    texts = (text.replace("\0", "\ufffd") for text in (context.request_id, context.caller, context.trace))
    return replace(decision, context=Context(context.time_ns, *texts))


@given(any_decisions())
def test_every_row_comes_back_as_the_decision_it_was(decisions: Decisions) -> None:
    rows = list(rows_of(decisions))
    assert len(rows) == len(decisions)
    for row, decision in zip(rows, decisions, strict=True):
        (found,) = decisions_of_row(row, decisions.author)
        assert exactly(found) == exactly(plainly(decision))
        assert list(rows_of(decisions_of_row(row, decisions.author))) == [row]


@pytest.mark.parametrize(
    ("text", "kept"),
    (("", ""), ("ß\u20ac", "ß\u20ac"), ("a\0b", "a\ufffdb"), ("a\ud800b", "a?b"), ("ß\0\udfff", "ß\ufffd?")),
)
def test_texts_are_kept_without_what_databases_refuse(text: str, kept: str) -> None:
    assert plain(text) == kept
    assert plain(kept) == kept


@given(any_decisions())
def test_an_author_comes_back_from_its_json_under_the_same_key(decisions: Decisions) -> None:
    found = author_of_json(author_json(decisions.author))
    assert found == decisions.author
    assert author_key(found) == author_key(decisions.author)


@given(st.integers(0, 12))
def test_a_leaf_changes_with_any_part_of_the_row_its_author_and_its_salt(place: int) -> None:
    (row,) = rows_of(decisions_of(author_of(), 1))
    author = author_key(author_of())
    changed = (
        row[place] + 1
        if isinstance(row[place], int)
        else row[place] + type(row[place])([65])
        if isinstance(row[place], bytes)
        else row[place] + "A"
    )
    other = row._replace(**{row._fields[place]: changed})
    assert len({leaf(SALT, author, row), leaf(SALT, author, other), leaf(b"t" * 16, author, row)}) == 3
    assert leaf(SALT, author_key(author_of("churn")), row) != leaf(SALT, author, row)
