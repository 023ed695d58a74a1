"""Every kind of model that can be sealed, small, trained with fixed seeds, by the library it comes from."""

from collections.abc import Callable
from typing import Any

import catboost
import pandas as pd

from lightgbm_models import small_lightgbm
from models import OBJECTIVES, frame, small_model, targets
from onnx_models import network
from sklearn_models import ENDINGS, RANGES, small_pipeline

WIDE = {name: {"range": [-1000.0, 1000.0]} for name in ("a", "b", "c")}


def small_catboost(objective: str) -> tuple[object, Any]:
    labels = targets({"Logloss": "binary:logistic", "MultiClass": "multi:softprob"}[objective], frame()).astype(int)
    settings = {"iterations": 10, "loss_function": objective, "verbose": 0, "allow_writing_files": False}
    return catboost.CatBoost(settings).fit(frame(), labels), frame()


Make = Callable[[], tuple[object, Any]]
XGBOOST: dict[str, Make] = {
    **{f"xgboost {name}": (lambda name=name: small_model(name)) for name in OBJECTIVES},
    "xgboost dart": lambda: small_model(booster="dart", rate_drop=0.3),
    "xgboost gblinear": lambda: small_model(booster="gblinear"),
    "xgboost categories": lambda: small_model(categories=True),
    "xgboost vector leaves": lambda: small_model(
        "multi:softprob", multi_strategy="multi_output_tree", tree_method="hist"
    ),
}
LIGHTGBM: dict[str, Make] = {
    **{f"lightgbm {name}": (lambda name=name: small_lightgbm(name)) for name in ("binary", "multiclass", "poisson")},
    "lightgbm categories": lambda: small_lightgbm("regression", categories=True),
    "lightgbm linear trees": lambda: small_lightgbm("regression", linear_tree=True),
}
GRAPHS: dict[str, Make] = {
    "onnx": lambda: (network(), frame().fillna(0.0)),
    "onnx classes": lambda: (network(3, columns=True), frame().fillna(0.0)),
    "catboost": lambda: small_catboost("Logloss"),
    "catboost classes": lambda: small_catboost("MultiClass"),
}
PIPELINES: dict[str, Make] = {f"sklearn {kind}": (lambda kind=kind: small_pipeline(kind)) for kind in ENDINGS}
SAMPLES = {"xgboost": XGBOOST, "lightgbm": LIGHTGBM, "graphs": GRAPHS, "sklearn": PIPELINES}


def schema_of(rows: pd.DataFrame) -> dict[str, Any]:
    """What the schema of a sample says beyond its rows: ranges that hold more than they happen to."""
    return RANGES if "colour" in rows else WIDE
