"""Contributions are the library's own TreeSHAP, summed back to the fields of the request."""

from collections.abc import Callable
from itertools import combinations
from math import factorial
from typing import Any

import lightgbm
import numpy as np
import pytest
import xgboost

from lightgbm_models import small_lightgbm
from models import Array, codes, frame, library_margins, small_model
from scoreline.core.errors import EngineFailed
from scoreline.engines.lightgbm import LightGBMEngine
from scoreline.engines.onnx import OnnxEngine
from scoreline.engines.prepared import PIECE, PreparedEngine
from scoreline.engines.twin import TwinEngine
from scoreline.engines.xgboost import XGBoostEngine
from scoreline.sealing.lightgbm import read_lightgbm
from scoreline.sealing.sklearn import read_sklearn
from scoreline.sealing.xgboost import read_xgboost
from sklearn_models import coded, raw_rows, small_pipeline

XGBOOST: dict[str, dict[str, Any]] = {
    "gbtree": {},
    "dart": {"booster": "dart", "rate_drop": 0.3},
    "gblinear": {"booster": "gblinear"},
    "classes": {"objective": "multi:softprob"},
    "classes by dart": {"objective": "multi:softprob", "booster": "dart", "rate_drop": 0.3},
    "categories": {"categories": True},
    "sets of categories": {"categories": True, "max_cat_to_onehot": 1},
}
LIGHTGBM: dict[str, dict[str, Any]] = {
    "gbdt": {},
    "dart": {"boosting": "dart"},
    "classes": {"objective": "multiclass"},
    "categories": {"categories": True},
}


def xgboost_engine(booster: xgboost.Booster) -> XGBoostEngine:
    model = read_xgboost(booster)
    return XGBoostEngine(model.raw, model.n_features, model.n_outputs)


def lightgbm_engine(booster: lightgbm.Booster) -> LightGBMEngine:
    model = read_lightgbm(booster)
    return LightGBMEngine(model.raw, model.n_features, model.n_outputs)


@pytest.mark.parametrize("kind", XGBOOST)
def test_xgboost_gives_what_its_own_python_gives(kind: str) -> None:
    booster, rows = small_model(**XGBOOST[kind])
    values = codes(rows)
    matrix = xgboost.DMatrix(
        values, feature_names=booster.feature_names, feature_types=booster.feature_types, enable_categorical=True
    )
    theirs = booster.predict(matrix, pred_contribs=True, strict_shape=True)
    ours = xgboost_engine(booster).contributions(values)
    assert ours is not None and ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)
    np.testing.assert_allclose(ours.sum(axis=2), library_margins(booster, values), rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", LIGHTGBM)
def test_lightgbm_gives_what_its_own_python_gives(kind: str) -> None:
    booster, rows = small_lightgbm(**LIGHTGBM[kind])
    values = codes(rows)
    ours = lightgbm_engine(booster).contributions(values)
    assert ours is not None
    np.testing.assert_array_equal(ours.reshape(len(values), -1), booster.predict(values, pred_contrib=True))
    margins = booster.predict(values, raw_score=True).reshape(len(values), -1)
    np.testing.assert_allclose(ours.sum(axis=2), margins, rtol=0, atol=1e-10)


def test_where_the_library_has_none_there_are_none() -> None:
    vectors, rows = small_model("multi:softprob", multi_strategy="multi_output_tree", tree_method="hist")
    assert xgboost_engine(vectors).contributions(codes(rows)) is None
    linear, rows = small_lightgbm("regression", linear_tree=True)
    assert lightgbm_engine(linear).contributions(codes(rows)) is None


def path_dependent(booster: xgboost.Booster, row: Array, known: frozenset[int]) -> float:
    """A stump or tree's answer with only some fields known: elsewhere both ways, by how many rows went each."""
    table = booster.trees_to_dataframe()
    total = 0.0
    for _, tree in table.groupby("Tree"):
        nodes = tree.set_index("ID").to_dict("index")

        def answer(name: str, nodes: dict[str, Any] = nodes) -> float:
            node = nodes[name]
            if node["Feature"] == "Leaf":
                return float(node["Gain"])
            field = (booster.feature_names or []).index(node["Feature"])
            if field in known:
                return answer(node["Yes"] if np.float32(row[field]) < np.float32(node["Split"]) else node["No"])
            covers = {way: nodes[node[way]]["Cover"] for way in ("Yes", "No")}
            return sum(answer(node[way]) * cover for way, cover in covers.items()) / sum(covers.values())

        total += answer(next(name for name in nodes if name.endswith("-0")))
    return total


def test_treeshap_is_shapleys_value_by_enumeration() -> None:
    """Every coalition of three fields, weighed as Shapley weighs it, on a model of a few trees."""
    rows = frame(200).fillna(0.5)
    labels = (rows["a"] + rows["c"] / 5 > 4).astype(float)
    booster = xgboost.train(
        {"objective": "reg:squarederror", "max_depth": 3, "nthread": 1}, xgboost.DMatrix(rows, labels), 3
    )
    values = codes(rows)[:20]
    found = xgboost_engine(booster).contributions(values)
    assert found is not None
    for row, ours in zip(values, found[:, 0], strict=True):
        for field in range(3):
            others = [other for other in range(3) if other != field]
            coalitions = [frozenset(known) for size in range(3) for known in combinations(others, size)]
            wanted = sum(
                factorial(len(known)) * factorial(2 - len(known)) / factorial(3)
                * (path_dependent(booster, row, known | {field}) - path_dependent(booster, row, known))
                for known in coalitions
            )  # fmt: skip
            assert ours[field] == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("kind", ("XGBClassifier", "XGBClassifier classes", "LGBMClassifier", "LGBMRegressor"))
@pytest.mark.parametrize("sparse", (False, True), ids=("dense", "sparse"))
def test_columns_of_a_pipeline_are_summed_back_to_their_fields(kind: str, sparse: bool) -> None:
    pipeline, rows = small_pipeline(kind, sparse=sparse)
    model, values = read_sklearn(pipeline), coded(rows)
    assert model.prepare is not None
    prepare = OnnxEngine(model.prepare, 5)
    build = XGBoostEngine if model.kind == "xgboost" else LightGBMEngine
    inner = build(model.raw, prepare.n_outputs, model.n_outputs)
    found = PreparedEngine(prepare, inner, model.sources).contributions(values)
    by_column = inner.contributions(prepare.predict(values))
    assert found is not None and by_column is not None
    names = pipeline[0].get_feature_names_out()
    for field, name in enumerate(rows):
        plain = [column.split("__")[1].removeprefix("missingindicator_") for column in names]
        made = [at for at, column in enumerate(plain) if column.startswith(name)]
        assert made
        np.testing.assert_allclose(found[:, :, field], by_column[:, :, made].sum(axis=2), rtol=0, atol=1e-9)
    np.testing.assert_allclose(found[:, :, -1], by_column[:, :, -1], rtol=0, atol=1e-9)


def test_a_prepared_engine_without_sources_has_none_and_with_wrong_ones_says_so() -> None:
    model = read_sklearn(small_pipeline("XGBClassifier")[0])
    assert model.prepare is not None
    prepare = OnnxEngine(model.prepare, 5)
    inner = XGBoostEngine(model.raw, prepare.n_outputs, 1)
    assert PreparedEngine(prepare, inner).contributions(np.zeros((1, 5))) is None
    with pytest.raises(EngineFailed, match="not as many"):
        PreparedEngine(prepare, inner, (0, 1)).contributions(np.zeros((1, 5)))


def test_many_rows_and_none_are_explained_a_piece_at_a_time() -> None:
    model = read_sklearn(small_pipeline("XGBClassifier")[0])
    assert model.prepare is not None
    prepare = OnnxEngine(model.prepare, 5)
    engine = PreparedEngine(prepare, XGBoostEngine(model.raw, prepare.n_outputs, 1), model.sources)
    values = coded(raw_rows(PIECE + 3))
    found, some = engine.contributions(values), engine.contributions(values[-2:])
    assert found is not None and found.shape == (PIECE + 3, 1, 6)
    np.testing.assert_allclose(found[-2:], some, rtol=0, atol=1e-7)
    nothing = engine.contributions(values[:0])
    assert nothing is not None and nothing.shape == (0, 1, 6)


@pytest.mark.parametrize(
    "make", (lambda: xgboost_engine(small_model()[0]), lambda: lightgbm_engine(small_lightgbm()[0]))
)
def test_rows_of_another_width_are_refused_and_none_are_taken(make: Callable[[], XGBoostEngine]) -> None:
    engine = make()
    with pytest.raises(EngineFailed, match="takes rows of 3 fields"):
        engine.contributions(np.zeros((1, 4)))
    found = engine.contributions(np.zeros((0, 3)))
    assert found is not None and found.shape == (0, 1, 4)


def test_a_twin_explains_by_the_library() -> None:
    model = read_xgboost(small_model()[0])
    assert model.twin is not None
    library, rows = XGBoostEngine(model.raw, 3, 1), codes(frame(5))
    twin = TwinEngine([(OnnxEngine(model.twin, 3, 1), 64), (library, 0)])
    np.testing.assert_array_equal(twin.contributions(rows), library.contributions(rows))
    assert OnnxEngine(model.twin, 3, 1).contributions(rows) is None
