"""What the soak serves: two versions of an XGBoost model, LightGBM, and a scikit-learn pipeline on words."""

from pathlib import Path
from typing import Any, Final

import lightgbm
import numpy as np
import pandas as pd
import xgboost
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from scoreline.sealing import seal
from scoreline.signing import generate_keys

COLUMNS: Final = [f"f{number}" for number in range(20)]
WORDS: Final = {"channel": "broker", "region": "north", "cover": "full"}


def seal_two(folder: Path) -> dict[str, float]:
    """Two versions of one model, 100 trees of depth 6 on 20 floats, in a folder registry; a row for them."""
    generate_keys(folder / "signing.key", folder / "signing.pub")
    for version in ("1", "2"):
        rng = np.random.default_rng(int(version))
        rows = pd.DataFrame(np.round(rng.normal(size=(5000, len(COLUMNS))), 6), columns=COLUMNS)
        matrix = xgboost.DMatrix(rows, (rows["f0"] + rng.normal(size=len(rows)) > 0).astype(int))
        booster = xgboost.train({"objective": "binary:logistic", "max_depth": 6, "nthread": 1}, matrix, 100)
        settings: dict[str, Any] = {"output": "p", "reference": rows, "key": folder / "signing.key"}
        seal(booster, name="fraud", version=version, out=folder / "bundles" / f"fraud-{version}", **settings)
    assign(folder, "1")
    seal_others(folder, rows)
    return dict(rows.iloc[0])


def seal_others(folder: Path, rows: pd.DataFrame) -> None:
    """LightGBM on the same fields, and a pipeline of scikit-learn on words."""
    rng = np.random.default_rng(3)
    label = (rows["f0"] + rng.normal(size=len(rows)) > 0).astype(int)
    settings: dict[str, Any] = {"version": "1", "output": "p", "key": folder / "signing.key"}
    booster = lightgbm.LGBMClassifier(n_estimators=100, n_jobs=1, verbosity=-1).fit(rows, label)
    seal(booster, name="risk", reference=rows, out=folder / "bundles" / "risk-1", **settings)
    words = pd.DataFrame({name: rng.choice([found, "other"], len(rows)) for name, found in WORDS.items()})
    model = make_pipeline(OneHotEncoder(), LogisticRegression()).fit(words, label)
    seal(model, name="claims", reference=words, out=folder / "bundles" / "claims-1", **settings)


def assign(folder: Path, version: str) -> None:
    temporary = folder / "champion"
    temporary.write_text(version)
    temporary.replace(folder / "bundles" / "fraud@champion")
