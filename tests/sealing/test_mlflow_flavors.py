"""Folders that MLflow itself wrote, of every flavor that can be sealed and every way it keeps scikit-learn."""

from pathlib import Path
from typing import Any

import catboost
import mlflow.catboost
import mlflow.onnx
import mlflow.sklearn
import numpy as np
import pytest

from models import frame, keys, opened, targets
from onnx_models import network
from scoreline.core.errors import SealRefused
from scoreline.engines.load import load_engine
from scoreline.sealing import seal
from scoreline.sealing.seal import Sealed
from sklearn_models import RANGES, coded, small_pipeline


def seal_here(folder: Path, model: object, rows: object, **options: Any) -> Sealed:
    settled = {"name": "m", "output": "score", "reference": rows, "key": keys(folder)[0], "out": folder / "m-1"}
    return seal(model, **{**settled, **options})


@pytest.mark.parametrize("form", ["pickle", "cloudpickle", "skops"])
def test_a_pipeline_in_each_form(tmp_path: Path, form: str) -> None:
    model, rows = small_pipeline("LogisticRegression")
    trusted = {"skops_trusted_types": ["numpy.dtype"]} if form == "skops" else {}
    mlflow.sklearn.save_model(model, tmp_path / "logged", serialization_format=form, pip_requirements=[], **trusted)
    with pytest.raises(SealRefused, match="--trust-pickle"):
        seal_here(tmp_path, tmp_path / "logged", rows, schema=RANGES)
    seal_here(tmp_path, tmp_path / "logged", rows, schema=RANGES, trust_pickle=True)
    margins = load_engine(opened(tmp_path / "m-1")).predict(coded(rows))
    assert 1 / (1 + np.exp(-margins[:, 0])) == pytest.approx(model.predict_proba(rows)[:, 1], abs=1e-12)


def test_onnx(tmp_path: Path) -> None:
    mlflow.onnx.save_model(network(), tmp_path / "logged", pip_requirements=[], save_as_external_data=False)
    ranges = {name: {"range": [-100.0, 100.0]} for name in ("a", "b", "c")}
    rows = frame().fillna(0.0).clip(-100, 100)
    assert seal_here(tmp_path, tmp_path / "logged", rows, schema=ranges).manifest.engines[0].kind == "onnx-rows"


def test_catboost(tmp_path: Path) -> None:
    settings = {"iterations": 5, "verbose": 0, "allow_writing_files": False}
    model = catboost.CatBoostRegressor(**settings).fit(frame(), targets("reg:squarederror", frame()))
    mlflow.catboost.save_model(model, tmp_path / "logged", pip_requirements=[])
    assert seal_here(tmp_path, tmp_path / "logged", frame()).manifest.lineage["library"].startswith("catboost ")
