"""Reads CatBoost models without categories, through CatBoost's own ONNX export.

The export keeps thresholds exactly and leaves as float32. Its trees are summed in float64, as CatBoost sums them.
"""

import hashlib
import math
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import catboost
import numpy as np

from scoreline.core.errors import NotFound, SealRefused
from scoreline.core.link import Floats
from scoreline.sealing.ensembles import exported_trees
from scoreline.sealing.graph import INPUT, Graph, constant_tree, splits_of
from scoreline.sealing.trained import Iterations, TrainedModel

TOLERANCE: Final = 1e-6
OBJECTIVES: Final = {
    "Logloss": "sigmoid",
    "CrossEntropy": "sigmoid",
    "MultiClass": "softmax64",
    "RMSE": "identity",
    "MAE": "identity",
    "Quantile": "identity",
    "Huber": "identity",
    "MAPE": "identity",
    "Poisson": "exp",
    "Tweedie": "exp",
}
_PREDICTION: Final = {
    "sigmoid": "Probability",
    "softmax64": "Probability",
    "identity": "RawFormulaVal",
    "exp": "Exponent",
}


def read_catboost(model: object, _iterations: Iterations = "best") -> TrainedModel:
    """A trained model from a .cbm file, a `CatBoost` or a fitted estimator of CatBoost; raises NotFound, SealRefused.

    CatBoost itself keeps the trees up to the best iteration, unless it was told otherwise.
    """
    booster, origin = _load(model)
    kinds = ("categories", booster.get_cat_feature_indices()), ("texts", booster.get_text_feature_indices())
    for kind, positions in kinds:
        if positions:
            raise SealRefused(f"a CatBoost model with {kind} has no ONNX export; encode them before it in a pipeline")
    objective = str(booster.get_all_params().get("loss_function", "")).partition(":")[0]
    if objective not in OBJECTIVES:
        raise SealRefused(f"objective {objective!r} is not supported; supported: {', '.join(OBJECTIVES)}")
    link = OBJECTIVES[objective]
    n_outputs = len(booster.classes_) if link == "softmax64" else 1
    n_features = len(booster.feature_names_)
    trees, base = exported_trees(_export(booster), n_outputs)
    start = [constant_tree(output, value) for output, value in enumerate(base)]
    graph = Graph(n_features)
    rounded = graph.cast(graph.cast(INPUT, "FLOAT"), "DOUBLE")
    scores = partial(_scores, booster, link, n_outputs)
    return TrainedModel(
        kind="onnx",
        file="model.onnx",
        raw=graph.finish(graph.trees(rounded, [*start, *trees], n_outputs), n_outputs),
        n_features=n_features,
        n_outputs=n_outputs,
        link=link,
        feature_names=_names(booster.feature_names_),
        categories={},
        fits=lambda _position, _words: None,
        classes=tuple(map(str, booster.classes_)) if n_outputs > 1 else (),
        twin=None,
        twin_reason="the model is one graph",
        splits=splits_of(trees),
        slopes=[],
        margins=None,
        scores=scores,
        tolerance=TOLERANCE,
        refuses_missing=frozenset(at for at in range(n_features) if not _takes_missing(scores, n_features, at)),
        lineage={
            **origin,
            "library": f"catboost {catboost.__version__}",
            "objective": objective,
            "trees": int(booster.tree_count_),
        },
    )


def _load(model: object) -> tuple[Any, dict[str, Any]]:
    if not isinstance(model, str | Path):
        if not model.is_fitted():  # type: ignore[attr-defined]
            raise SealRefused(f"the {type(model).__name__} is not fitted")
        return model, {"source": type(model).__name__}
    path = Path(model)
    try:
        raw = path.read_bytes()
    except OSError:
        raise NotFound(f"no model file at {path}") from None
    try:
        booster = catboost.CatBoost().load_model(blob=raw)
    except catboost.CatBoostError:
        raise SealRefused(f"{path.name} is not a model that catboost {catboost.__version__} reads") from None
    return booster, {"source": path.name, "source_sha256": hashlib.sha256(raw).hexdigest()}


def _export(booster: Any) -> bytes:
    with tempfile.TemporaryDirectory(prefix="scoreline-") as folder:
        path = Path(folder) / "model.onnx"
        try:
            booster.save_model(str(path), format="onnx")
        except catboost.CatBoostError:
            raise SealRefused(
                "CatBoost has no ONNX export of this model: train with grow_policy = SymmetricTree, and with classes "
                "that are texts or integers"
            ) from None
        return path.read_bytes()


def _scores(booster: Any, link: str, n_outputs: int, values: Floats) -> Floats:
    found = np.asarray(booster.predict(values, prediction_type=_PREDICTION[link], thread_count=1), np.float64)
    return found[:, 1:] if link == "sigmoid" else found.reshape(len(values), n_outputs)


def _takes_missing(scores: Any, n_features: int, position: int) -> bool:
    row = np.zeros((1, n_features))
    row[0, position] = math.nan
    try:
        scores(row)
    except catboost.CatBoostError:
        return False
    return True


def _names(names: Sequence[str]) -> tuple[str, ...]:
    """The features' names, empty where they were given none and are numbered."""
    return () if list(names) == [str(number) for number in range(len(names))] else tuple(names)
