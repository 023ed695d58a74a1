"""Tallies say what was decided, and add up."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreline.core.decision import Decisions
from scoreline.records.tally import Tallies, Tally
from somedecisions import author_of, decisions_of

FRAUD = author_of("fraud", outcomes=("approve", "decline"))
CHURN = author_of("churn", classes=("a", "b"))


@st.composite
def some(draw: st.DrawFn) -> Decisions:
    n_rows = draw(st.integers(1, 5))
    author = draw(
        st.sampled_from((FRAUD, CHURN, author_of("fraud", version="2"), author_of("fraud", role="challenger")))
    )
    defaulted, degraded = ({row: (0,) for row in range(n_rows) if draw(st.booleans())} for _ in range(2))
    outcomes = [draw(st.integers(0, 1)) for _ in range(n_rows)] if author.outcomes else ()
    score = draw(st.floats(0, 1))
    return decisions_of(author, 1, n_rows, score, defaulted=defaulted, degraded=degraded, outcomes=outcomes)


@given(st.lists(some(), max_size=12))
def test_a_tally_counts_what_was_decided_by_model_version_and_role(many: list[Decisions]) -> None:
    tallies = Tallies()
    for decisions in many:
        tallies.add(decisions)
    found = {(tally["model"], tally["version"], tally["role"]): tally for tally in tallies.to_json()}
    keys = [(decisions.author.model, decisions.author.version, decisions.author.role) for decisions in many]
    assert set(found) == set(keys)
    for key, tally in found.items():
        mine = [decisions for decisions, its in zip(many, keys, strict=True) if its == key]
        single = [decision for decisions in mine for decision in decisions]
        assert tally["requests"] == len(mine)
        assert tally["degraded"] == sum(bool(decision.degraded) for decision in single)
        assert tally["decisions"] == len(single)
        assert tally["defaulted"] == sum(1 for decision in single if decision.defaulted)
        outcomes = [decision.outcome for decision in single if decision.outcome is not None]
        assert tally["outcomes"] == {outcome: outcomes.count(outcome) for outcome in set(outcomes)}
        for output, mean in enumerate(tally["mean_score"]):
            exact = math.fsum(decision.scores[output] for decision in single) / len(single)
            assert mean == pytest.approx(exact, rel=1e-12, abs=1e-300)


@given(st.lists(some(), max_size=10))
def test_the_order_of_decisions_does_not_matter(many: list[Decisions]) -> None:
    there, back = Tallies(), Tallies()
    for decisions in many:
        there.add(decisions)
    for decisions in reversed(many):
        back.add(decisions)
    for one, other in zip(there.to_json(), back.to_json(), strict=True):
        assert one.pop("mean_score") == pytest.approx(other.pop("mean_score"))
        assert one == other


def test_no_data_is_not_zero() -> None:
    assert Tally().to_json()["mean_score"] is None
    assert Tallies().to_json() == []
