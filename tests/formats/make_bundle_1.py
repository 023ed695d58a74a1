"""Made the bundles of format 1 in this folder, each once: every later version must read them.

They are kept to be read, not to be made again: the private keys were thrown away. Run it for a new sample
(`python tests/formats/make_bundle_1.py FOLDER xgboost|lightgbm`), never over an old one.
"""

import json
import math
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import xgboost

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


def train(library: str, rows: pd.DataFrame) -> object:
    rng = np.random.default_rng(3)
    odds = rows["amount"] / 2500 + rows["repeat"] * 2 - rows["visits"] / 4 - 1.5
    labels = (rng.random(len(rows)) < 1 / (1 + np.exp(-odds))).astype(int)
    if library == "lightgbm":
        settings = {"objective": "binary", "num_leaves": 7, "num_threads": 1, "seed": 0, "verbosity": -1}
        return lightgbm.train(settings, lightgbm.Dataset(rows, labels), 12)
    matrix = xgboost.DMatrix(rows, labels, enable_categorical=True)
    return xgboost.train({"objective": "binary:logistic", "max_depth": 3, "nthread": 1, "seed": 0}, matrix, 6)


def main(folder: Path, library: str) -> None:
    rows = reference_rows()
    booster = train(library, rows)

    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as secret:
        private, public = Path(secret) / "signing.key", Path(secret) / "signing.pub"
        generate_keys(private, public)
        thresholds = {"review": 0.4, "decline": 0.7}
        seal(booster, name="fraud", output="fraud_probability", reference=rows, key=private, out=folder / "fraud-1",
             schema=FIELDS, thresholds=thresholds)  # fmt: skip
        shutil.copy(public, folder / "signing.pub")

    bundle = read_bundle(folder / "fraud-1", TrustStore.from_files([folder / "signing.pub"]))
    score = Scorer(bundle.manifest, load_engine(bundle))
    expected = []
    for row in asked_rows():
        (decision,) = score(read_rows(bundle.manifest.schema, [row], Context(0)))
        (margin,), (probability,) = decision.margins, decision.scores
        if probability == 1 / (1 + math.exp(-margin)):  # not a row on which one `exp` differs from another
            expected.append({"row": row, "margin": margin, "score": probability, "outcome": decision.outcome})
    found = {"digest": bundle.manifest.digest, "answers": expected[:40]}
    (folder / "expected.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    size = sum(file.stat().st_size for file in folder.rglob("*"))
    print(f"{folder}: {size:,} bytes, {len(found['answers'])} answers, of {len(expected)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
