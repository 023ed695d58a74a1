"""Reads tree ensembles out of ONNX graphs, as other libraries export them (`TreeEnsemble*`, ai.onnx.ml 1 to 3)."""

from collections.abc import Sequence
from typing import Any, Final

import onnx
from onnx import helper

from scoreline.core.errors import SealRefused
from scoreline.sealing.graph import DoubleTree
from scoreline.sealing.trained import Split

_OPERATORS: Final = {"TreeEnsembleRegressor": "target", "TreeEnsembleClassifier": "class"}
_LEFT_IF: Final = {"BRANCH_LEQ": True, "BRANCH_GT": False}


def exported_trees(raw: bytes, n_outputs: int) -> tuple[list[DoubleTree], list[float]]:
    """The trees of a graph's one ensemble in order, one per output where leaves have several, and its base values.

    The one output of a binary classifier is the margin of its second class. Raises SealRefused.
    """
    nodes = [node for node in onnx.load_from_string(raw).graph.node if node.op_type in _OPERATORS]
    if len(nodes) != 1:
        raise SealRefused(f"the library's own export holds {len(nodes)} tree ensembles, not one")
    given = _attributes(nodes[0])
    leaf = _OPERATORS[nodes[0].op_type]
    weights: dict[tuple[int, int], dict[int, float]] = {}
    leaves = (given[f"{leaf}_{name}"] for name in ("treeids", "nodeids", "ids", "weights"))
    for number, node, output, weight in zip(*leaves, strict=True):
        weights.setdefault((number, node), {})[output] = weight
    names = ("nodeids", "modes", "featureids", "values", "truenodeids", "falsenodeids", "missing_value_tracks_true")
    columns = [given[f"nodes_{name}"] for name in names]
    trees: dict[int, list[tuple[Any, ...]]] = {}
    for number, *entry in zip(given["nodes_treeids"], *columns, strict=True):
        trees.setdefault(number, []).append(tuple(entry))
    outputs = sorted({output for found in weights.values() for output in found})[-n_outputs:]
    return [
        _tree(place, nodes, [weights.get((number, node), {}).get(output, 0.0) for node, *_ in nodes])
        for number, nodes in trees.items()
        for place, output in enumerate(outputs)
    ], list(given.get("base_values", ()))


def input_splits(model: onnx.ModelProto) -> list[Split]:
    """Every (feature, threshold) of the ensembles that take the graph's one input itself."""
    found: set[Split] = set()
    for node in model.graph.node:
        if node.op_type in _OPERATORS and node.input[0] == model.graph.input[0].name:
            given = _attributes(node)
            columns = (given.get(f"nodes_{name}", ()) for name in ("modes", "featureids", "values"))
            found |= {(feature, value) for mode, feature, value in zip(*columns, strict=False) if mode != b"LEAF"}
    return sorted(found)


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def _tree(output: int, nodes: Sequence[tuple[Any, ...]], weights: Sequence[float]) -> DoubleTree:
    """A tree whose left is where the condition `at most` leads; "greater" is the same, turned around."""
    place = {node: at for at, (node, *_) in enumerate(nodes)}
    left, right, missing_left = [], [], []
    for _, mode, _, _, true, false, missing_true in nodes:
        if mode != b"LEAF" and mode.decode() not in _LEFT_IF:
            raise SealRefused(f"the library's own export compares by {mode.decode()}, which is not supported")
        is_true = _LEFT_IF.get(mode.decode(), True)
        sides = (-1, -1) if mode == b"LEAF" else (place[true], place[false])
        left.append(sides[0] if is_true else sides[1])
        right.append(sides[1] if is_true else sides[0])
        missing_left.append(bool(missing_true) == is_true)
    return DoubleTree(
        output=output,
        left=left,
        right=right,
        feature=[feature for _, _, feature, *_ in nodes],
        threshold=[value for _, _, _, value, *_ in nodes],
        missing_left=missing_left,
        value=weights,
    )
