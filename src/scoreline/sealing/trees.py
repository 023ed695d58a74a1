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


def tree_graph(trees: Sequence[Tree], base: Sequence[float], n_features: int, n_outputs: int) -> bytes:
    """The ensemble as ONNX bytes: `x` float32 (n_rows, n_features) to margins `y` float32 (n_rows, n_outputs)."""
    attributes: dict[str, Any] = {}

    def column(name: str, values: Sequence[Any]) -> None:
        attributes.setdefault(name, []).extend(values)

    constant = Tree(0, [-1], [-1], [0], [0.0], [0], [0])
    for number, tree in enumerate([constant, *trees]):
        n_nodes = len(tree.left)
        leaves = [node for node in range(n_nodes) if tree.left[node] == -1]
        is_leaf = [left == -1 for left in tree.left]
        column("nodes_treeids", [number] * n_nodes)
        column("nodes_nodeids", list(range(n_nodes)))
        column("nodes_featureids", [0 if leaf else f for leaf, f in zip(is_leaf, tree.feature, strict=True)])
        column("nodes_values", [0.0 if leaf else float(v) for leaf, v in zip(is_leaf, tree.value, strict=True)])
        column("nodes_modes", ["LEAF" if leaf else "BRANCH_LT" for leaf in is_leaf])
        column("nodes_truenodeids", [0 if leaf else node for leaf, node in zip(is_leaf, tree.left, strict=True)])
        column("nodes_falsenodeids", [0 if leaf else node for leaf, node in zip(is_leaf, tree.right, strict=True)])
        column("nodes_missing_value_tracks_true", [int(d) for d in tree.default_left])
        if number == 0:
            column("target_treeids", [0] * n_outputs)
            column("target_nodeids", [0] * n_outputs)
            column("target_ids", list(range(n_outputs)))
            column("target_weights", [float(margin) for margin in base])
        else:
            column("target_treeids", [number] * len(leaves))
            column("target_nodeids", leaves)
            column("target_ids", [tree.output] * len(leaves))
            column("target_weights", [float(tree.value[node]) for node in leaves])
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
