"""Reads trained LightGBM models with LightGBM itself."""

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import lightgbm
import numpy as np

from scoreline.core.errors import NotFound, SealRefused
from scoreline.core.link import Floats
from scoreline.engines.lightgbm_file import is_whole_text
from scoreline.sealing.trained import Iterations, Split, TrainedModel

OBJECTIVES: Final = {
    "binary": "sigmoid",
    "cross_entropy": "sigmoid",
    "multiclass": "softmax64",
    "multiclassova": "sigmoid",
    "regression": "identity",
    "regression_l1": "identity",
    "huber": "identity",
    "fair": "identity",
    "quantile": "identity",
    "mape": "identity",
    "poisson": "exp",
    "gamma": "exp",
    "tweedie": "exp",
}
_UNNAMED: Final = re.compile(r"Column_\d+")
_CATEGORICAL: Final = 1


def read_lightgbm(model: object, iterations: Iterations = "best") -> TrainedModel:
    """A trained booster from LightGBM's text file, a `Booster` or a fitted scikit-learn estimator of LightGBM.

    `iterations`: "best" keeps the trees up to early stopping's best iteration, where there was one; "all" keeps all
    that there are: a text file holds what `save_model` was told to keep. Raises NotFound, or SealRefused with the
    reason.
    """
    booster, classes, origin = _load(model)
    kept = booster.best_iteration if iterations == "best" and booster.best_iteration > 0 else -1
    text = booster.model_to_string(num_iteration=kept)
    head = dict(line.partition("=")[::2] for line in text.partition("\nTree=0\n")[0].splitlines())
    objective = head.get("objective", "")
    n_outputs = int(head["num_class"])
    if "average_output" in head:
        raise SealRefused("a LightGBM forest (boosting = rf) keeps its margins as sums; train with gbdt or dart")
    names = tuple(booster.feature_name())
    predict = partial(_predict, booster, kept, n_outputs)
    return TrainedModel(
        kind="lightgbm",
        file="model.txt",
        raw=text.encode(),
        n_features=booster.num_feature(),
        n_outputs=n_outputs,
        link=_link(objective),
        feature_names=() if all(map(_UNNAMED.fullmatch, names)) else names,
        categories=_categories(text),
        fits=_no_word,
        classes=(classes or tuple(map(str, range(n_outputs)))) if n_outputs > 1 else (),
        twin=None,
        twin_reason="LightGBM's own single-row call is as fast",
        splits=_splits(text),
        slopes=[],
        margins=predict(raw_score=True),
        scores=predict(raw_score=False),
        precision="float64",
        lineage={
            **origin,
            "library": f"lightgbm {lightgbm.__version__}",
            "objective": objective,
            "trees": len(head["tree_sizes"].split()),
            "iterations": "all" if kept == -1 else f"best ({kept})",
        },
    )


def _load(model: object) -> tuple[lightgbm.Booster, tuple[str, ...], dict[str, Any]]:
    """The booster, the names of its classes where an estimator knows them, and where it came from."""
    if isinstance(model, str | Path):
        return _load_file(Path(model))
    if isinstance(model, lightgbm.Booster):
        return model, (), {"source": "Booster"}
    try:
        booster: lightgbm.Booster = model.booster_  # type: ignore[attr-defined]
    except Exception as error:  # scikit-learn's NotFittedError, without importing scikit-learn
        raise SealRefused(f"the estimator is not a fitted LightGBM model ({type(error).__name__})") from None
    classes = tuple(str(word) for word in getattr(model, "classes_", ()))
    return booster, classes, {"source": type(model).__name__}


def _load_file(path: Path) -> tuple[lightgbm.Booster, tuple[str, ...], dict[str, Any]]:
    try:
        raw = path.read_bytes()
    except OSError:
        raise NotFound(f"no model file at {path}") from None
    try:
        if not is_whole_text(raw) or b"\nend of parameters\n" not in raw:
            raise ValueError
        booster = lightgbm.Booster(model_str=raw.decode())
    except (ValueError, lightgbm.basic.LightGBMError):
        raise SealRefused(f"{path.name} is not a model text that lightgbm {lightgbm.__version__} reads") from None
    return booster, (), {"source": path.name, "source_sha256": hashlib.sha256(raw).hexdigest()}


def _link(objective: str) -> str:
    name, *settings = objective.split()
    if name not in OBJECTIVES:
        raise SealRefused(f"objective {name!r} is not supported; supported: {', '.join(OBJECTIVES)}")
    if "sqrt" in settings or any(setting.startswith("sigmoid:") and setting != "sigmoid:1" for setting in settings):
        raise SealRefused(f"objective {objective!r} is not supported: train without reg_sqrt, and with sigmoid = 1")
    return OBJECTIVES[name]


def _categories(text: str) -> dict[int, list[str] | list[int]]:
    """The features that were pandas categories, with their words; others that the model splits by set are integers."""
    kept = json.loads(text.rpartition("\npandas_categorical:")[2].partition("\n")[0] or "null") or []
    listed = re.search(r"^\[categorical_feature: ([0-9,]+)\]$", text, re.MULTILINE)
    positions = [int(position) for position in listed[1].split(",")] if listed else []
    if kept and len(kept) != len(positions):
        raise SealRefused(
            f"the model splits {len(positions)} features by category and keeps the words of {len(kept)}; make all of "
            "them pandas categories, or all of them integers, and train again"
        )
    if any({type(word) for word in words} not in ({str}, {int}) for words in kept):
        raise SealRefused("the words of a category are neither all texts nor all integers; train with texts")
    return dict(zip(sorted(positions), kept, strict=True)) if kept else {}


def _splits(text: str) -> list[Split]:
    """Every (feature, threshold) of the trees, from their text, where a threshold stands with all its digits."""
    found: set[Split] = set()
    names = ("split_feature", "threshold", "decision_type")
    columns = (re.findall(rf"^{name}=(.*)$", text, re.MULTILINE) for name in names)
    for features, thresholds, kinds in zip(*columns, strict=True):
        for feature, threshold, kind in zip(features.split(), thresholds.split(), kinds.split(), strict=True):
            if not int(kind) & _CATEGORICAL:
                found.add((int(feature), float(threshold)))
    return sorted(found)


def _predict(booster: lightgbm.Booster, kept: int, n_outputs: int, *, raw_score: bool) -> Callable[[Floats], Floats]:
    def predict(values: Floats) -> Floats:
        found = booster.predict(values, num_iteration=kept, raw_score=raw_score, num_threads=1)
        return np.asarray(found, dtype=np.float64).reshape(len(values), n_outputs)

    return predict


def _no_word(_position: int, _words: Sequence[Any]) -> bool | None:
    return None
