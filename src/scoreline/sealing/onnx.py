"""Takes ONNX graphs as they are: what is sealed around one only names its fields and picks its score.

Reference for what a runtime must do: https://onnx.ai/onnx/operators/.
"""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto, compose, helper, numpy_helper

from scoreline.core.errors import EngineFailed, NotFound, SealRefused
from scoreline.core.link import Floats
from scoreline.engines.onnx import OnnxEngine, OnnxRowsEngine, RawGraph
from scoreline.engines.onnx_file import problems
from scoreline.sealing.ensembles import input_splits
from scoreline.sealing.graph import INPUT, OUTPUT
from scoreline.sealing.trained import Iterations, Precision, TrainedModel

MAX_BYTES: Final = 1 << 30
_PREFIX: Final = "model/"
_OPSET: Final = 13
_IR_VERSION: Final = 8
_FLOATS: Final[Mapping[int, Precision]] = {TensorProto.FLOAT: "float32", TensorProto.DOUBLE: "float64"}
# Every other operator may add or approximate differently in a batch of another size: such graphs go row by row.
_ROW_STABLE: Final = (
    "Abs", "Add", "ArgMax", "ArrayFeatureExtractor", "Cast", "Concat", "Div", "Flatten", "Gather", "Identity",
    "Imputer", "IsNaN", "Less", "Mul", "Reshape", "Scaler", "Squeeze", "Sub", "TreeEnsemble", "TreeEnsembleClassifier",
    "TreeEnsembleRegressor", "Unsqueeze", "Where",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Face:
    """A graph's inputs and the one output that holds its score; `is_classifier` where it also names a label."""

    inputs: Sequence[onnx.ValueInfoProto]
    type: int
    widths: Sequence[int]
    output: str
    is_classifier: bool


def read_onnx(model: object, _iterations: Iterations = "best") -> TrainedModel:
    """A graph from a .onnx file or a `ModelProto`; raises NotFound, or SealRefused with the reason.

    Its inputs are one float matrix (n_rows, n_fields), or one float column per field; its score one float tensor: a
    value, or the probabilities of classes, of which a binary model's second is the score.
    """
    found, origin = _load(model)
    for problem in problems(found.SerializeToString()):
        raise SealRefused(f"the graph {problem}")
    face = _face(found)
    graph = onnx.ModelProto()
    graph.CopyFrom(found)
    _keep_score(graph, face.output)
    n_features = sum(face.widths)
    by_row = any(node.op_type not in _ROW_STABLE for node in graph.graph.node) or _is_one_row(face)
    answer = partial(_answer, _opened(graph), face)
    columns = answer(np.zeros((1, n_features))).shape[1]
    picked = [1] if columns == 2 and face.is_classifier else list(range(columns))
    if len(picked) > 1 and not _are_probabilities(answer, n_features):
        raise SealRefused(f"the graph answers {columns} values that are no probabilities; seal one graph per value")

    def margins(values: Floats) -> Floats:
        pieces = [values[row : row + 1] for row in range(len(values))] if by_row else [values]
        return np.concatenate([answer(piece) for piece in pieces])[:, picked]

    raw = _wrapped(graph, face, picked, columns)
    engine = (OnnxRowsEngine if by_row else OnnxEngine)(raw, n_features, len(picked))
    return TrainedModel(
        kind="onnx-rows" if by_row else "onnx",
        file="model.onnx",
        raw=raw,
        n_features=n_features,
        n_outputs=len(picked),
        link="identity",
        feature_names=tuple(entry.name for entry in face.inputs) if len(face.inputs) > 1 else (),
        categories={},
        fits=lambda _position, _words: None,
        classes=tuple(map(str, range(columns))) if len(picked) > 1 else (),
        twin=None,
        twin_reason="the graph is served as it is",
        splits=input_splits(graph) if len(face.inputs) == 1 else [],
        slopes=[],
        margins=margins,
        scores=margins,
        precision=_FLOATS[face.type],
        refuses_missing=frozenset(at for at in range(n_features) if not _takes_missing(engine, n_features, at)),
        lineage={**origin, "library": f"onnx {found.producer_name or 'graph'}", "objective": "as it is"},
    )


def _load(model: object) -> tuple[onnx.ModelProto, dict[str, Any]]:
    if isinstance(model, onnx.ModelProto):
        return model, {"source": "ModelProto"}
    path = Path(str(model))
    try:
        if path.stat().st_size > MAX_BYTES:
            raise SealRefused(f"{path.name} is larger than {MAX_BYTES >> 30} GiB")
        raw = path.read_bytes()
    except OSError:
        raise NotFound(f"no model file at {path}") from None
    try:
        found = onnx.load_from_string(raw)
        onnx.checker.check_model(found)
    except Exception as error:  # the library raises many kinds, all of its own
        raise SealRefused(f"{path.name} is not a valid ONNX graph ({type(error).__name__})") from None
    return found, {"source": path.name, "source_sha256": hashlib.sha256(raw).hexdigest()}


def _face(model: onnx.ModelProto) -> _Face:
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [entry for entry in model.graph.input if entry.name not in constants]
    types = {entry.type.tensor_type.elem_type for entry in inputs}
    if len(types) != 1 or not types <= set(_FLOATS):
        raise SealRefused("the graph takes other inputs than floats of one kind; encode texts and integers before it")
    shapes = [_shape(entry) for entry in inputs]
    if len(inputs) == 1 and len(shapes[0]) == 2 and shapes[0][1]:
        widths = [shapes[0][1]]
    elif all(len(shape) == 1 or (len(shape) == 2 and shape[1] == 1) for shape in shapes):
        widths = [1] * len(inputs)
    else:
        raise SealRefused("the graph takes neither one matrix of a fixed width nor one column per field")
    if any(shape[0] > 1 for shape in shapes):
        raise SealRefused("the graph takes a fixed number of rows; export it with a free first dimension")
    maps = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "ZipMap"}
    floats = [entry.name for entry in model.graph.output if entry.type.tensor_type.elem_type in _FLOATS]
    scores = [*(maps[entry.name] for entry in model.graph.output if entry.name in maps), *floats]
    if len(scores) != 1:
        raise SealRefused(f"the graph has {len(scores)} outputs that could be the score; keep one")
    return _Face(inputs, types.pop(), widths, scores[0], is_classifier=len(model.graph.output) > 1 or bool(maps))


def _shape(entry: onnx.ValueInfoProto) -> list[int]:
    """An input's dimensions, 0 where one is free."""
    return [dimension.dim_value for dimension in entry.type.tensor_type.shape.dim]


def _is_one_row(face: _Face) -> bool:
    return any(_shape(entry)[0] == 1 for entry in face.inputs)


def _keep_score(model: onnx.ModelProto, score: str) -> None:
    """Leaves the score as the only output: labels and maps made of it are not served."""
    kept = helper.make_empty_tensor_value_info(score)
    del model.graph.output[:]
    model.graph.output.append(kept)
    nodes = [node for node in model.graph.node if node.op_type != "ZipMap"]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _opened(model: onnx.ModelProto) -> RawGraph:
    try:
        return RawGraph(model.SerializeToString())
    except EngineFailed as error:
        raise SealRefused(str(error)) from None


def _answer(run: RawGraph, face: _Face, values: Floats) -> Floats:
    """What ONNX Runtime says of the graph itself, (n_rows, n_columns) in float64."""
    given, at = {}, 0
    for entry, width in zip(face.inputs, face.widths, strict=True):
        columns = values[:, at : at + width].astype(_FLOATS[face.type])
        given[entry.name] = columns if len(_shape(entry)) == 2 else columns[:, 0]
        at += width
    try:
        return run(given).reshape(len(values), -1)
    except EngineFailed as error:
        raise SealRefused(str(error)) from None


def _are_probabilities(answer: Callable[[Floats], Floats], n_features: int) -> bool:
    rows = np.random.default_rng(0).normal(size=(64, n_features))
    found = np.concatenate([answer(rows[row : row + 1]) for row in range(len(rows))])
    return bool((found >= 0).all() and np.allclose(found.sum(axis=1), 1.0, atol=1e-5))


def _takes_missing(engine: OnnxEngine, n_features: int, field: int) -> bool:
    row = np.zeros((1, n_features))
    row[0, field] = math.nan
    try:
        return bool(np.isfinite(engine.predict(row)).all())
    except EngineFailed:
        return False


def _wrapped(model: onnx.ModelProto, face: _Face, picked: Sequence[int], columns: int) -> bytes:
    """The same nodes between `x` (n_rows, n_fields) and `y` (n_rows, n_outputs)."""
    inner = compose.add_prefix(model, _PREFIX)
    graph = inner.graph
    before, tensors, at = [], [], 0
    for number, (entry, width) in enumerate(zip(face.inputs, face.widths, strict=True)):
        places = np.arange(at, at + width) if len(_shape(entry)) == 2 else np.int64(at)
        tensors.append(numpy_helper.from_array(np.asarray(places, np.int64), f"places{number}"))
        before.append(helper.make_node("Gather", [INPUT, f"places{number}"], [_PREFIX + entry.name], axis=1))
        at += width
    tensors.append(numpy_helper.from_array(np.array([-1, columns], np.int64), "shape"))
    tensors.append(numpy_helper.from_array(np.array(picked, np.int64), "picked"))
    after = [
        helper.make_node("Reshape", [_PREFIX + face.output, "shape"], ["scores"]),
        helper.make_node("Gather", ["scores", "picked"], [OUTPUT], axis=1),
    ]
    whole = helper.make_graph(
        [*before, *graph.node, *after],
        "margins",
        [helper.make_tensor_value_info(INPUT, face.type, [None, at])],
        [helper.make_tensor_value_info(OUTPUT, face.type, [None, len(picked)])],
        [*graph.initializer, *tensors],
    )
    opsets = {entry.domain or "": entry.version for entry in model.opset_import}
    opsets.setdefault("", _OPSET)
    imports = [helper.make_opsetid(domain, version) for domain, version in opsets.items()]
    made = helper.make_model(whole, opset_imports=imports)
    made.ir_version = max(model.ir_version, _IR_VERSION)
    try:
        onnx.checker.check_model(made)
    except Exception as error:  # the library raises many kinds, all of its own
        raise SealRefused(f"the graph cannot stand between named fields and a score ({type(error).__name__})") from None
    return bytes(made.SerializeToString())
