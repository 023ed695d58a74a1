"""Made the bundles of format 1 in this folder, each once: every later version must read them.

They are kept to be read, not to be made again: the private keys were thrown away. Run it for a new sample
(`python tests/formats/make_bundle_1.py FOLDER KIND`), never over an old one. KIND is xgboost, lightgbm, onnx, catboost,
or a pipeline of scikit-learn by its end: sklearn-linear, sklearn-forest, sklearn-xgboost, sklearn-lightgbm.
"""

import json
import math
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import catboost
import lightgbm
import numpy as np
import onnx
import pandas as pd
import xgboost
from onnx import TensorProto, helper, numpy_helper
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from scoreline.core.batch import Context
from scoreline.core.bundle import read_bundle
from scoreline.core.rows import read_rows
from scoreline.core.scorer import Scorer
from scoreline.engines.load import load_engine
from scoreline.sealing import seal
from scoreline.signing import TrustStore, generate_keys

COUNTRIES = ["at", "de", "größer", "uk"]
FIELDS: dict[str, dict[str, Any]] = {
    "amount": {"unit": "EUR", "range": [0.0, 100_000.0], "description": "Amount claimed", "reason": "a high amount"},
    "age_days": {"type": "integer", "range": [0.0, math.inf], "unit": "days", "default": 365},
    "country": {"default": "de", "unseen": "missing", "sensitive": True},
    "repeat": {"default": False},
    "distance": {"unit": "km", "nullable": True, "default": math.nan},
    "visits": {"type": "number", "source": "store", "default": 2.0},
}


def reference_rows() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    n = 400
    return pd.DataFrame(
        {
            "amount": rng.gamma(2.0, 2000.0, n).clip(0, 99_999).round(2),
            "age_days": rng.integers(0, 3000, n),
            "country": pd.Categorical(["at"] * n, categories=COUNTRIES),  # no tree splits on it: the twin exists
            "repeat": rng.random(n) < 0.2,
            "distance": np.where(rng.random(n) < 0.2, np.nan, rng.gamma(2.0, 10.0, n).round(3)),
            "visits": rng.integers(0, 9, n).astype(float),
        }
    )


def asked_rows() -> list[dict[str, Any]]:
    """Rows as callers write them: whole, with defaults, with null, with a country never seen."""
    rng = np.random.default_rng(2)
    rows: list[dict[str, Any]] = [{"amount": 5000.0}, {"amount": 0, "distance": None, "country": "nowhere"}]
    for _ in range(200):
        rows.append(  # noqa: PERF401
            {
                "amount": round(float(rng.gamma(2.0, 2500.0)), 2),
                "age_days": int(rng.integers(0, 3000)),
                "country": COUNTRIES[rng.integers(0, 4)],
                "repeat": bool(rng.random() < 0.3),
                "distance": None if rng.random() < 0.3 else round(float(rng.gamma(2.0, 10.0)), 3),
            }
        )
    return rows


def pipeline(ending: Any) -> Any:
    """On the raw columns: country is text, distance is imputed."""
    encoder = OneHotEncoder(handle_unknown="ignore")
    distance = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
    columns = [("country", encoder, ["country"]), ("distance", distance, ["distance"])]
    return make_pipeline(ColumnTransformer(columns, remainder="passthrough"), ending)


PIPELINES: dict[str, Any] = {
    "sklearn-linear": lambda: pipeline(LogisticRegression(max_iter=5000)),
    "sklearn-forest": lambda: pipeline(RandomForestClassifier(8, max_depth=4, random_state=0)),
    "sklearn-xgboost": lambda: pipeline(xgboost.XGBClassifier(n_estimators=6, max_depth=3, n_jobs=1)),
    "sklearn-lightgbm": lambda: pipeline(lightgbm.LGBMClassifier(n_estimators=9, num_leaves=7, n_jobs=1, verbosity=-1)),
}


def graph() -> onnx.ModelProto:
    """One layer over all columns but the country, which goes row by row; what is missing counts as zero."""
    weights = np.array([[4e-4], [1e-4], [2.0], [1e-2], [-0.25]], np.float32)
    nodes = [
        helper.make_node("IsNaN", ["rows"], ["missing"]),
        helper.make_node("Where", ["missing", "zero", "rows"], ["whole"]),
        helper.make_node("Gemm", ["whole", "weights", "bias"], ["raw"]),
        helper.make_node("Sigmoid", ["raw"], ["p"]),
    ]
    tensors = {"weights": weights, "bias": np.array([-1.5], np.float32), "zero": np.zeros(1, np.float32)}
    rows = helper.make_tensor_value_info("rows", TensorProto.FLOAT, [None, len(weights)])
    answer = helper.make_tensor_value_info("p", TensorProto.FLOAT, [None, 1])
    kept = [numpy_helper.from_array(values, name) for name, values in tensors.items()]
    made = helper.make_graph(nodes, "network", [rows], [answer], kept)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def train(library: str, rows: pd.DataFrame) -> object:
    rng = np.random.default_rng(3)
    odds = rows["amount"] / 2500 + rows["repeat"] * 2 - rows["visits"] / 4 - 1.5
    labels = (rng.random(len(rows)) < 1 / (1 + np.exp(-odds))).astype(int)
    if library in PIPELINES:
        return PIPELINES[library]().fit(rows, labels)
    if library == "catboost":
        settings = {"iterations": 12, "depth": 3, "verbose": 0, "allow_writing_files": False, "random_seed": 0}
        return catboost.CatBoostClassifier(**settings).fit(rows, labels)
    if library == "onnx":
        return graph()
    if library == "lightgbm":
        settings = {"objective": "binary", "num_leaves": 7, "num_threads": 1, "seed": 0, "verbosity": -1}
        return lightgbm.train(settings, lightgbm.Dataset(rows, labels), 12)
    matrix = xgboost.DMatrix(rows, labels, enable_categorical=True)
    return xgboost.train({"objective": "binary:logistic", "max_depth": 3, "nthread": 1, "seed": 0}, matrix, 6)


def main(folder: Path, library: str) -> None:
    rows, fields, asked = reference_rows(), FIELDS, asked_rows()
    if library in PIPELINES:
        rows["country"] = np.random.default_rng(4).choice(COUNTRIES, len(rows))
    if library in ("onnx", "catboost"):  # neither takes categories
        rows = rows.drop(columns="country")
        fields = {name: settings for name, settings in FIELDS.items() if name != "country"}
        asked = [{name: value for name, value in row.items() if name != "country"} for row in asked]
    model = train(library, rows)

    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as secret:
        private, public = Path(secret) / "signing.key", Path(secret) / "signing.pub"
        generate_keys(private, public)
        thresholds = {"review": 0.4, "decline": 0.7}
        seal(model, name="fraud", output="fraud_probability", reference=rows, key=private, out=folder / "fraud-1",
             schema=fields, thresholds=thresholds)  # fmt: skip
        shutil.copy(public, folder / "signing.pub")

    bundle = read_bundle(folder / "fraud-1", TrustStore.from_files([folder / "signing.pub"]))
    score = Scorer(bundle.manifest, load_engine(bundle))
    expected = []
    for row in asked:
        (decision,) = score(read_rows(bundle.manifest.schema, [row], Context(0)))
        (margin,), (probability,) = decision.margins, decision.scores
        if probability in (margin, 1 / (1 + math.exp(-margin))):  # not a row on which one `exp` differs from another
            expected.append({"row": row, "margin": margin, "score": probability, "outcome": decision.outcome})
    found = {"digest": bundle.manifest.digest, "answers": expected[:40]}
    (folder / "expected.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    size = sum(file.stat().st_size for file in folder.rglob("*"))
    print(f"{folder}: {size:,} bytes, {len(found['answers'])} answers, of {len(expected)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
