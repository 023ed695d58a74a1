"""A model file of XGBoost points to what it holds, in nodes that no row visits too; or it is refused."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xgboost

from models import small_model
from scoreline.engines.xgboost_file import is_sound_booster

Change = Callable[[dict[str, Any]], None]
N_FIELDS = 4


def ubj(found: dict[str, Any]) -> bytes:
    """UBJSON as XGBoost writes it: arrays of one type where XGBoost has them."""
    kinds = dict.fromkeys(("split_type", "default_left"), "U")
    kinds |= dict.fromkeys(("categories_segments", "categories_sizes"), "L")
    kinds |= dict.fromkeys(("split_conditions", "base_weights", "leaf_weights", "loss_changes", "sum_hessian"), "d")
    kinds |= dict.fromkeys(("left_children", "right_children", "parents", "split_indices", "categories"), "l")
    kinds |= dict.fromkeys(("categories_nodes", "offsets", "feature_segments", "sorted_idx"), "l") | {"values": "i"}
    formats = {"i": ">i1", "U": ">u1", "l": ">i4", "L": ">i8", "d": ">f4"}

    def text(value: str) -> bytes:
        return b"L" + len(value.encode()).to_bytes(8, "big") + value.encode()

    def written(value: Any, name: str = "") -> bytes:
        if isinstance(value, dict):
            return b"{" + b"".join(text(key) + written(inner, key) for key, inner in value.items()) + b"}"
        if isinstance(value, list) and name in kinds:
            kind = kinds[name]
            raw = np.array(value).astype(formats[kind]).tobytes()
            return b"[$" + kind.encode() + b"#L" + len(value).to_bytes(8, "big") + raw
        if isinstance(value, list):
            return b"[#L" + len(value).to_bytes(8, "big") + b"".join(map(written, value))
        return b"S" + text(value) if isinstance(value, str) else b"L" + value.to_bytes(8, "big", signed=True)

    return written(found)


def changed(change: Change, **parameters: Any) -> bytes:
    booster, _ = small_model(categories=True, **parameters)
    found = json.loads(bytes(booster.save_raw("json")))
    change(found["learner"])
    return ubj(found)


def tree(learner: dict[str, Any], number: int = -1) -> dict[str, Any]:
    booster = learner["gradient_booster"]
    found: dict[str, Any] = booster.get("gbtree", booster)["model"]["trees"][number]
    return found


def by_category(learner: dict[str, Any]) -> dict[str, Any]:
    trees = learner["gradient_booster"]["model"]["trees"]
    return next(found for found in trees if found["categories_nodes"])


def put(name: str, place: Any, value: Any, of: Callable[[dict[str, Any]], Any] = tree) -> Change:
    def change(learner: dict[str, Any]) -> None:
        of(learner)[name][place] = value

    return change


def model(learner: dict[str, Any]) -> Any:
    return learner["gradient_booster"]["model"]


def last_inner(name: str, value: int) -> Change:
    """Changes the last node that has children: few rows, or none, ever come there."""

    def change(learner: dict[str, Any]) -> None:
        found = tree(learner)
        place = max(node for node, child in enumerate(found["left_children"]) if child != -1)
        found[name][place] = value

    return change


def shorter(name: str) -> Change:
    return lambda learner: tree(learner)[name].pop()


ASTRAY: dict[str, Change] = {
    "a feature that is none": last_inner("split_indices", N_FIELDS),
    "a negative feature": last_inner("split_indices", -1),
    "a far left child": last_inner("left_children", 1 << 20),
    "a far right child": last_inner("right_children", 1 << 20),
    "no right child": last_inner("right_children", -1),
    "a negative left child": last_inner("left_children", -2),
    "a circle": last_inner("left_children", 0),
    "two parents": put("left_children", 0, 2),
    "a tree for no class": put("tree_info", 0, 1, model),
    "a tree for a negative class": put("tree_info", 0, -1, model),
    "iterations beyond the trees": put("iteration_indptr", -1, 1000, model),
    "more trees told": lambda learner: model(learner)["gbtree_model_param"].update(num_trees="9"),
    "more nodes told": lambda learner: tree(learner)["tree_param"].update(num_nodes="99"),
    "a short list of thresholds": shorter("split_conditions"),
    "a short list of children": shorter("right_children"),
    "a short list of parents": shorter("parents"),
    "categories beyond the list": put("categories_sizes", 0, 99, by_category),
    "categories from beyond the list": put("categories_segments", 0, 99, by_category),
    "categories before the list": put("categories_segments", 0, -1, by_category),
    "categories of another node": put("categories_nodes", 0, 99, by_category),
    "a negative category": put("categories", 0, -1, by_category),
    "a huge category": put("categories", 0, (1 << 31) - 1, by_category),
    "leaves of several values": lambda learner: tree(learner)["tree_param"].update(size_leaf_vector="7"),
    "fewer fields": lambda learner: learner["learner_model_param"].update(num_feature="3"),
    "more classes": lambda learner: learner["learner_model_param"].update(num_class="3"),
    "few types": lambda learner: learner["feature_types"].pop(),
    "a booster of no kind": lambda learner: learner["gradient_booster"].update(name="gbforest"),
    "no trees": lambda learner: learner["gradient_booster"].pop("model"),
}


@pytest.mark.parametrize("change", ASTRAY.values(), ids=ASTRAY.keys())
def test_what_points_beyond_the_model_is_not_sound(change: Change) -> None:
    assert is_sound_booster(changed(lambda learner: None), N_FIELDS, 1)
    assert not is_sound_booster(changed(change), N_FIELDS, 1)


def test_weights_that_do_not_fit_their_booster_are_not_sound() -> None:
    raw = bytes(small_model(booster="gblinear")[0].save_raw("ubj"))
    assert is_sound_booster(raw, 3, 1)
    assert not is_sound_booster(raw, 4, 1)


@pytest.mark.parametrize("booster", ["gbtree", "dart"])
def test_a_pruned_tree_is_sound_though_nodes_cut_off_split_by_no_feature(booster: str) -> None:
    found, _ = small_model(tree_method="exact", gamma=3, max_depth=6, booster=booster)
    assert b"2147483647" in bytes(found.save_raw("json")).partition(b"split_indices")[2]
    assert is_sound_booster(bytes(found.save_raw("ubj")), 3, 1)


def test_what_xgboost_reads_of_our_writing_is_the_same_model() -> None:
    """The changed models above are models: XGBoost itself reads the unchanged one from the same writing."""
    booster, rows = small_model(categories=True)
    again = xgboost.Booster(model_file=bytearray(changed(lambda learner: None)))
    matrix = xgboost.DMatrix(rows, enable_categorical=True)
    assert again.predict(matrix).tobytes() == booster.predict(matrix).tobytes()


def test_a_leaf_that_gives_each_output_a_weight_points_to_weights_there_are() -> None:
    parameters = {"multi_strategy": "multi_output_tree", "tree_method": "hist"}
    booster, _ = small_model("multi:softprob", **parameters)
    found = json.loads(bytes(booster.save_raw("json")))
    n_fields, n_outputs = booster.num_features(), int(found["learner"]["learner_model_param"]["num_class"])
    assert is_sound_booster(ubj(found), n_fields, n_outputs)
    last = tree(found["learner"])
    leaf = last["left_children"].index(-1)
    last["right_children"][leaf] = len(last["leaf_weights"]) // n_outputs
    assert not is_sound_booster(ubj(found), n_fields, n_outputs)
