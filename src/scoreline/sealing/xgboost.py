"""Reads trained XGBoost models with XGBoost itself."""

import hashlib
import json
from collections.abc import Sequence
from functools import partial
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import xgboost

from scoreline.core.errors import NotFound, SealRefused
from scoreline.core.link import Floats
from scoreline.core.ubjson import is_whole_ubjson
from scoreline.sealing.trained import Iterations, Split, TrainedModel
from scoreline.sealing.trees import Tree, tree_graph

OBJECTIVES: Final = {
    "binary:logistic": "sigmoid",
    "binary:logitraw": "identity",
    "reg:logistic": "sigmoid",
    "multi:softprob": "softmax",
    "multi:softmax": "softmax",
    "reg:squarederror": "identity",
    "reg:squaredlogerror": "identity",
    "reg:absoluteerror": "identity",
    "reg:pseudohubererror": "identity",
    "count:poisson": "exp",
    "reg:gamma": "exp",
    "reg:tweedie": "exp",
}


_JSON_SECOND: Final = (b'"', b"}", b" ", b"\t", b"\r", b"\n")


def read_xgboost(model: object, iterations: Iterations = "best") -> TrainedModel:
    """A trained booster from a .ubj or .json file, a `Booster` or a fitted scikit-learn estimator of XGBoost.

    `iterations`: "best" keeps the trees up to early stopping's best iteration, where there was one; "all" keeps all.
    Raises NotFound, or SealRefused with the reason.
    """
    booster, origin = _load(model)
    kept = _kept_iterations(booster, iterations)
    if kept is not None:
        booster = booster[:kept]
        booster.set_attr(best_iteration=None, best_score=None)
    booster.set_param({"nthread": 1})
    found = json.loads(bytes(booster.save_raw("json")))
    learner = found["learner"]
    parameters = learner["learner_model_param"]
    link = _link(learner["objective"]["name"], int(parameters["num_target"]))
    n_outputs = max(1, int(parameters["num_class"]))
    n_features = int(parameters["num_feature"])
    trees, twin_reason = _trees(learner["gradient_booster"])
    return TrainedModel(
        kind="xgboost",
        file="model.ubj",
        raw=bytes(booster.save_raw("ubj")),
        n_features=n_features,
        n_outputs=n_outputs,
        link=link,
        feature_names=tuple(booster.feature_names or ()),
        categories=_categories(learner),
        classes=tuple(str(number) for number in range(n_outputs)) if n_outputs > 1 else (),
        twin=None if twin_reason else tree_graph(trees, _base_margins(found, n_features, n_outputs), n_features),
        twin_reason=twin_reason,
        splits=_splits(trees),
        slopes=_slopes(learner["gradient_booster"], n_features, n_outputs),
        fits=partial(_fits, _kept_categories(learner)),
        margins=lambda values: _predict(booster, values, n_outputs, margin=True),
        scores=lambda values: _predict(booster, values, n_outputs, margin=False),
        lineage={
            **origin,
            "library": f"xgboost {xgboost.__version__}",
            "objective": learner["objective"]["name"],
            "booster": learner["gradient_booster"]["name"],
            "trees": len(trees),
            "iterations": "all" if kept is None else f"best ({kept})",
        },
    )


def _load(model: object) -> tuple[xgboost.Booster, dict[str, Any]]:
    if isinstance(model, str | Path):
        return _load_file(Path(model))
    if isinstance(model, xgboost.Booster):
        return model.copy(), {"source": "Booster"}
    get_booster = getattr(model, "get_booster", None)
    if get_booster is None:
        raise SealRefused(f"{type(model).__name__} is not an XGBoost model, nor a path to one")
    missing = getattr(model, "missing", np.nan)
    if missing is not None and not np.isnan(missing):
        raise SealRefused(
            "the estimator was trained with another mark for missing values than NaN, which its model file does not "
            "keep; replace the mark by NaN and train again"
        )
    try:
        return get_booster().copy(), {"source": type(model).__name__}
    except Exception as error:  # scikit-learn's NotFittedError, without importing scikit-learn
        raise SealRefused(f"the estimator is not fitted ({type(error).__name__})") from None


def _load_file(path: Path) -> tuple[xgboost.Booster, dict[str, Any]]:
    try:
        raw = path.read_bytes()
    except OSError:
        raise NotFound(f"no model file at {path}") from None
    if not raw:  # XGBoost would end the process
        raise SealRefused(f"{path.name} is empty")
    booster = xgboost.Booster()
    try:
        if raw[1:2] not in _JSON_SECOND and not is_whole_ubjson(raw):  # XGBoost, too, goes by the content
            raise ValueError
        booster.load_model(bytearray(raw))
    except (ValueError, xgboost.core.XGBoostError):
        raise SealRefused(f"{path.name} is not a model that xgboost {xgboost.__version__} reads") from None
    return booster, {"source": path.name, "source_sha256": hashlib.sha256(raw).hexdigest()}


def _kept_iterations(booster: xgboost.Booster, iterations: Iterations) -> int | None:
    """How many iterations to keep, None for all. A linear booster has no trees to cut; XGBoost ignores it there too."""
    best = booster.attr("best_iteration")
    if iterations == "all" or best is None:
        return None
    if json.loads(booster.save_config())["learner"]["gradient_booster"]["name"] == "gblinear":
        return None
    kept = int(best) + 1
    return kept if kept < booster.num_boosted_rounds() else None


def _link(objective: str, n_targets: int) -> str:
    if objective not in OBJECTIVES:
        raise SealRefused(f"objective {objective!r} is not supported; supported: {', '.join(OBJECTIVES)}")
    if n_targets > 1:
        raise SealRefused(f"the model has {n_targets} targets; seal one model per target")
    return OBJECTIVES[objective]


def _trees(booster: dict[str, Any]) -> tuple[list[Tree], str]:
    """The trees in the order they are summed, and why there is no twin (empty: there is one)."""
    name = booster["name"]
    if name == "gblinear":
        return [], "a linear booster has no trees"
    model = booster["gbtree"]["model"] if name == "dart" else booster["model"]
    trees = []
    reason = "DART weighs its trees while summing" if name == "dart" else ""
    for tree, output in zip(model["trees"], model["tree_info"], strict=True):
        if any(tree["split_type"]):
            reason = reason or "categorical splits are sets, not thresholds"
        if int(tree["tree_param"]["size_leaf_vector"]) > 1:
            reason = reason or "trees with vector leaves"
        trees.append(
            Tree(
                output=output,
                left=tree["left_children"],
                right=tree["right_children"],
                feature=tree["split_indices"],
                value=tree["split_conditions"],
                default_left=tree["default_left"],
                categorical=tree["split_type"],
            )
        )
    return trees, reason


def _splits(trees: list[Tree]) -> list[Split]:
    found: set[Split] = set()
    for tree in trees:
        for left, feature, value, categorical in zip(
            tree.left, tree.feature, tree.value, tree.categorical, strict=True
        ):
            if left != -1 and not categorical:
                found.add((feature, value))
    return sorted(found)


def _categories(learner: dict[str, Any]) -> dict[int, list[str] | list[int] | None]:
    """The categorical features, with their categories where the model keeps them (frames, XGBoost >= 3.1)."""
    kept = _kept_categories(learner)
    found: dict[int, list[str] | list[int] | None] = {}
    for position, kind in enumerate(learner["feature_types"]):
        if kind == "c":
            found[position] = _category_list(kept[position]) if position < len(kept) else None
    return found


def _slopes(booster: dict[str, Any], n_features: int, n_outputs: int) -> list[list[float]]:
    """A linear booster's weights by output; the last of its list are the biases."""
    if booster["name"] != "gblinear":
        return []
    weights = np.asarray(booster["model"]["weights"], dtype=np.float64).reshape(n_features + 1, n_outputs)
    slopes: list[list[float]] = weights[:n_features].T.tolist()
    return slopes


def _kept_categories(learner: dict[str, Any]) -> list[dict[str, Any]]:
    booster = learner["gradient_booster"]
    model = booster["gbtree"]["model"] if booster["name"] == "dart" else booster.get("model", {})
    kept: list[dict[str, Any]] = model.get("cats", {}).get("enc", [])
    return kept


def _category_list(kept: dict[str, Any]) -> list[str] | list[int] | None:
    """The categories, None where there are none or they are cut: XGBoost 3.2 takes a pandas word's length in characters
    for its length in bytes, so that words beyond ASCII are lost."""
    values = kept.get("values") or []
    if "offsets" not in kept:
        return [int(value) for value in values] or None
    raw = bytes(value & 0xFF for value in values)
    if not raw.isascii():
        return None
    return [raw[start:end].decode() for start, end in pairwise(kept["offsets"])] or None


def _fits(kept: list[dict[str, Any]], position: int, words: Sequence[Any]) -> bool | None:
    """Whether words are those the model keeps, whole or cut; None where it keeps none."""
    if position >= len(kept) or not kept[position].get("offsets"):
        return None
    offsets, raw = kept[position]["offsets"], bytes(value & 0xFF for value in kept[position]["values"])
    encoded = [str(word).encode() for word in words]
    ends = ([len(word) for word in encoded], [len(str(word)) for word in words])
    return any([0, *accumulate(end)] == offsets and b"".join(encoded)[: offsets[-1]] == raw for end in ends)


def _base_margins(found: dict[str, Any], n_features: int, n_outputs: int) -> list[float]:
    """The margin before the first tree, as XGBoost itself derives it: its answer when every leaf is zero."""
    zeroed = json.loads(json.dumps(found))
    for tree in zeroed["learner"]["gradient_booster"]["model"]["trees"]:
        n_nodes = len(tree["left_children"])
        tree["left_children"] = tree["right_children"] = [-1] * n_nodes
        tree["split_conditions"] = [0.0] * n_nodes
    booster = xgboost.Booster()
    booster.load_model(bytearray(json.dumps(zeroed).encode()))
    base: list[float] = _predict(booster, np.zeros((1, n_features)), n_outputs, margin=True)[0].tolist()
    return base


def _predict(booster: xgboost.Booster, values: Floats, n_outputs: int, *, margin: bool) -> Floats:
    matrix = xgboost.DMatrix(
        values,
        feature_names=booster.feature_names,
        feature_types=booster.feature_types,
        enable_categorical=True,
        nthread=1,
    )
    found = booster.predict(matrix, output_margin=margin)
    if found.size != len(values) * n_outputs:  # multi:softmax answers the class, not its probabilities
        return np.asarray(found, dtype=np.float64).reshape(len(values), -1)
    return np.asarray(found, dtype=np.float64).reshape(len(values), n_outputs)
