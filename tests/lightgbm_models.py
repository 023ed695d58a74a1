"""Small LightGBM models on the rows of `models.frame`."""

from typing import Any

import lightgbm
import numpy as np
import pandas as pd

from models import frame, targets

KIN = {"binary": "binary:logistic", "cross_entropy": "reg:logistic", "poisson": "count:poisson", "gamma": "reg:gamma"}
KIN |= {"multiclass": "multi:softprob", "multiclassova": "multi:softprob", "tweedie": "reg:tweedie"}


def train_lightgbm(
    rows: pd.DataFrame, objective: str = "binary", rounds: int = 8, **parameters: Any
) -> lightgbm.Booster:
    """A booster on these rows and the labels of the objective."""
    labels = targets(KIN.get(objective, "reg:squarederror"), rows)
    settings: dict[str, Any] = {"objective": objective, "num_threads": 1, "verbosity": -1, "num_leaves": 7, "seed": 1}
    settings |= {"min_data_in_leaf": 5, "bagging_fraction": 0.8, **parameters}
    if objective.startswith("multiclass"):
        settings["num_class"] = 3
    return lightgbm.train(settings, lightgbm.Dataset(rows, np.abs(labels) if objective == "mape" else labels), rounds)


def small_lightgbm(
    objective: str = "binary", *, categories: bool = False, **parameters: Any
) -> tuple[lightgbm.Booster, pd.DataFrame]:
    """A booster of a few trees and the rows it was trained on."""
    rows = frame(categories=categories)
    return train_lightgbm(rows, objective, **parameters), rows
