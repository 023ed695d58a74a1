"""Writes tree ensembles as ONNX graphs that sum in the trainer's own order, so that the margins have the same bits.

`TreeEnsembleRegressor` (ONNX-ML operator, version 3) with `BRANCH_LT`; the first tree is a single leaf with the base
margins, so float32 sums start where XGBoost's start. `post_transform` stays NONE: the core's link makes the score.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import onnx
from onnx import TensorProto, helper


@dataclass(frozen=True, slots=True)
class Tree:
    """One tree in columns, one entry per node. `left` is -1 at a leaf; `value` is a leaf's weight or a threshold."""

    output: int
    left: Sequence[int]
    right: Sequence[int]
    feature: Sequence[int]
    value: Sequence[float]
    default_left: Sequence[int]
    categorical: Sequence[int]


def tree_graph(trees: Sequence[Tree], base: Sequence[float], n_features: int) -> bytes:
    """The ensemble as ONNX bytes: `x` float32 (n_rows, n_features) to margins `y` float32 (n_rows, len(base))."""
    n_outputs = len(base)
    attributes = _columns([_constant(base), *(_nodes(number, tree) for number, tree in enumerate(trees, start=1))])
    node = helper.make_node(
        "TreeEnsembleRegressor",
        ["x"],
        ["y"],
        domain="ai.onnx.ml",
        n_targets=n_outputs,
        post_transform="NONE",
        aggregate_function="SUM",
        **attributes,
    )
    graph = helper.make_graph(
        [node],
        "margins",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, n_features])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, n_outputs])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _constant(base: Sequence[float]) -> dict[str, list[Any]]:
    """Tree 0: a single leaf that gives every output its base margin."""
    leaf = Tree(output=0, left=[-1], right=[-1], feature=[0], value=[0.0], default_left=[0], categorical=[0])
    n_outputs = len(base)
    return _nodes(0, leaf) | {
        "target_treeids": [0] * n_outputs,
        "target_nodeids": [0] * n_outputs,
        "target_ids": list(range(n_outputs)),
        "target_weights": [float(margin) for margin in base],
    }


def _nodes(number: int, tree: Tree) -> dict[str, list[Any]]:
    """One tree as the operator's attributes, one entry per node and one per leaf."""
    is_leaf = [left == -1 for left in tree.left]
    leaves = [node for node, leaf in enumerate(is_leaf) if leaf]

    def at_branches(values: Sequence[Any], else_: Any) -> list[Any]:
        return [else_ if leaf else value for leaf, value in zip(is_leaf, values, strict=True)]

    return {
        "nodes_treeids": [number] * len(is_leaf),
        "nodes_nodeids": list(range(len(is_leaf))),
        "nodes_featureids": at_branches(tree.feature, 0),
        "nodes_values": at_branches([float(value) for value in tree.value], 0.0),
        "nodes_modes": at_branches(["BRANCH_LT"] * len(is_leaf), "LEAF"),
        "nodes_truenodeids": at_branches(tree.left, 0),
        "nodes_falsenodeids": at_branches(tree.right, 0),
        "nodes_missing_value_tracks_true": [int(default) for default in tree.default_left],
        "target_treeids": [number] * len(leaves),
        "target_nodeids": leaves,
        "target_ids": [tree.output] * len(leaves),
        "target_weights": [float(tree.value[node]) for node in leaves],
    }


def _columns(trees: Sequence[dict[str, list[Any]]]) -> dict[str, Any]:
    return {name: [entry for tree in trees for entry in tree[name]] for name in trees[0]}
