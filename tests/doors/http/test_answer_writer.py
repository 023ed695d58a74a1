"""The answer is exactly its decisions, in JSON that any parser reads."""

import dataclasses
import json
import math
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from scoreline.core.batch import Context
from scoreline.core.decision import Author, Decision, Decisions
from scoreline.core.ids import ROW_BITS, IdSource
from scoreline.core.strictjson import strict_json
from scoreline.doors.http.answer import AnswerWriter

FIELDS = ("amount", 'say "no"', "größe", "balance")
AUTHOR = Author("fraud", "1.0-rc.2", "0" * 64, "engine 1", FIELDS, "fraud_probability", (), ())
scores_of = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from(
    (0.0, -0.0, 1.0, 0.1, 1e-7, 5e-324, 1e16, 1e22, 123456789012345680.0, 2**53 + 2.0, math.nextafter(0.5, 1), 8e307)
)


@st.composite
def decided(draw: st.DrawFn, most_rows: int = 6) -> Decisions:
    classes = draw(st.sampled_from(((), ("low", "mid", 'h"igh'))))
    outcomes = draw(st.sampled_from(((), ("approve", "réview", "decline"))))
    author = dataclasses.replace(AUTHOR, classes=classes, outcomes=outcomes)
    n_rows = draw(st.integers(1, most_rows))
    n_outputs = len(classes) or 1
    flat = draw(st.lists(scores_of, min_size=n_rows * n_outputs, max_size=n_rows * n_outputs))
    positions = st.lists(st.integers(0, len(FIELDS) - 1), unique=True).map(sorted)
    return Decisions(
        base=draw(st.integers(0, 2**108 - 1)) << ROW_BITS,
        author=author,
        context=Context(1),
        values=np.zeros((n_rows, len(FIELDS))),
        margins=np.zeros((n_rows, n_outputs)),
        scores=np.array(flat).reshape(n_rows, n_outputs),
        outcomes=[draw(st.integers(0, len(outcomes) - 1)) for _ in range(n_rows)] if outcomes else (),
        defaulted={row: draw(positions) for row in range(n_rows) if draw(st.booleans())},
        degraded={row: draw(st.sampled_from(((3,), (1, 3)))) for row in range(n_rows) if draw(st.booleans())},
        model_ns=1,
    )


def expected(decision: Decision) -> dict[str, Any]:
    author = decision.author
    score = dict(zip(author.classes, decision.scores, strict=True)) if author.classes else decision.scores[0]
    found: dict[str, Any] = {author.output: score}
    if decision.outcome is not None:
        found["outcome"] = decision.outcome
    found |= {"prediction_id": decision.id, "defaulted": list(decision.defaulted)}
    return found | ({"degraded": list(decision.degraded)} if decision.degraded else {})


def bits(answer: object) -> str:
    """Floats by their exact digits, so that -0.0 and 0.0 differ, and the order of keys counts."""
    return repr(answer)


@given(decided(most_rows=1))
def test_one_answer_is_its_decision(decisions: Decisions) -> None:
    writer = AnswerWriter(decisions.author)
    answer = strict_json(writer.one(decisions))
    wanted = expected(decisions[0]) | {"model": "fraud", "version": "1.0-rc.2"}
    assert bits(answer) == bits(wanted)


@given(decided())
def test_many_answers_are_their_decisions_in_order(decisions: Decisions) -> None:
    writer = AnswerWriter(decisions.author)
    answer = strict_json(writer.many(decisions))
    wanted = {"model": "fraud", "version": "1.0-rc.2", "predictions": [expected(decision) for decision in decisions]}
    numbers = [_numbers(prediction) for prediction in answer["predictions"]]
    assert numbers == [_numbers(prediction) for prediction in wanted["predictions"]]
    assert answer == wanted
    assert [list(prediction) for prediction in answer["predictions"]] == [list(p) for p in wanted["predictions"]]


def _numbers(prediction: dict[str, Any]) -> list[bytes]:
    score = prediction["fraud_probability"]
    return [np.float64(value).tobytes() for value in (score.values() if isinstance(score, dict) else [score])]


def test_an_answer_has_no_degraded_where_nothing_is() -> None:
    decisions = Decisions(0, AUTHOR, Context(1), *(np.zeros((1, n)) for n in (4, 1, 1)), (), {}, {}, 1)
    assert b"degraded" not in AnswerWriter(AUTHOR).one(decisions)
    assert b"outcome" not in AnswerWriter(AUTHOR).one(decisions)


def test_ids_of_many_rows_are_consecutive_and_sort_as_the_rows_came() -> None:
    n_rows = 300
    base = IdSource().new_base(1_700_000_000_000_000_000)
    decisions = Decisions(base, AUTHOR, Context(1), *(np.zeros((n_rows, n)) for n in (4, 1, 1)), (), {}, {}, 1)
    ids = [
        prediction["prediction_id"] for prediction in json.loads(AnswerWriter(AUTHOR).many(decisions))["predictions"]
    ]
    assert ids == sorted(set(ids))
    assert ids == [decision.id for decision in decisions]
