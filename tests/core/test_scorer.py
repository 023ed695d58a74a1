"""The scorer and its decisions: one answer per row, with all that is needed to compute it again."""

import uuid

import numpy as np
import pytest

from models import Array, SumEngine, plain_manifest
from scoreline.core.batch import NO_DEFAULTS, Batch, Context
from scoreline.core.errors import Problem, RowsRefused
from scoreline.core.policy import ThresholdPolicy
from scoreline.core.rows import read_rows
from scoreline.core.schema import Field, Schema
from scoreline.core.scorer import Scorer

CONTEXT = Context(1_700_000_000_000_000_000, "request-1", "alice", "00-aa-bb-01")


def test_decision_holds_all_that_is_needed_to_compute_it_again() -> None:
    manifest = plain_manifest(policy=ThresholdPolicy(("approve", "decline"), (0.9,)))
    score = Scorer(manifest, SumEngine(), role="canary", epoch=7)
    decisions = score(read_rows(manifest.schema, [{"a": -1.0}, {"a": 4.0, "b": 1.0}], CONTEXT))
    assert len(decisions) == 2
    first, second = decisions
    assert first.features == {"a": -1.0, "b": 2.0}
    assert first.margins == (1.0,)
    assert first.scores == (pytest.approx(1 / (1 + np.exp(-1.0)), rel=1e-15),)
    assert (first.outcome, second.outcome) == ("approve", "decline")
    assert (first.defaulted, second.defaulted) == (("b",), ())
    assert first.degraded == second.degraded == ()
    assert first.context is CONTEXT
    author = first.author
    assert (author.model, author.version, author.output) == ("plain", "1", "score")
    assert (author.digest, author.engine, author.role, author.epoch) == (manifest.digest, "sum 1.0", "canary", 7)
    assert decisions.model_ns > 0


def test_ids_are_of_the_moment_of_take_up_and_in_row_order() -> None:
    manifest = plain_manifest()
    score = Scorer(manifest, SumEngine())
    decisions = score(Batch(np.zeros((300, 2)), CONTEXT, NO_DEFAULTS))
    found = [decision.id for decision in decisions]
    assert len(set(found)) == 300
    assert found == sorted(found)
    assert {uuid.UUID(text).int >> 80 for text in found} == {CONTEXT.time_ns // 1_000_000}
    assert set(found).isdisjoint(decision.id for decision in score(Batch(np.zeros((300, 2)), CONTEXT, NO_DEFAULTS)))


def test_row_scores_the_same_alone_and_in_a_batch() -> None:
    manifest = plain_manifest(policy=ThresholdPolicy(("low", "high"), (0.5,)))
    score = Scorer(manifest, SumEngine())
    values = np.random.default_rng(0).normal(size=(100, 2))
    together = score(Batch(values, CONTEXT, NO_DEFAULTS))
    for row in range(100):
        (alone,) = score(Batch(values[row : row + 1], CONTEXT, NO_DEFAULTS))
        assert (alone.margins, alone.scores, alone.outcome) == (
            together[row].margins,
            together[row].scores,
            together[row].outcome,
        )


@pytest.mark.parametrize("n_rows", [1, 2])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_margin_that_is_not_finite_is_never_an_answer(n_rows: int, bad: float) -> None:
    values = np.zeros((n_rows, 2))
    values[-1, 0] = bad
    with pytest.raises(RowsRefused) as caught:
        Scorer(plain_manifest(), SumEngine())(Batch(values, CONTEXT, NO_DEFAULTS))
    assert caught.value.problems == (Problem(n_rows - 1, "", "the model has no score for this row"),)


def test_multi_class_model_has_a_score_per_class_and_the_likeliest_as_outcome() -> None:
    class Classes:
        name = "classes"

        def predict(self, values: Array) -> Array:
            return np.column_stack([values[:, 0], values[:, 1], np.zeros(len(values))])

    classes = ("a", "b", "c")
    manifest = plain_manifest(
        link="softmax", outputs=3, classes=classes, policy=ThresholdPolicy(classes, likeliest=True)
    )
    decisions = Scorer(manifest, Classes())(Batch(np.array([[5.0, 0.0], [-1.0, -1.0]]), CONTEXT, NO_DEFAULTS))
    assert [decision.outcome for decision in decisions] == ["a", "c"]
    assert all(sum(decision.scores) == pytest.approx(1) for decision in decisions)
    assert decisions[0].author.classes == classes


def test_without_thresholds_there_is_no_outcome() -> None:
    (decision,) = Scorer(plain_manifest(), SumEngine())(Batch(np.zeros((1, 2)), CONTEXT, NO_DEFAULTS))
    assert decision.outcome is None


def test_store_field_that_nobody_looked_up_is_defaulted() -> None:
    schema = Schema(
        (
            Field("a", "number", default=1.0),
            Field("visits", "number", source="store", default=3.0),
        )
    )
    manifest = plain_manifest(schema=schema)
    (decision,) = Scorer(manifest, SumEngine())(read_rows(schema, [{}], CONTEXT))
    assert decision.features == {"a": 1.0, "visits": 3.0}
    assert decision.defaulted == ("a", "visits")
    assert decision.degraded == ()


def test_what_the_store_did_not_answer_for_is_told_by_row() -> None:
    batch = Batch(np.zeros((2, 2)), CONTEXT, {1: (1,)}, degraded={1: (0, 1)})
    sound, degraded = Scorer(plain_manifest(), SumEngine())(batch)
    assert (sound.defaulted, sound.degraded) == ((), ())
    assert (degraded.defaulted, degraded.degraded) == (degraded.author.fields[1:], degraded.author.fields)


def test_decisions_are_a_sequence_that_ends() -> None:
    decisions = Scorer(plain_manifest(), SumEngine())(Batch(np.zeros((2, 2)), CONTEXT, NO_DEFAULTS))
    for beyond in (2, -1):
        with pytest.raises(IndexError):
            _ = decisions[beyond]
    assert [decision.id for decision in decisions] == [decisions[0].id, decisions[1].id]
