"""One small real model with a field of every kind, sealed once, and input files for it."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import xgboost

from scoreline.core.batch import Context
from scoreline.core.bundle import Bundle, read_bundle
from scoreline.core.decision import Decision
from scoreline.core.manifest import Manifest
from scoreline.core.rows import read_rows
from scoreline.core.scorer import Scorer
from scoreline.doors.batch import BatchReport, run_batch
from scoreline.engines.load import load_engine
from scoreline.sealing import seal
from scoreline.signing import TrustStore, generate_keys

PLANS = ["basic", "plus", "pro"]
FIELDS: dict[str, dict[str, Any]] = {
    "amount": {"type": "number", "range": [0.0, 1000.0], "unit": "EUR"},
    "age": {"type": "integer", "range": [0.0, 130.0], "nullable": True},
    "member": {"type": "boolean"},
    "plan": {"type": "category", "categories": PLANS, "nullable": True},
    "visits": {"type": "number", "source": "store", "default": 3.0},
}


@dataclass(frozen=True)
class Model:
    """A sealed model: its folder, and how to score with it."""

    folder: Path
    public_key: Path

    @cached_property
    def bundle(self) -> Bundle:
        return read_bundle(self.folder, TrustStore.from_files([self.public_key]))

    @property
    def manifest(self) -> Manifest:
        return self.bundle.manifest

    @cached_property
    def scorer(self) -> Scorer:
        return Scorer(self.manifest, load_engine(self.bundle))

    def run(self, source: Path, target: Path, **options: Any) -> BatchReport:
        return run_batch(self.scorer, self.manifest, source, target, **options)

    def decide(self, row: dict[str, Any]) -> Decision:
        """The decision on one row alone, by the reference reader; raises RowsRefused."""
        return self.scorer(read_rows(self.manifest.schema, [row], Context(0)))[0]


def good_rows(n_rows: int, seed: int = 0) -> pa.Table:
    """Rows that pass the schema, with an id; `visits` is left to its default."""
    rng = np.random.default_rng(seed)
    age = rng.integers(0, 100, n_rows)
    plan = rng.integers(0, 4, n_rows)
    found = {
        "id": [f"id-{number}" for number in range(n_rows)],
        "amount": rng.uniform(0, 1000, n_rows).round(2),
        "age": pa.array(age, mask=age < 5),
        "member": rng.integers(0, 2, n_rows).astype(bool),
        "plan": [[*PLANS, None][code] for code in plan],
    }
    return pa.table(found)


def write(table: pa.Table, path: Path) -> Path:
    """The table as a file of the format its suffix says."""
    if path.suffix == ".parquet":
        pq.write_table(table, path, row_group_size=97)
    elif path.suffix == ".csv":
        pa.csv.write_csv(table, path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))
    return path


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of a file of any format, texts of CSV as numbers where they are some."""
    if path.suffix == ".parquet":
        found: list[dict[str, Any]] = pq.read_table(path).to_pylist()
        return found
    if path.suffix == ".csv":
        options = pa.csv.ConvertOptions(column_types={"score": pa.float64(), "id": pa.string()})
        rows: list[dict[str, Any]] = pa.csv.read_csv(path, convert_options=options).to_pylist()
        return rows
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="session")
def files() -> SimpleNamespace:
    """The helpers above, for the tests of this folder."""
    return SimpleNamespace(good_rows=good_rows, write=write, read=read)


@pytest.fixture(scope="session")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Model]:
    """Seals a model of the fields above; with three classes or with thresholds."""
    folder = tmp_path_factory.mktemp("sealed")
    generate_keys(folder / "key", folder / "key.pub")

    def make(name: str, **options: Any) -> Model:
        rng = np.random.default_rng(1)
        table = good_rows(300).drop_columns("id").append_column("visits", pa.array(rng.uniform(0, 9, 300)))
        codes = [np.nan if plan is None else PLANS.index(plan) for plan in table["plan"].to_pylist()]
        values = np.column_stack(
            [
                table["amount"],
                table["age"].to_numpy(),
                table["member"].to_numpy().astype(float),
                codes,
                table["visits"],
            ]
        )
        classes = len(options.get("classes", "")) or 2
        labels = (values[:, 0] / 1000 + rng.uniform(0, 1, 300)) * classes // 2
        objective = (
            {"objective": "multi:softprob", "num_class": 3} if classes == 3 else {"objective": "binary:logistic"}
        )
        matrix = xgboost.DMatrix(
            values,
            np.minimum(labels, classes - 1),
            feature_names=list(FIELDS),
            feature_types=["q", "int", "i", "c", "q"],
            enable_categorical=True,
        )
        booster = xgboost.train({**objective, "max_depth": 3, "nthread": 1}, matrix, 8)
        seal(booster, name=name, output="score", reference=table, key=folder / "key", out=folder / name,
             schema=FIELDS, entity="who", **options)  # fmt: skip
        return Model(folder / name, folder / "key.pub")

    return make


@pytest.fixture(scope="session")
def model(sealed: Callable[..., Model]) -> Model:
    return sealed("risk", thresholds={"review": 0.4, "refuse": 0.7})


@pytest.fixture(scope="session")
def three_classes(sealed: Callable[..., Model]) -> Model:
    return sealed("kinds", classes=["low", "mid", "high"])
