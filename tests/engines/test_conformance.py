"""Every engine, and every kind of model it takes, keeps the contract that `scoreline.testing` states."""

from collections.abc import Callable

import catboost
import numpy as np
import pytest

from lightgbm_models import small_lightgbm
from models import codes, frame, small_model, targets
from onnx_models import network
from scoreline.core.errors import EngineFailed
from scoreline.core.ports import Engine
from scoreline.engines.lightgbm import LightGBMEngine
from scoreline.engines.load import ENGINES
from scoreline.engines.onnx import OnnxEngine, OnnxRowsEngine
from scoreline.engines.prepared import PreparedEngine
from scoreline.engines.xgboost import XGBoostEngine
from scoreline.sealing.catboost import read_catboost
from scoreline.sealing.lightgbm import read_lightgbm
from scoreline.sealing.onnx import read_onnx
from scoreline.sealing.sklearn import read_sklearn
from scoreline.sealing.trained import TrainedModel
from scoreline.sealing.xgboost import read_xgboost
from scoreline.testing import BuildEngine, check_engine
from sklearn_models import ENDINGS, coded, raw_rows, small_pipeline

MODELS: dict[str, Callable[[], TrainedModel]] = {
    "xgboost gbtree": lambda: read_xgboost(small_model()[0]),
    "xgboost dart": lambda: read_xgboost(small_model(booster="dart", rate_drop=0.3)[0]),
    "xgboost gblinear": lambda: read_xgboost(small_model(booster="gblinear")[0]),
    "xgboost classes": lambda: read_xgboost(small_model("multi:softprob")[0]),
    "xgboost categories": lambda: read_xgboost(small_model(categories=True)[0]),
    "lightgbm binary": lambda: read_lightgbm(small_lightgbm("binary")[0]),
    "lightgbm classes": lambda: read_lightgbm(small_lightgbm("multiclass")[0]),
    "lightgbm categories": lambda: read_lightgbm(small_lightgbm("regression", categories=True)[0]),
}
BUILDS: dict[str, BuildEngine] = {
    "xgboost": XGBoostEngine,
    "lightgbm": LightGBMEngine,
    "onnx": OnnxEngine,
    "onnx-rows": OnnxRowsEngine,
}


def rows(n_fields: int) -> np.ndarray:
    return codes(frame(150, seed=5, categories=n_fields == 4))


@pytest.mark.parametrize("kind", MODELS)
def test_engine(kind: str) -> None:
    model = MODELS[kind]()
    check_engine(BUILDS[model.kind], model.raw, model.n_outputs, rows(model.n_features))


@pytest.mark.parametrize("objective", ["binary:logistic", "multi:softprob"])
def test_onnx_engine(objective: str) -> None:
    model = read_xgboost(small_model(objective)[0])
    assert model.twin is not None
    check_engine(OnnxEngine, model.twin, model.n_outputs, rows(model.n_features))


@pytest.mark.parametrize("kind", ENDINGS)
def test_pipelines(kind: str) -> None:
    """A graph alone, or a graph and the engine of the booster behind it."""
    model = read_sklearn(small_pipeline(kind)[0])

    def build(raw: bytes, n_fields: int, n_outputs: int) -> Engine:
        if model.prepare is None:
            return BUILDS[model.kind](raw, n_fields, n_outputs)
        prepare = OnnxEngine(model.prepare, n_fields)
        return PreparedEngine(prepare, BUILDS[model.kind](raw, prepare.n_outputs, n_outputs), model.sources)

    check_engine(build, model.raw, model.n_outputs, coded(raw_rows(150, seed=5)))


@pytest.mark.parametrize("objective", ["Logloss", "MultiClass", "RMSE"])
def test_catboost(objective: str) -> None:
    kinds = {"Logloss": "binary:logistic", "MultiClass": "multi:softprob", "RMSE": "reg:squarederror"}
    labels = targets(kinds[objective], frame())
    settings = {"iterations": 10, "loss_function": objective, "verbose": 0, "allow_writing_files": False}
    labels = labels if objective == "RMSE" else labels.astype(int)
    model = read_catboost(catboost.CatBoost(settings).fit(frame(), labels))
    check_engine(OnnxEngine, model.raw, model.n_outputs, rows(3))


@pytest.mark.parametrize("n_outputs", [1, 2, 3])
@pytest.mark.parametrize("columns", (False, True), ids=("matrix", "columns"))
def test_graphs_as_they_are(n_outputs: int, columns: bool) -> None:
    model = read_onnx(network(n_outputs, label=True, columns=columns))
    check_engine(BUILDS[model.kind], model.raw, model.n_outputs, np.nan_to_num(rows(3)))


def test_every_engine_of_the_table_is_checked_here() -> None:
    assert set(BUILDS) == set(ENGINES)


class Partial(XGBoostEngine):
    """Keeps the base value to itself."""

    def contributions(self, values: np.ndarray) -> np.ndarray:
        found = super().contributions(values)
        found[:, :, -1] = 0.0
        return found


class Forgetful(XGBoostEngine):
    """Gives back what a later call overwrites."""

    def predict(self, values: np.ndarray) -> np.ndarray:
        self._kept = getattr(self, "_kept", np.empty((1, 1)))
        found = super().predict(values)
        if found.shape != self._kept.shape:
            return found
        self._kept[...] = found
        return self._kept


class Tolerant(XGBoostEngine):
    """Takes rows of any width."""

    def predict(self, values: np.ndarray) -> np.ndarray:
        return super().predict(np.resize(values, (len(values), 3)))


class InAnyOrder(XGBoostEngine):
    """Lets a row's margin depend on its company."""

    def predict(self, values: np.ndarray) -> np.ndarray:
        return super().predict(values) + len(values) * 2.0**-40


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (Forgetful, "an answer is the caller's"),
        (Tolerant, "rows of 2 fields"),
        (InAnyOrder, "a row alone has the bits it has in a batch"),
        (Partial, "add up to the margin"),
    ],
)
def test_an_engine_that_breaks_its_contract_is_told(build: BuildEngine, said: str) -> None:
    model = read_xgboost(small_model()[0])
    with pytest.raises(AssertionError, match=said):
        check_engine(build, model.raw, model.n_outputs, rows(3))


def test_text_of_lightgbm_that_is_cut_anywhere_is_refused() -> None:
    """The library itself reads beyond the end of such a text, or ends the process."""
    raw = read_lightgbm(small_lightgbm("binary")[0]).raw
    for end in range(0, raw.index(b"end of trees"), 7):
        with pytest.raises(EngineFailed, match="not its text, cut"):
            LightGBMEngine(raw[:end], 3, 1)
