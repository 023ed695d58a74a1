"""ONNX Runtime as an engine."""

import numpy as np
import onnxruntime
import pytest

from models import codes, frame, library_margins, same_bits, small_model
from scoreline.core.errors import EngineFailed
from scoreline.engines.onnx import OnnxEngine
from scoreline.sealing.xgboost import read_xgboost


def engine_of(objective: str = "binary:logistic", n_outputs: int = 1) -> OnnxEngine:
    return OnnxEngine(read_xgboost(small_model(objective)[0]).twin or b"", 3, n_outputs)


def test_layout_of_the_rows_in_memory_does_not_matter() -> None:
    booster, _ = small_model()
    engine = engine_of()
    values = codes(frame(200, seed=5))
    wanted = library_margins(booster, values)
    wide = np.zeros((400, 7))
    wide[::2, ::3] = values
    for rows in (values, np.asfortranarray(values), wide[::2, ::3]):
        assert same_bits(engine.predict(rows), wanted)
        assert same_bits(np.concatenate([engine.predict(rows[row : row + 1]) for row in range(50)]), wanted[:50])


@pytest.mark.parametrize(("objective", "n_outputs"), [("binary:logistic", 1), ("multi:softprob", 3)])
def test_no_rows_have_no_margins(objective: str, n_outputs: int) -> None:
    assert engine_of(objective, n_outputs).predict(np.empty((0, 3))).shape == (0, n_outputs)


@pytest.mark.parametrize("width", [0, 1, 2, 4])
@pytest.mark.parametrize("n_rows", [1, 2])
def test_rows_of_another_width_fail_rather_than_score(width: int, n_rows: int) -> None:
    with pytest.raises(EngineFailed, match="takes rows of 3 fields"):
        engine_of().predict(np.zeros((n_rows, width)))


def test_answers_are_copies_that_later_rows_do_not_change() -> None:
    engine = engine_of()
    values = codes(frame(20, seed=5))
    first = engine.predict(values[:1])
    kept = first.copy()
    for row in range(20):
        engine.predict(values[row : row + 1])
    assert same_bits(first, kept)


@pytest.mark.parametrize("raw", [b"", b"garbage"], ids=repr)
def test_bytes_that_are_no_graph_fail_without_repeating_them(raw: bytes) -> None:
    with pytest.raises(EngineFailed, match="this graph"):
        OnnxEngine(raw, 3, 1)


def test_graph_of_another_width_fails_when_loaded() -> None:
    raw = read_xgboost(small_model()[0]).twin or b""
    with pytest.raises(EngineFailed, match="cannot load this graph"):
        OnnxEngine(raw, 4, 1)


def test_name_is_the_librarys_own_version() -> None:
    assert engine_of().name == f"onnxruntime {onnxruntime.__version__}"
