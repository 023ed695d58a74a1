"""Whether a model file of XGBoost leads nowhere but into itself: the library follows whatever index it reads.

Reference: https://xgboost.readthedocs.io/en/stable/tutorials/saving_model.html and src/tree/tree_model.cc.
"""

from typing import Any, Final

import numpy as np

from scoreline.core.forest import Ints, is_forest, within
from scoreline.core.ubjson import read_ubjson

_LEAF: Final = -1
_MAX_CATEGORY: Final = 1 << 24
_OF_NODES: Final = (
    b"left_children", b"right_children", b"split_indices", b"split_type", b"split_conditions", b"default_left",
    b"parents", b"loss_changes", b"sum_hessian",
)  # fmt: skip


def is_sound_booster(raw: bytes, n_fields: int, n_outputs: int) -> bool:
    """Whether bytes are a whole UBJSON model of these sizes, all of whose indices point to what is there."""
    try:
        learner = read_ubjson(raw)[b"learner"]
        return _fits(learner, n_fields, n_outputs) and _is_sound(learner[b"gradient_booster"], n_fields, n_outputs)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        return False


def _fits(learner: Any, n_fields: int, n_outputs: int) -> bool:
    parameters = learner[b"learner_model_param"]
    told = [max(1, int(parameters[name])) for name in (b"num_class", b"num_target")]
    lists = [learner.get(name, ()) for name in (b"feature_names", b"feature_types")]
    return (
        int(parameters[b"num_feature"]) == n_fields
        and max(told) == n_outputs
        and all(len(names) in (0, n_fields) for names in lists)
    )


def _is_sound(booster: Any, n_fields: int, n_outputs: int) -> bool:
    kind = booster[b"name"]
    if kind == b"gblinear":
        return len(booster[b"model"][b"weights"]) == (n_fields + 1) * n_outputs
    model = (booster[b"gbtree"] if kind == b"dart" else booster)[b"model"]
    trees, n_trees = model[b"trees"], len(model[b"trees"])
    ends = _ints(model.get(b"iteration_indptr", [0, n_trees]))
    return (
        kind in (b"gbtree", b"dart")
        and int(model[b"gbtree_model_param"][b"num_trees"]) == n_trees == len(model[b"tree_info"])
        and within(_ints(model[b"tree_info"]), 0, n_outputs - 1)
        and (ends[0], ends[-1]) == (0, n_trees)
        and within(np.diff(ends), 0, n_trees)
        and (kind == b"gbtree" or len(booster[b"weight_drop"]) == n_trees)
        and all(_is_whole(tree, n_outputs) for tree in trees)
        and (n_trees == 0 or _leads_within(trees, n_fields))
        and all(_has_categories(tree) for tree in trees if len(tree[b"categories_nodes"]) or any(tree[b"split_type"]))
    )


def _is_whole(tree: Any, n_outputs: int) -> bool:
    n_nodes = int(tree[b"tree_param"][b"num_nodes"])
    width = max(1, int(tree[b"tree_param"][b"size_leaf_vector"]))
    return (
        n_nodes > 0
        and width in (1, n_outputs)
        and all(isinstance(tree[name], np.ndarray) and len(tree[name]) == n_nodes for name in _OF_NODES)
        and len(tree[b"base_weights"]) == n_nodes * width
        and (width == 1 or _has_vectors(tree, width))
    )


def _has_vectors(tree: Any, width: int) -> bool:
    """Where a leaf gives every output its own weight, its right child is the place of these weights."""
    places = _ints(tree[b"right_children"])[_ints(tree[b"left_children"]) == _LEAF]
    return within(places, 0, len(tree[b"leaf_weights"]) // width - 1)


def _leads_within(trees: list[Any], n_fields: int) -> bool:
    """All trees at once; what stands in a leaf, or in a node cut off by pruning, is never followed."""
    sizes = np.array([len(tree[b"left_children"]) for tree in trees])
    left, right, features = (
        _ints(np.concatenate([tree[name] for tree in trees])) for name in (_OF_NODES[0], _OF_NODES[1], _OF_NODES[2])
    )
    inner = left != _LEAF
    owners = np.repeat(np.arange(len(sizes)), sizes)[inner]
    children = np.concatenate([left[inner], right[inner]])
    return within(features[inner], 0, n_fields - 1) and is_forest(sizes, np.tile(owners, 2), children)


def _has_categories(tree: Any) -> bool:
    """Whether every split by category has its own piece of the list of categories, in the order of the nodes."""
    nodes, starts, sizes, listed = (
        _ints(tree[name]) for name in (b"categories_nodes", b"categories_segments", b"categories_sizes", b"categories")
    )
    split_by = np.flatnonzero(_ints(tree[b"split_type"]))
    return (
        np.array_equal(nodes, split_by)
        and len(nodes) == len(starts) == len(sizes)
        and within(sizes, 1, len(listed))
        and within(starts, 0, len(listed) - sizes)
        and within(listed, 0, _MAX_CATEGORY)
    )


def _ints(values: Any) -> Ints:
    """Integers as int64; raises ValueError for anything else, as a list of several kinds would be."""
    found = np.asarray(values)
    if found.size and found.dtype.kind not in "iu":
        raise ValueError("not integers")
    return found.astype(np.int64)
