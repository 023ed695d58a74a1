"""Small ONNX graphs, written by hand."""

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

NAMES = ["a", "b", "c"]


def weights(n_outputs: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(3, n_outputs)).astype(np.float32)


def network(n_outputs: int = 1, *, label: bool = False, zipmap: bool = False, columns: bool = False) -> onnx.ModelProto:
    """A small network; its probabilities by Sigmoid for one output and by Softmax for more."""
    nodes = [helper.make_node("Gemm", ["rows", "w"], ["raw"])]
    inputs = [helper.make_tensor_value_info("rows", TensorProto.FLOAT, [None, 3])]
    if columns:
        nodes.insert(0, helper.make_node("Concat", NAMES, ["rows"], axis=1))
        inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 1]) for name in NAMES]
    nodes.append(helper.make_node("Sigmoid" if n_outputs == 1 else "Softmax", ["raw"], ["probabilities"]))
    outputs = [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, n_outputs])]
    if zipmap:
        nodes.append(
            helper.make_node("ZipMap", ["probabilities"], ["map"], domain="ai.onnx.ml", classlabels_int64s=[0, 1])
        )
        sequence = helper.make_sequence_type_proto(
            helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
        )
        outputs = [helper.make_value_info("map", sequence)]
    if label:
        nodes.append(helper.make_node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0))
        outputs.insert(0, helper.make_tensor_value_info("label", TensorProto.INT64, [None]))
    return model_of(nodes, inputs, outputs, [numpy_helper.from_array(weights(n_outputs), "w")])


def model_of(nodes: Any, inputs: Any, outputs: Any, tensors: Any = ()) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "network", inputs, outputs, list(tensors))
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)
