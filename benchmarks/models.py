"""The benchmark model: 100 trees of depth 6 on floats, sealed with a key of its own."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import xgboost

from scoreline.sealing import seal
from scoreline.signing import generate_keys


@dataclass(frozen=True, slots=True)
class BenchModel:
    """A sealed model, the library's own model file, and rows as values and as JSON bodies."""

    bundle: Path
    trust: Path
    library_file: Path
    values: "np.ndarray[tuple[int, int], np.dtype[np.float64]]"
    one: bytes
    many: bytes


def bench_model(folder: Path, n_columns: int, n_rows: int = 1000) -> BenchModel:
    """A binary model on `n_columns` normal floats rounded to six digits, as people send them."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    values = np.round(rng.normal(size=(20_000, n_columns)), 6)
    frame = pd.DataFrame(values, columns=[f"f{number}" for number in range(n_columns)])
    label = (values[:, :5].sum(axis=1) + rng.normal(size=len(values)) > 0).astype(int)
    booster = xgboost.train(
        {"objective": "binary:logistic", "max_depth": 6, "nthread": 2}, xgboost.DMatrix(frame, label), 100
    )
    booster.save_model(folder / "model.ubj")
    generate_keys(folder / "signing.key", folder / "signing.pub")
    seal(
        booster,
        name="fraud",
        output="fraud_probability",
        reference=frame,
        key=folder / "signing.key",
        out=folder / "fraud-1",
    )
    rows = [dict(zip(frame.columns, row, strict=True)) for row in values[:n_rows].tolist()]
    return BenchModel(
        bundle=folder / "fraud-1",
        trust=folder / "signing.pub",
        library_file=folder / "model.ubj",
        values=values[:n_rows],
        one=json.dumps(rows[0]).encode(),
        many=json.dumps(rows).encode(),
    )
