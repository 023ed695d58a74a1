"""Pickles: nothing in one runs unless the trainer says that it is trusted; skops files hold what skops trusts."""

import pickle
from pathlib import Path
from typing import Any

import joblib
import pytest
import skops.io
import yaml

from lightgbm_models import small_lightgbm
from models import keys, opened
from scoreline.core.errors import NotFound, SealRefused
from scoreline.engines.load import load_engine
from scoreline.sealing import seal
from scoreline.sealing.seal import Sealed
from service import run_scoreline
from sklearn_models import RANGES, small_pipeline


class Canary:
    """A pickle that writes a file when it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.path, "sung")


def seal_here(folder: Path, model: object, rows: object, **options: Any) -> Sealed:
    settled = {"name": "m", "output": "score", "reference": rows, "key": keys(folder)[0], "schema": RANGES}
    return seal(model, **{**settled, "out": folder / "m-1", **options})


def mlflow_folder(folder: Path, flavor: str, key: str, name: str) -> Path:
    folder.mkdir()
    (folder / "MLmodel").write_text(yaml.safe_dump({"flavors": {flavor: {key: name}}}))
    return folder


@pytest.mark.parametrize("name", ["model.pkl", "model.joblib", "model.pickle", "mlflow"])
def test_nothing_in_a_pickle_runs_without_the_flag(tmp_path: Path, name: str) -> None:
    _, rows = small_pipeline("Ridge")
    canary, given = tmp_path / "canary", tmp_path / name
    path = mlflow_folder(given, "sklearn", "pickled_model", "model.pkl") / "model.pkl" if name == "mlflow" else given
    path.write_bytes(pickle.dumps(Canary(canary)))
    with pytest.raises(SealRefused, match=r"is a pickle, and nothing is unpickled.*--trust-pickle"):
        seal_here(tmp_path, given, rows)
    assert not canary.exists()
    with pytest.raises(SealRefused, match="nor a path to one"):  # it is trusted, runs, and is no model
        seal_here(tmp_path, given, rows, trust_pickle=True)
    assert canary.read_text() == "sung"


@pytest.mark.parametrize("name", ["model.pkl", "model.joblib", "mlflow"])
def test_a_trusted_pickle_is_sealed_as_the_pipeline_is(tmp_path: Path, name: str) -> None:
    model, rows = small_pipeline("LogisticRegression")
    given = tmp_path / name
    if name == "mlflow":
        path = mlflow_folder(given, "sklearn", "pickled_model", "model.pkl") / "model.pkl"
        path.write_bytes(pickle.dumps(model))
    elif name == "model.pkl":
        given.write_bytes(pickle.dumps(model))
    else:
        joblib.dump(model, given, compress=3)
    sealed = seal_here(tmp_path, given, rows, trust_pickle=True)
    assert sealed.manifest.lineage["source"] in (name, "model.pkl")
    assert len(sealed.manifest.lineage["source_sha256"]) == 64
    whole = seal_here(tmp_path, model, rows, out=tmp_path / "m-2")
    assert sealed.manifest.files["model.onnx"] == whole.manifest.files["model.onnx"]


def test_a_skops_file_holds_what_skops_trusts_or_needs_the_flag(tmp_path: Path) -> None:
    model, rows = small_pipeline("RandomForestClassifier")
    skops.io.dump(model, tmp_path / "model.skops")
    with pytest.raises(SealRefused, match=r"does not trust: .*sklearn\.tree\._tree\.Tree"):
        seal_here(tmp_path, tmp_path / "model.skops", rows)
    seal_here(tmp_path, tmp_path / "model.skops", rows, trust_pickle=True)


def test_a_skops_file_of_trusted_types_needs_no_flag(tmp_path: Path) -> None:
    from sklearn.linear_model import Ridge

    rows = small_pipeline("Ridge")[1][["b"]]
    skops.io.dump(Ridge().fit(rows, rows["b"]), tmp_path / "model.skops")
    seal_here(tmp_path, tmp_path / "model.skops", rows, schema={})
    assert load_engine(opened(tmp_path / "m-1")).predict(rows.to_numpy()).shape == (len(rows), 1)


def test_lightgbm_of_mlflow_may_be_skops(tmp_path: Path) -> None:
    import lightgbm

    _, rows = small_lightgbm()
    model = lightgbm.LGBMRegressor(n_estimators=3, verbosity=-1).fit(rows, rows["b"].fillna(0))
    folder = mlflow_folder(tmp_path / "logged", "lightgbm", "data", "model.skops")
    skops.io.dump(model, folder / "model.skops")
    with pytest.raises(SealRefused, match="does not trust"):
        seal_here(tmp_path, folder, rows, schema={})
    assert seal_here(tmp_path, folder, rows, schema={}, trust_pickle=True).manifest.engines[0].kind == "lightgbm"


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    _, rows = small_pipeline("Ridge")
    for name, said in (("model.pkl", "cannot be unpickled here"), ("model.skops", "cannot be read as skops")):
        (tmp_path / name).write_bytes(b"garbage")
        with pytest.raises(SealRefused, match=said):
            seal_here(tmp_path, tmp_path / name, rows, trust_pickle=True)
        (tmp_path / name).unlink()
        with pytest.raises(NotFound, match="no model file"):
            seal_here(tmp_path, tmp_path / name, rows, trust_pickle=True)


def test_the_command_takes_the_flag(tmp_path: Path) -> None:
    model, rows = small_pipeline("LogisticRegression")
    joblib.dump(model, tmp_path / "model.joblib")
    rows.to_parquet(tmp_path / "rows.parquet")
    keys(tmp_path)
    asked = [
        "seal",
        "model.joblib",
        "--name",
        "m",
        "--output",
        "p",
        "--reference",
        "rows.parquet",
        "--key",
        "signing.key",
    ]
    refused = run_scoreline(*asked, "--out", "m-1", cwd=tmp_path)
    assert (refused.returncode, refused.stderr.count("--trust-pickle")) == (1, 1)
    done = run_scoreline(*asked, "--out", "m-1", "--trust-pickle", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "of the trainer's own, no outcome flipped" in done.stdout
