"""A small model that takes some of its fields from a feature store, and a store to take them from."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xgboost

from scoreline.core.ports import FeatureRow
from scoreline.sealing import seal
from scoreline.signing import generate_keys
from service import SealedModel

NOW_NS = 1_790_000_000_000_000_000
DAY_NS = 86_400 * 10**9
FIELDS: dict[str, dict[str, Any]] = {
    "amount": {"range": [0.0, 1000.0]},
    "visits": {"type": "integer", "source": "store", "default": 3},
    "ratio": {"source": "store", "default": 0.5, "view": "ratios", "feature": "r"},
}
DEFAULTS = {"visits": 3, "ratio": 0.5}


def seal_stored(folder: Path, version: str = "1", **changed: dict[str, Any]) -> SealedModel:
    """risk: an amount that callers send, two features of a `customer`; `changed` fields come on top, as columns too."""
    fields = FIELDS | changed
    rng = np.random.default_rng(int(version))
    ranges = {"amount": (0.0, 1000.0), "visits": (0.0, 40.0), "ratio": (0.0, 1.0)}
    rows = pd.DataFrame({name: rng.uniform(*ranges.get(name, (0.0, 10.0)), 500) for name in fields})
    rows["visits"] = rows["visits"].astype(int)
    label = rows["amount"] / 500 + rows["visits"] / 20 + rows["ratio"] * 2 + sum(rows[name] / 5 for name in changed)
    options = {"objective": "binary:logistic", "max_depth": 4, "nthread": 1}
    booster = xgboost.train(options, xgboost.DMatrix(rows, (label > label.median()).astype(int)), 20)
    private, public = folder / "signing.key", folder / "signing.pub"
    if not private.exists():
        generate_keys(private, public)
    target = folder / f"risk-{version}"
    seal(booster, name="risk", output="risk", reference=rows, key=private, out=target, schema=fields, entity="customer")
    return SealedModel(target, private, public)


def rows_of(n: int, time_ns: int = NOW_NS) -> dict[str, list[FeatureRow]]:
    """What the two views know of `c0`, `c1`, ...: other values for each."""
    return {
        "customer": [FeatureRow(f"c{at}", time_ns, {"visits": at % 40}) for at in range(n)],
        "ratios": [FeatureRow(f"c{at}", time_ns, {"r": at % 10 / 10}) for at in range(n)],
    }
