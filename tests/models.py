"""Small models, trained with fixed seeds, and what tests do with them: plain functions for tests of every layer."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xgboost

from scoreline.core.bundle import SIGNATURE, Bundle, read_bundle
from scoreline.core.manifest import MANIFEST, EngineSpec, Manifest, canonical_json
from scoreline.core.schema import Field, Schema
from scoreline.sealing import seal
from scoreline.sealing.sign import sign_folder
from scoreline.signing import TrustStore, generate_keys

Array = npt.NDArray[np.float64]

WORDS = ["red", "green", "blue"]
OBJECTIVES = (
    "binary:logistic",
    "binary:logitraw",
    "multi:softprob",
    "multi:softmax",
    "reg:squarederror",
    "count:poisson",
    "reg:gamma",
    "reg:tweedie",
    "reg:logistic",
    "reg:absoluteerror",
    "reg:pseudohubererror",
    "reg:squaredlogerror",
)


def keys(folder: Path) -> tuple[Path, Path]:
    """The private and public key of a folder, made on first use."""
    private, public = folder / "signing.key", folder / "signing.pub"
    if not private.exists():
        generate_keys(private, public)
    return private, public


def frame(n_rows: int = 300, seed: int = 0, *, categories: bool = False) -> pd.DataFrame:
    """Columns `a` and `b` with missing values, a whole-numbered `c`, and with `categories` a pandas category `k`."""
    rng = np.random.default_rng(seed)
    found = pd.DataFrame(
        {
            "a": rng.normal(size=n_rows) * 10,
            "b": rng.exponential(size=n_rows),
            "c": rng.integers(0, 50, n_rows).astype(float),
        }
    )
    found.loc[rng.random(n_rows) < 0.1, "a"] = np.nan
    found.loc[rng.random(n_rows) < 0.05, "b"] = np.nan
    if categories:
        codes = rng.integers(-1, len(WORDS), n_rows)
        found["k"] = pd.Categorical.from_codes(codes, WORDS)
    return found


def targets(objective: str, rows: pd.DataFrame, seed: int = 0) -> Array:
    """Labels that an objective takes, which depend on the rows and some noise."""
    rng = np.random.default_rng(seed)
    signal = rows["a"].fillna(0.0).to_numpy() / 10 + rows["c"].to_numpy() / 25 - 1
    if "k" in rows:
        signal = signal + (rows["k"] == "green").to_numpy() * 1.5
    signal = signal + rng.normal(size=len(rows)) * 0.3
    if objective.startswith("binary"):
        return (signal > 0).astype(float)
    if objective.startswith("multi"):
        return np.digitize(signal, [-0.5, 0.8]).astype(float)
    if objective == "reg:logistic":
        return 1 / (1 + np.exp(-signal))
    if objective in ("count:poisson", "reg:tweedie"):
        return rng.poisson(np.exp(signal.clip(-2, 2))).astype(float)
    if objective in ("reg:gamma", "reg:squaredlogerror"):
        return np.exp(signal.clip(-2, 2))
    return signal


def train(
    rows: pd.DataFrame, objective: str = "binary:logistic", rounds: int = 8, **parameters: Any
) -> xgboost.Booster:
    """A booster on these rows and the labels of the objective."""
    settings: dict[str, Any] = {"objective": objective, "nthread": 1, "seed": 1, **parameters}
    if settings.get("booster") != "gblinear":
        settings = {"max_depth": 3, **settings}
    if objective.startswith("multi"):
        settings["num_class"] = 3
    matrix = xgboost.DMatrix(rows, targets(objective, rows), enable_categorical=True)
    return xgboost.train(settings, matrix, rounds)


def small_model(
    objective: str = "binary:logistic", *, categories: bool = False, **parameters: Any
) -> tuple[xgboost.Booster, pd.DataFrame]:
    """A booster of a few trees and the rows it was trained on."""
    rows = frame(categories=categories)
    return train(rows, objective, **parameters), rows


def sealed_bundle(
    folder: Path,
    objective: str = "binary:logistic",
    *,
    name: str = "m",
    version: str = "1",
    categories: bool = False,
    parameters: Mapping[str, Any] | None = None,
    **options: Any,
) -> Path:
    """The folder of a sealed small model, `folder/NAME-VERSION`, signed with `keys(folder)`."""
    booster, rows = small_model(objective, categories=categories, **(parameters or {}))
    private, _ = keys(folder)
    given = {"reference": rows, "key": private, "out": folder / f"{name}-{version}", "version": version, **options}
    return seal(booster, name=name, output="score", **given).path


def trust(folder: Path) -> TrustStore:
    """A store that trusts the key of a folder."""
    return TrustStore.from_files([keys(folder)[1]])


def opened(path: Path) -> Bundle:
    """The verified bundle in a folder, signed with the key of the folder around it."""
    return read_bundle(path, trust(path.parent))


def sign_again(path: Path) -> None:
    """Signs what now is in a bundle's folder with the key of the folder around it."""
    (path / SIGNATURE).unlink(missing_ok=True)
    sign_folder(path, keys(path.parent)[0])


def edit(path: Path, file: str, change: Callable[[Any], object]) -> None:
    """Changes one JSON file of a bundle as its owner could: listed in the manifest, and signed again."""
    manifest = json.loads((path / MANIFEST).read_bytes())
    if file == MANIFEST:
        change(manifest)
    else:
        found = json.loads((path / file).read_bytes())
        change(found)
        raw = canonical_json(found)
        (path / file).write_bytes(raw)
        manifest["files"][file] = hashlib.sha256(raw).hexdigest()
    (path / MANIFEST).write_bytes(canonical_json(manifest))
    sign_again(path)


def rewrite(path: Path, name: str, change: Callable[[bytes], bytes]) -> None:
    """Changes the bytes of one file as its owner could: listed in the manifest, and signed again."""
    raw = change((path / name).read_bytes())
    (path / name).write_bytes(raw)
    if name != MANIFEST:
        manifest = (path / MANIFEST).read_bytes()
        old = json.loads(manifest)["files"][name]
        (path / MANIFEST).write_bytes(manifest.replace(old.encode(), hashlib.sha256(raw).hexdigest().encode()))
    sign_again(path)


def misdirect(path: Path) -> None:
    """Sends the root of a sealed XGBoost model's trees to a child far outside of its nodes, and signs that."""
    file = path / "model.ubj"
    before, marker, after = file.read_bytes().partition(b"left_children[$l#L")
    first = len(before) + len(marker) + 8  # after the number of values, an int64
    raw = bytearray(before + marker + after)
    raw[first : first + 4] = (1 << 28).to_bytes(4, "big")
    file.write_bytes(raw)
    manifest = json.loads((path / MANIFEST).read_bytes())
    manifest["engines"] = [engine for engine in manifest["engines"] if engine["kind"] == "xgboost"]
    manifest["files"]["model.ubj"] = hashlib.sha256(raw).hexdigest()
    (path / MANIFEST).write_bytes(canonical_json(manifest))
    sign_again(path)


def plain_manifest(**changed: Any) -> Manifest:
    """A manifest of two numbers, valid but of no real model."""
    given: dict[str, Any] = {
        "name": "plain",
        "version": "1",
        "output": "score",
        "link": "sigmoid",
        "outputs": 1,
        "schema": Schema((Field("a", "number"), Field("b", "number", default=2.0))),
        "engines": (EngineSpec("xgboost", "model.ubj"),),
        "files": {"model.ubj": "0" * 64},
    }
    return Manifest(**{**given, **changed})


class AnyVerifier:
    """Trusts every signature: for tests of what comes after it. A `core.ports.Verifier`."""

    def verify(self, signature: bytes, digests: dict[str, str]) -> str:
        return "trusted"


class SumEngine:
    """Answers the sum of a row as its only margin. A `core.ports.Engine`."""

    name = "sum 1.0"

    def predict(self, values: Array) -> Array:
        return values.sum(axis=1, keepdims=True)

    def contributions(self, values: Array) -> None:
        """None: a sum has no library."""


def library_margins(booster: xgboost.Booster, values: Array) -> Array:
    """The margins of the trainer's own library on coded rows, float64 (n_rows, n_outputs)."""
    found = booster.predict(_matrix(booster, values), output_margin=True)
    return np.asarray(found, dtype=np.float64).reshape(len(values), -1)


def library_scores(booster: xgboost.Booster, values: Array) -> npt.NDArray[np.float32]:
    """The scores of the trainer's own library on coded rows, float32 (n_rows, n_outputs)."""
    return np.asarray(booster.predict(_matrix(booster, values))).reshape(len(values), -1)


def _matrix(booster: xgboost.Booster, values: Array) -> xgboost.DMatrix:
    return xgboost.DMatrix(
        values,
        feature_names=booster.feature_names,
        feature_types=booster.feature_types,
        enable_categorical=True,
        nthread=1,
    )


def codes(rows: pd.DataFrame) -> Array:
    """A frame as the model sees it: categories as codes, missing as NaN."""
    columns = [
        rows[name].cat.codes.where(rows[name].cat.codes >= 0, np.nan) if rows[name].dtype == "category" else rows[name]
        for name in rows
    ]
    return np.column_stack([np.asarray(column, dtype=np.float64) for column in columns])


def ulps(ours: npt.ArrayLike, theirs: npt.ArrayLike) -> int:
    """The greatest distance of two arrays, in float32 values that lie between."""
    steps = []
    for array in (ours, theirs):
        with np.errstate(over="ignore"):  # beyond float32 both are infinite
            bits = np.asarray(array, dtype=np.float32).view(np.int32).astype(np.int64)
        steps.append(np.where(bits < 0, -(bits & 0x7FFFFFFF), bits))
    return int(np.abs(steps[0] - steps[1]).max())


def same_bits(one: Array, other: Array) -> bool:
    """Whether two float64 arrays are equal in shape and in every bit."""
    return one.shape == other.shape and one.tobytes() == other.tobytes()
