"""Whether a model text of LightGBM leads nowhere but into itself: the library follows whatever index it reads.

Reference: https://github.com/microsoft/LightGBM, src/io/tree.cpp and src/boosting/gbdt_model_text.cpp.
"""

import re
from collections.abc import Sequence
from typing import Final

import numpy as np

from scoreline.core.forest import Ints, is_forest, within

_INTEGERS: Final = re.compile(rb"[-0-9 ]*")
_BY_CATEGORY: Final = 1
_MAX_LEAVES: Final = 1 << 27
_MAX_LINES: Final = 23  # of a tree that LightGBM reads, with its name


def is_whole_text(model: bytes) -> bool:
    """Whether bytes are a model in LightGBM's text form, every tree as long as its head tells, with the end mark."""
    try:
        _pieces(model)
    except ValueError:
        return False
    return True


def is_sound_text(model: bytes, n_fields: int, n_outputs: int) -> bool:
    """Whether a whole text is a model of these sizes, all of whose indices point to what is there."""
    try:
        head, *trees = map(_settings, _pieces(model))
        told = [int(head[name]) for name in (b"max_feature_idx", b"num_class", b"num_tree_per_iteration")]
        return told == [n_fields - 1, n_outputs, n_outputs] and not len(trees) % n_outputs and _lead(trees, n_fields)
    except (ValueError, KeyError, OverflowError):
        return False


def _pieces(model: bytes) -> list[bytes]:
    """The head without its mark, and every tree; raises ValueError where one is not as long as the head tells."""
    head, mark, _ = model.partition(b"\nTree=0\n")
    sizes = re.findall(rb"^tree_sizes=([0-9 ]+)$", head, re.MULTILINE)
    if not head.startswith(b"tree\n") or not mark or len(sizes) != 1 or b"\0" in model:
        raise ValueError("no model text")
    found, at = [head.removeprefix(b"tree\n")], len(head) + 1
    for number, size in enumerate(map(int, sizes[0].split())):
        if not model.startswith(b"Tree=%d\n" % number, at):
            raise ValueError("a tree is not where it should be")
        found.append(model[at : at + size])
        at += size
    if not model.startswith(b"end of trees\n", at):
        raise ValueError("cut")
    return found


def _settings(piece: bytes) -> dict[bytes, bytes]:
    """The lines NAME=VALUE of a head or a tree; raises ValueError for what LightGBM may read in another way."""
    lines = piece.rstrip(b"\n").split(b"\n")
    pairs = [line.partition(b"=") for line in lines]
    found = {name: value for name, _, value in pairs}
    if len(found) != len(lines) or b"\r" in piece or not all(name and mark for name, mark, _ in pairs):
        raise ValueError("an empty line, one without a name, or a name twice")
    return found


def _lead(trees: Sequence[dict[bytes, bytes]], n_fields: int) -> bool:
    """Whether every tree leads to its own nodes and leaves (a child below zero is a leaf, -1 the first), and fields."""
    leaves = _ints(b" ".join(tree[b"num_leaves"] for tree in trees))
    inner = leaves - 1
    if len(leaves) != len(trees) or not within(leaves, 1, _MAX_LEAVES) or any(len(tree) > _MAX_LINES for tree in trees):
        return False
    left, right, features, kinds = (
        np.concatenate([_listed(tree, name, n) for tree, n in zip(trees, inner.tolist(), strict=True)])
        for name in (b"left_child", b"right_child", b"split_feature", b"decision_type")
    )
    owners = np.repeat(np.arange(len(trees)), inner)
    children, parents = np.concatenate([left, right]), np.tile(owners, 2)
    below = children >= 0
    return (
        within(features, 0, n_fields - 1)
        and within(~children[~below], 0, inner[parents[~below]])
        and is_forest(inner, parents[below], children[below])
        and all(_has_categories(trees[number]) for number in set(owners[kinds & _BY_CATEGORY > 0].tolist()))
        and all(_has_weights(tree, n_fields) for tree in trees if tree.get(b"is_linear", b"0") != b"0")
    )


def _has_categories(tree: dict[bytes, bytes]) -> bool:
    """Whether every split by category has a piece of the tree's bits: its threshold is the number of that piece."""
    n_pieces, n_inner = int(tree[b"num_cat"]), int(tree[b"num_leaves"]) - 1
    by_category = _listed(tree, b"decision_type", n_inner) & _BY_CATEGORY > 0
    pieces = np.array(tree[b"threshold"].split(), np.float64)[by_category]
    ends = _listed(tree, b"cat_boundaries", n_pieces + 1)
    return (
        bool(((pieces >= 0) & (pieces < n_pieces)).all())
        and within(ends[:1], 0, 0)
        and within(np.diff(ends), 0, len(tree[b"cat_threshold"]))
        and len(tree[b"cat_threshold"].split()) == ends[-1]
    )


def _has_weights(tree: dict[bytes, bytes], n_fields: int) -> bool:
    """Whether the leaves of a linear tree weigh fields that are there."""
    counts = _listed(tree, b"num_features", int(tree[b"num_leaves"]))
    n_weights = int(counts.sum())
    return (
        within(counts, 0, n_fields)
        and within(_listed(tree, b"leaf_features", n_weights), 0, n_fields - 1)
        and len(tree[b"leaf_coeff"].split()) == n_weights
    )


def _listed(tree: dict[bytes, bytes], name: bytes, count: int) -> Ints:
    """As many integers as there must be; raises ValueError, or KeyError where there is no such list."""
    found = _ints(tree[name] if count else tree.get(name, b""))
    if len(found) != count:
        raise ValueError("a list of another length")
    return found


def _ints(text: bytes) -> Ints:
    if not _INTEGERS.fullmatch(text):
        raise ValueError("not integers")
    return np.array(list(map(int, text.split())), np.int64)
