"""Reports on challengers: split by a field, and what is said of segments that hold nothing."""

import numpy as np
import pytest

from scoreline.core.batch import Context
from scoreline.core.rows import read_rows
from scoreline.core.schema import Schema
from scoreline.evidence.paired import GridBet
from scoreline.operations.compared import Compared, Segments, by_segment, segments_of
from scoreline.records.joined import Joined
from scoreline.records.rows import Row
from scoreline.rollout.agreement import Agreement, Versions
from service import FRAUD_FIELDS, FRAUD_ROW, SealedModel


def page(schema: Schema, *rows: dict[str, object]) -> list[Joined]:
    values = read_rows(schema, [{**FRAUD_ROW, **row} for row in rows], Context(0)).values
    empty = Row(b"", 0, b"", "", "", "", b"", b"", b"", -1, b"", b"", 0)
    return [Joined(empty._replace(values=one.tobytes()), None, None) for one in values]  # type: ignore[arg-type]


def test_a_category_and_a_boolean_split_and_anything_else_does_not(sealed: SealedModel) -> None:
    schema = sealed.manifest.schema
    found = page(schema, {"country": "at", "repeat": False}, {"country": "fr:sud", "repeat": True})
    for name, words in (("country", ["at", "fr:sud"]), ("repeat", ["false", "true"])):
        segments = segments_of(schema, name)
        assert [segments.names[int(code)] for code in segments.of(found)] == words
    for name in ("", "amount", "no field"):
        assert segments_of(schema, name) == Segments()
        assert np.isnan(segments_of(schema, name).of(found)).all()
    assert set(FRAUD_FIELDS) >= {"country", "repeat", "amount"}


def test_each_segment_is_told_by_itself() -> None:
    bet = GridBet(1.0, 0.1)
    split = {1: bet.add(np.full(400, -0.5)), 0: bet.add(np.zeros(400))}
    compared = Compared(Agreement.of(Versions()), bet, bet, 0, 0, by_segment=split)
    zero, one = by_segment(compared, Segments(0, ("at", "fr:sud")))
    assert (zero["segment"], zero["pairs"], zero["mean_difference"]) == ("at", 400, 0.0)
    assert zero["e_worse"] == pytest.approx(1.0) and zero["e_safe"] > 100
    assert (one["segment"], one["mean_difference"]) == ("fr:sud", -0.5) and one["e_worse"] > 1e9
