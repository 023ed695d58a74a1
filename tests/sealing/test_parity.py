"""The parity gate: the engines that are sealed have the trainer's bits, and what has not is refused."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost
from hypothesis import given
from hypothesis import strategies as st

from models import Array, codes, frame, keys, library_margins, same_bits, small_model, ulps
from scoreline.core.errors import EngineFailed, SealRefused
from scoreline.engines.onnx import OnnxEngine
from scoreline.engines.xgboost import XGBoostEngine
from scoreline.sealing import parity, seal
from scoreline.sealing import xgboost as reader
from scoreline.sealing.parity import check_parity, ulp_distance
from scoreline.sealing.trees import Tree, tree_graph
from scoreline.sealing.xgboost import read_xgboost

# The gate refuses -----------------------------------------------------------------------------------------------------


def next_up(value: float) -> float:
    return float(np.nextafter(np.float32(value), np.float32(np.inf)))


def one_leaf_off(trees: Sequence[Tree]) -> list[Tree]:
    """One leaf of one tree, by a thousandth of its weight."""
    tree = trees[-1]
    leaf = tree.left.index(-1)
    value = [v * 1.001 if node == leaf else v for node, v in enumerate(tree.value)]
    return [*trees[:-1], replace(tree, value=value)]


def one_threshold_off(trees: Sequence[Tree]) -> list[Tree]:
    first, *rest = trees
    return [replace(first, value=[next_up(first.value[0]), *first.value[1:]]), *rest]


def missing_goes_the_other_way(trees: Sequence[Tree]) -> list[Tree]:
    first, *rest = trees
    return [replace(first, default_left=[1 - first.default_left[0], *first.default_left[1:]]), *rest]


def summed_backwards(trees: Sequence[Tree]) -> list[Tree]:
    return list(trees)[::-1]


def one_tree_less(trees: Sequence[Tree]) -> list[Tree]:
    return list(trees)[:-1]


@pytest.mark.parametrize(
    "broken", [one_leaf_off, one_threshold_off, missing_goes_the_other_way, summed_backwards, one_tree_less]
)
def test_twin_that_is_off_by_the_least_is_never_sealed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: Callable[[Sequence[Tree]], list[Tree]]
) -> None:
    def graph(trees: Sequence[Tree], *rest: Any) -> bytes:
        return tree_graph(broken(trees), *rest)

    booster, rows = small_model(rounds=30, max_depth=5)
    monkeypatch.setattr(reader, "tree_graph", graph)
    private, public = keys(tmp_path)
    with pytest.raises(
        SealRefused, match=r"onnxruntime .* differs from the trainer's library on \d+ of \d+ parity rows"
    ):
        seal(booster, name="m", output="score", reference=rows, key=private, out=tmp_path / "m-1")
    assert sorted(tmp_path.iterdir()) == sorted([private, public])


def test_base_margin_that_is_off_is_never_sealed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def graph(trees: Sequence[Tree], base: Sequence[float], *rest: Any) -> bytes:
        return tree_graph(trees, [next_up(margin) for margin in base], *rest)

    booster, rows = small_model()
    monkeypatch.setattr(reader, "tree_graph", graph)
    with pytest.raises(SealRefused, match="differs from the trainer's library"):
        seal(booster, name="m", output="score", reference=rows, key=keys(tmp_path)[0], out=tmp_path / "m-1")


class Biased:
    """The right margins, but where `wrong` says so."""

    name = "biased 1.0"

    def __init__(self, engine: XGBoostEngine, wrong: Callable[[Array], bool]) -> None:
        self._engine = engine
        self._wrong = wrong

    def predict(self, values: Array) -> Array:
        margins = self._engine.predict(values)
        return margins + 1e-6 if self._wrong(values) else margins


@pytest.mark.parametrize(
    ("wrong", "how"),
    [
        (lambda values: len(values) > 500, "scored together"),
        (lambda values: len(values) == 1, "scored alone"),
        (lambda values: len(values) == 3, "scored in a batch of 3"),
        (lambda values: len(values) == 65, "scored in a batch of 65"),
    ],
)
def test_engine_that_is_right_at_other_batch_sizes_only_is_refused(wrong: Callable[[Array], bool], how: str) -> None:
    booster, rows = small_model()
    trained = read_xgboost(booster)
    engine = Biased(XGBoostEngine(trained.raw, 3, 1), wrong)
    with pytest.raises(SealRefused, match=f"biased 1.0 differs .* {how}"):
        check_parity(trained, [engine], np.resize(codes(rows), (600, 3)))


def test_link_that_is_off_by_more_than_4_ulp_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    booster, rows = small_model()
    trained = read_xgboost(booster)
    engine = XGBoostEngine(trained.raw, 3, 1)
    assert check_parity(trained, [engine], codes(rows)).score_ulp <= 4
    off = {**parity.LINKS, "sigmoid": lambda margins: parity.LINKS["identity"](1 / (1 + np.exp(-margins)) + 1e-6)}
    monkeypatch.setattr(parity, "LINKS", off)
    with pytest.raises(SealRefused, match=r"scores are up to \d+ float32 ulp from the library's own; at most 4"):
        check_parity(trained, [engine], codes(rows))


def test_parity_counts_the_rows_it_compared() -> None:
    booster, rows = small_model()
    trained = read_xgboost(booster)
    found = check_parity(
        trained, [XGBoostEngine(trained.raw, 3, 1), OnnxEngine(trained.twin or b"", 3, 1)], codes(rows)
    )
    assert found.rows == 300


# The twin holds -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("objective", "n_outputs"), [("binary:logistic", 1), ("multi:softprob", 3)])
def test_twin_has_the_librarys_bits_on_thresholds_and_one_ulp_beside(objective: str, n_outputs: int) -> None:
    """20 fields, 60 trees of depth 6; rows on thresholds, beside, missing, denormal and huge, alone and in bulk."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(3000, 20)) * rng.choice([1e-3, 1.0, 1e6], 20)
    values[rng.random(values.shape) < 0.1] = np.nan
    signal = np.nan_to_num(values[:, 0]) + np.nan_to_num(values[:, 1]) * np.nan_to_num(values[:, 2])
    labels = np.digitize(signal, np.quantile(signal, [0.3, 0.7])) if n_outputs == 3 else signal > np.median(signal)
    parameters = {"objective": objective, "max_depth": 6, "nthread": 1, **({"num_class": 3} if n_outputs == 3 else {})}
    booster = xgboost.train(parameters, xgboost.DMatrix(values, labels), 60)
    trained = read_xgboost(booster)
    engine = OnnxEngine(trained.twin or b"", 20, n_outputs)

    rows = values[rng.integers(0, len(values), 6000)]
    splits = [trained.splits[i] for i in rng.integers(0, len(trained.splits), 6000)]
    columns = [feature for feature, _ in splits]
    at = np.array([threshold for _, threshold in splits], dtype=np.float32)
    beside = np.nextafter(at, rng.choice([-np.inf, np.inf], 6000).astype(np.float32))
    rows[np.arange(6000), columns] = np.where(rng.random(6000) < 0.5, at, beside)
    odd = rows.copy()
    odd[rng.random(odd.shape) < 0.2] = np.nan
    extreme = rng.choice([0.0, -0.0, 1e-45, -1e-40, 5e-324, 3.4028234663852886e38, -3.4e38], (500, 20))
    for tried in (rows, odd, extreme):
        wanted = library_margins(booster, tried)
        assert same_bits(engine.predict(tried), wanted)
        alone = [engine.predict(tried[row : row + 1]) for row in range(0, len(tried), 11)]
        assert same_bits(np.concatenate(alone), wanted[::11])


# Distances ------------------------------------------------------------------------------------------------------------

float32s = st.floats(width=32, allow_nan=False)


@given(float32s, st.integers(-50, 50))
def test_distance_counts_the_float32_values_between(start: float, steps: int) -> None:
    end = np.float32(start)
    taken = 0
    for _ in range(abs(steps)):
        following = np.nextafter(end, np.float32(np.inf if steps > 0 else -np.inf))
        taken += following != end and not (following == 0 and end == 0)
        end = following
    found = ulp_distance(np.array([start]), np.array([float(end)]))
    assert found[0] == taken == ulps([start], [end])


@given(float32s, float32s)
def test_distance_is_the_same_both_ways_and_nothing_only_for_equals(one: float, other: float) -> None:
    there, back = ulp_distance(np.array([one]), np.array([other])), ulp_distance(np.array([other]), np.array([one]))
    assert there[0] == back[0]
    assert (there[0] == 0) == (one == other)


def test_engine_that_fails_in_the_gate_says_so() -> None:
    booster, rows = small_model()
    trained, wider = read_xgboost(booster), read_xgboost(small_model(categories=True)[0])
    with pytest.raises(EngineFailed, match="takes rows of 4 fields"):
        check_parity(trained, [XGBoostEngine(wider.raw, 4, 1)], codes(rows))


def test_trained_frame_and_codes_are_the_same_rows() -> None:
    """The helper these tests rest on: a frame scored by the library is its coded rows scored by the library."""
    booster, rows = small_model(categories=True)
    direct = booster.predict(xgboost.DMatrix(rows, enable_categorical=True), output_margin=True)
    assert same_bits(library_margins(booster, codes(frame(categories=True))), direct.astype(np.float64)[:, None])
