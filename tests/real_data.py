"""The real motor policies, or a seeded stand-in with the same columns."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import xgboost
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from scoreline.sealing import seal
from scoreline.signing import generate_keys
from shared_data import shared_file

FILE = "ausprivauto0405.parquet"
FEATURES = ["Exposure", "VehValue", "VehAge", "VehBody", "Gender", "DrivAge"]
CATEGORIES = {
    "VehAge": ["old cars", "oldest cars", "young cars", "youngest cars"],
    "VehBody": [
        "Bus", "Convertible", "Coupe", "Hardtop", "Hatchback", "Minibus", "Motorized caravan", "Panel van",
        "Roadster", "Sedan", "Station wagon", "Truck", "Utility",
    ],
    "Gender": ["Female", "Male"],
    "DrivAge": [
        "old people", "older work. people", "oldest people", "working people", "young people", "youngest people",
    ],
}  # fmt: skip


def motor_policies() -> tuple[pd.DataFrame, str]:
    """67,856 policies, and `data: real` or `data: synthetic`."""
    found = shared_file(FILE)
    return (pd.read_parquet(found), "data: real") if found else (synthetic_policies(), "data: synthetic")


def synthetic_policies(n_rows: int = 67_856, seed: int = 2004) -> pd.DataFrame:
    """Policies with the columns, types and categories of the real ones, and claims that depend on them a little."""
    rng = np.random.default_rng(seed)
    exposure = rng.uniform(0.003, 1.0, n_rows)
    claims = rng.poisson(0.15 * exposure)
    categories = {
        name: pd.Categorical.from_codes(rng.integers(0, len(words), n_rows), words)
        for name, words in CATEGORIES.items()
    }
    return pd.DataFrame(
        {
            "Exposure": exposure,
            "VehValue": np.round(rng.gamma(2.2, 0.8, n_rows), 2),
            **categories,
            "ClaimOcc": (claims > 0).astype(np.int32),
            "ClaimNb": claims.astype(np.int32),
            "ClaimAmount": np.where(claims > 0, rng.lognormal(6.8, 1.2, n_rows), 0.0),
        }
    )


@dataclass(frozen=True)
class MotorModel:
    """A claim model trained with categories and sealed; the estimator and the rows it was trained on."""

    bundle: Path
    trust: Path
    estimator: Any
    rows: pd.DataFrame
    data: str


def sealed_motor_model(folder: Path) -> MotorModel:
    policies, data = motor_policies()
    rows = policies[FEATURES]
    estimator = xgboost.XGBClassifier(
        n_estimators=60, max_depth=5, learning_rate=0.2, enable_categorical=True, n_jobs=2, max_cat_to_onehot=4
    )
    estimator.fit(rows, policies["ClaimOcc"])
    generate_keys(folder / "signing.key", folder / "signing.pub")
    seal(
        estimator,
        name="motor",
        output="claim_probability",
        reference=rows,
        thresholds={"review": 0.1},
        key=folder / "signing.key",
        out=folder / "motor-1",
    )
    return MotorModel(folder / "motor-1", folder / "signing.pub", estimator, rows, data)


def raw_policies(rows: pd.DataFrame) -> pd.DataFrame:
    """Policies with their words as texts."""
    return rows.astype(dict.fromkeys(CATEGORIES, object))


def claim_pipeline(ending: str) -> Pipeline:
    """A pipeline on raw policies as people write it: numbers scaled, words encoded, a model at the end."""
    columns = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), ["Exposure", "VehValue"]),
            ("words", OneHotEncoder(handle_unknown="ignore"), list(CATEGORIES)),
        ]
    )
    endings: dict[str, Any] = {
        "linear": lambda: LogisticRegression(max_iter=500),
        "forest": lambda: RandomForestClassifier(30, max_depth=10, random_state=0, n_jobs=1),
        "xgboost": lambda: xgboost.XGBClassifier(n_estimators=60, max_depth=5, learning_rate=0.2, n_jobs=1),
        "lightgbm": lambda: lightgbm.LGBMClassifier(n_estimators=60, verbosity=-1, n_jobs=1),
    }
    return make_pipeline(columns, endings[ending]())
