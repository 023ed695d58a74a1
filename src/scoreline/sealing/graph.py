"""Writes float64 ONNX graphs, a node at a time, whose rows have the same bits alone and in a batch.

Every operator used works element by element, or along an axis in one order: sums go by `CumSum`, because `MatMul` and
`ReduceSum` add in an order that depends on how many rows there are and where they lie in memory.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from scoreline.sealing.trained import Split

INPUT: Final = "x"
OUTPUT: Final = "y"
_OPSETS: Final = (("", 21), ("ai.onnx.ml", 5))
_IR_VERSION: Final = 10
_LESS_OR_EQUAL: Final = 0
_SUM: Final = 1


@dataclass(frozen=True, slots=True)
class DoubleTree:
    """One regression tree in columns, one entry per node: at most `threshold` goes left. `left` is -1 at a leaf."""

    output: int
    left: Sequence[int]
    right: Sequence[int]
    feature: Sequence[int]
    threshold: Sequence[float]
    missing_left: Sequence[bool]
    value: Sequence[float]


def constant_tree(output: int, value: float) -> DoubleTree:
    return DoubleTree(output, [-1], [-1], [0], [0.0], [True], [value])


def splits_of(trees: Sequence[DoubleTree], *, rounded: bool = False) -> list[Split]:
    """Every (column, threshold); where values are rounded, the float32 on both sides of it too."""
    found: set[Split] = set()
    for tree in trees:
        for left, column, threshold in zip(tree.left, tree.feature, tree.threshold, strict=True):
            if left != -1 and np.isfinite(threshold):
                found.add((int(column), float(threshold)))
                if rounded:
                    at = np.float32(threshold)
                    ends = np.array([-np.inf, np.inf], np.float32)
                    found |= {(int(column), float(value)) for value in (at, *np.nextafter(at, ends))}
    return sorted(found)


class Graph:
    """A graph from `x` float64 (n_rows, n_fields) to `y` float64 (n_rows, n_outputs)."""

    def __init__(self, n_fields: int) -> None:
        self._n_fields = n_fields
        self._nodes: list[onnx.NodeProto] = []
        self._tensors: list[onnx.TensorProto] = []

    def add(self, operator: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Adds a node of one output, and gives the output's name."""
        name = f"v{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, inputs, [name], domain=domain, **attributes))
        return name

    def constant(self, values: npt.ArrayLike) -> str:
        name = f"c{len(self._tensors)}"
        self._tensors.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def picked(self, values: str, positions: Sequence[int], axis: int = 1) -> str:
        return self.add("Gather", values, self.constant(np.asarray(positions, np.int64)), axis=axis)

    def cast(self, values: str, to: str) -> str:
        return self.add("Cast", values, to=TensorProto.DataType.Value(to))

    def summed(self, values: str, n_terms: int) -> str:
        """(n_rows, n_terms, n_outputs) added along the terms, one after the other: (n_rows, n_outputs)."""
        running = self.add("CumSum", values, self.constant(np.int64(1)))
        return self.add("Gather", running, self.constant(np.int64(n_terms - 1)), axis=1)

    def trees(self, values: str, trees: Sequence[DoubleTree], n_outputs: int) -> str:
        """The sum of trees in their order (`TreeEnsemble`, ai.onnx.ml 5), in float64."""
        return self.add(
            "TreeEnsemble",
            values,
            domain="ai.onnx.ml",
            n_targets=n_outputs,
            post_transform=0,
            aggregate_function=_SUM,
            **_tree_attributes(trees),
        )

    def finish(self, values: str, n_outputs: int) -> bytes:
        """The graph that answers `values`, checked, as ONNX bytes."""
        nodes = [*self._nodes, helper.make_node("Identity", [values], [OUTPUT])]
        graph = helper.make_graph(
            nodes,
            "margins",
            [helper.make_tensor_value_info(INPUT, TensorProto.DOUBLE, [None, self._n_fields])],
            [helper.make_tensor_value_info(OUTPUT, TensorProto.DOUBLE, [None, n_outputs])],
            self._tensors,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid(*opset) for opset in _OPSETS])
        model.ir_version = _IR_VERSION
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString())


def _tree_attributes(trees: Sequence[DoubleTree]) -> dict[str, Any]:
    """Branches and leaves of all trees, each numbered through."""
    names = ("nodes_featureids", "nodes_missing_value_tracks_true", "nodes_truenodeids", "nodes_falsenodeids",
             "nodes_trueleafs", "nodes_falseleafs", "tree_roots", "leaf_targetids")  # fmt: skip
    found: dict[str, Any] = {name: [] for name in names}
    splits: list[float] = []
    weights: list[float] = []
    for tree in map(_rooted, trees):
        branch_at: dict[int, int] = {}
        leaf_at: dict[int, int] = {}
        for node, left in enumerate(tree.left):
            at, first = (leaf_at, len(weights)) if left == -1 else (branch_at, len(splits))
            at[node] = first + len(at)
        found["tree_roots"].append(len(splits))
        for node in branch_at:
            found["nodes_featureids"].append(int(tree.feature[node]))
            found["nodes_missing_value_tracks_true"].append(int(tree.missing_left[node]))
            splits.append(float(tree.threshold[node]))
            for side, child in (("true", int(tree.left[node])), ("false", int(tree.right[node]))):
                found[f"nodes_{side}nodeids"].append(leaf_at[child] if child in leaf_at else branch_at[child])
                found[f"nodes_{side}leafs"].append(int(child in leaf_at))
        weights += [float(tree.value[node]) for node in leaf_at]
        found["leaf_targetids"] += [tree.output] * len(leaf_at)
    return found | {
        "nodes_splits": numpy_helper.from_array(np.array(splits, np.float64)),
        "nodes_modes": numpy_helper.from_array(np.full(len(splits), _LESS_OR_EQUAL, np.uint8)),
        "leaf_weights": numpy_helper.from_array(np.array(weights, np.float64)),
    }


def _rooted(tree: DoubleTree) -> DoubleTree:
    """A tree with a branch at its root, which the operator asks for: a single leaf stands on both sides of one."""
    if tree.left[0] != -1:
        return tree
    value = float(tree.value[0])
    return DoubleTree(tree.output, [1, -1, -1], [2, -1, -1], [0] * 3, [0.0] * 3, [True] * 3, [0.0, value, value])
