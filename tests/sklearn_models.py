"""Small scikit-learn pipelines on raw columns, trained with fixed seeds."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import lightgbm
import numpy as np
import pandas as pd
import xgboost
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import ElasticNet, Lasso, LinearRegression, LogisticRegression, PoissonRegressor, Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.tree import DecisionTreeRegressor

from models import Array

RANGES: Final = {"a": {"range": [-1e6, 1e6]}, "b": {"range": [0.0, 1e6]}}
ENDINGS: Final[Mapping[str, Callable[[], Any]]] = {
    "LogisticRegression": lambda: LogisticRegression(max_iter=500),
    "LogisticRegression classes": lambda: LogisticRegression(max_iter=500),
    "LinearRegression": LinearRegression,
    "Ridge": Ridge,
    "Lasso": lambda: Lasso(alpha=0.01),
    "ElasticNet": lambda: ElasticNet(alpha=0.01),
    "PoissonRegressor": PoissonRegressor,
    "DecisionTreeRegressor": lambda: DecisionTreeRegressor(random_state=0),
    "RandomForestClassifier": lambda: RandomForestClassifier(20, random_state=0),
    "RandomForestClassifier classes": lambda: RandomForestClassifier(10, random_state=0),
    "RandomForestRegressor": lambda: RandomForestRegressor(10, random_state=0),
    "ExtraTreesClassifier": lambda: ExtraTreesClassifier(10, random_state=0),
    "GradientBoostingClassifier": lambda: GradientBoostingClassifier(n_estimators=20, random_state=0),
    "GradientBoostingClassifier classes": lambda: GradientBoostingClassifier(n_estimators=10, random_state=0),
    "GradientBoostingRegressor": lambda: GradientBoostingRegressor(n_estimators=20, random_state=0),
    "HistGradientBoostingClassifier": lambda: HistGradientBoostingClassifier(max_iter=20),
    "HistGradientBoostingClassifier classes": lambda: HistGradientBoostingClassifier(max_iter=10),
    "HistGradientBoostingRegressor": lambda: HistGradientBoostingRegressor(max_iter=20, loss="poisson"),
    "XGBClassifier": lambda: xgboost.XGBClassifier(n_estimators=10, n_jobs=1),
    "XGBClassifier classes": lambda: xgboost.XGBClassifier(n_estimators=5, n_jobs=1),
    "XGBRegressor": lambda: xgboost.XGBRegressor(n_estimators=10, n_jobs=1),
    "LGBMClassifier": lambda: lightgbm.LGBMClassifier(n_estimators=10, n_jobs=1, verbosity=-1),
    "LGBMClassifier classes": lambda: lightgbm.LGBMClassifier(n_estimators=5, n_jobs=1, verbosity=-1),
    "LGBMRegressor": lambda: lightgbm.LGBMRegressor(n_estimators=10, n_jobs=1, verbosity=-1),
}


def raw_rows(n_rows: int = 400, seed: int = 0) -> pd.DataFrame:
    """Numbers `a` (some missing) and `b`, words `colour` and (some missing) `size`, and a whole-numbered `zone`."""
    rng = np.random.default_rng(seed)
    found = pd.DataFrame(
        {
            "a": rng.normal(size=n_rows) * 10,
            "b": rng.exponential(size=n_rows),
            "colour": rng.choice(["red", "green", "größer"], n_rows),
            "size": rng.choice(["small", "large"], n_rows).astype(object),
            "zone": rng.choice([3, 7, 12], n_rows),
        }
    )
    found.loc[rng.random(n_rows) < 0.1, "a"] = np.nan
    found.loc[rng.random(n_rows) < 0.1, "size"] = np.nan
    return found


def labels(kind: str, rows: pd.DataFrame) -> Array:
    rng = np.random.default_rng(7)
    signal = rows["a"].fillna(0.0) / 10 + (rows["colour"] == "red") * 1.5 + (rows["size"] == "large") + rows["zone"] / 9
    signal = (signal + rng.normal(size=len(rows)) * 0.3).to_numpy()
    if kind.endswith("classes"):
        return np.digitize(signal, [0.8, 2.0])
    return (signal > 1.5).astype(int) if "Classifier" in kind or "Logistic" in kind else np.exp(signal.clip(-3, 3))


def preprocessing(*, sparse: bool = False) -> ColumnTransformer:
    """Every column has a missing value and (but `size`) a word never seen in it that the pipeline takes."""
    numbers = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    sizes = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(drop="first", sparse_output=sparse))
    return ColumnTransformer(
        [
            ("numbers", numbers, ["a", "b"]),
            ("colour", OneHotEncoder(handle_unknown="ignore", sparse_output=sparse), ["colour"]),
            ("size", sizes, ["size"]),
            ("zone", OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), ["zone"]),
        ],
        sparse_threshold=1.0 if sparse else 0.0,
    )  # fmt: skip


def small_pipeline(kind: str, *, sparse: bool = False, seed: int = 0) -> tuple[Pipeline, pd.DataFrame]:
    """A fitted pipeline that ends in `kind`, and the rows it was fitted on."""
    rows = raw_rows(seed=seed)
    model = make_pipeline(preprocessing(sparse=sparse), ENDINGS[kind]())
    return model.fit(rows, labels(kind, rows)), rows


def coded(rows: pd.DataFrame) -> Array:
    """Raw rows as the schema holds them: words as their place in the encoders' sorted lists."""
    words = {"colour": ["green", "größer", "red"], "size": ["large", "small"], "zone": [3, 7, 12]}
    columns = [pd.Categorical(rows[name], words[name]).codes if name in words else rows[name] for name in rows]
    found = np.column_stack([np.asarray(column, dtype=np.float64) for column in columns])
    found[:, 2:][found[:, 2:] == -1] = np.nan
    return found
