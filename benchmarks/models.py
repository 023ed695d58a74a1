"""The benchmark models: 100 trees of depth 6 on floats, and behind a pipeline on raw columns; each with its own key."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xgboost
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from scoreline.core.link import Floats
from scoreline.sealing import seal
from scoreline.signing import generate_keys


@dataclass(frozen=True, slots=True)
class BenchModel:
    """A sealed model, the library's own model file, and rows as values and as JSON bodies."""

    bundle: Path
    trust: Path
    library_file: Path
    values: Floats
    one: bytes
    many: bytes


def bench_model(folder: Path, n_columns: int, n_rows: int = 1000, **options: Any) -> BenchModel:
    """A binary model on `n_columns` normal floats rounded to six digits, as people send them; `options` of `seal`."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    values = np.round(rng.normal(size=(20_000, n_columns)), 6)
    frame = pd.DataFrame(values, columns=[f"f{number}" for number in range(n_columns)])
    label = (values[:, :5].sum(axis=1) + rng.normal(size=len(values)) > 0).astype(int)
    booster = xgboost.train(
        {"objective": "binary:logistic", "max_depth": 6, "nthread": 2}, xgboost.DMatrix(frame, label), 100
    )
    booster.save_model(folder / "model.ubj")
    return _sealed(folder, booster, frame, values[:n_rows], **options)


def pipeline_model(folder: Path, n_rows: int = 1000) -> BenchModel:
    """The same trees at the end of a pipeline: 12 floats, imputed and scaled, and 8 words of 6 each, one-hot."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    numbers = {f"f{number}": np.round(rng.normal(size=20_000), 6) for number in range(12)}
    words = {
        f"w{number}": rng.choice(["red", "green", "blue", "black", "white", "grey"], 20_000) for number in range(8)
    }
    frame = pd.DataFrame({**numbers, **words})
    label = (frame["f0"] + frame["f1"] + (frame["w0"] == "red") * 2 + rng.normal(size=len(frame)) > 0).astype(int)
    columns = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), list(numbers)),
            ("words", OneHotEncoder(handle_unknown="ignore"), list(words)),
        ]
    )
    model = make_pipeline(columns, xgboost.XGBClassifier(n_estimators=100, max_depth=6, n_jobs=2)).fit(frame, label)
    model[-1].save_model(folder / "model.ubj")
    ranges = {name: {"range": [-1e6, 1e6]} for name in numbers}
    return _sealed(folder, model, frame, np.column_stack(list(numbers.values()))[:n_rows], schema=ranges)


def _sealed(folder: Path, model: object, frame: pd.DataFrame, values: Floats, **options: Any) -> BenchModel:
    generate_keys(folder / "signing.key", folder / "signing.pub")
    seal(
        model,
        name="fraud",
        output="fraud_probability",
        reference=frame,
        key=folder / "signing.key",
        out=folder / "fraud-1",
        **options,
    )
    rows = frame[: len(values)].to_dict("records")
    return BenchModel(
        bundle=folder / "fraud-1",
        trust=folder / "signing.pub",
        library_file=folder / "model.ubj",
        values=values,
        one=json.dumps(rows[0]).encode(),
        many=json.dumps(rows).encode(),
    )
