"""ONNX graphs as they are: scored as ONNX Runtime scores the graph itself, bit for bit, or refused."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
from onnx import TensorProto, helper, numpy_helper

from models import frame, keys, opened, small_model
from onnx_models import NAMES, model_of, network
from scoreline.core.errors import NotFound, SealRefused
from scoreline.engines.load import load_engine
from scoreline.sealing import seal
from scoreline.sealing.seal import Sealed
from scoreline.sealing.xgboost import read_xgboost

SMALL = {name: {"range": [-100.0, 100.0]} for name in NAMES}


def whole(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.fillna(0.0).clip(-100, 100)


def seal_here(folder: Path, model: object, **options: Any) -> Sealed:
    settled = {"name": "m", "output": "score", "reference": whole(frame()), "key": keys(folder)[0], "schema": SMALL}
    return seal(model, **{**settled, "out": folder / "m-1", **options})


def runtimes_own(model: onnx.ModelProto, values: np.ndarray) -> np.ndarray:
    """Row by row, by ONNX Runtime without anything of ours."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    rows = values.astype(np.float32)
    names = [entry.name for entry in session.get_inputs()]
    answers = []
    for row in range(len(rows)):
        parts = rows[row : row + 1], *(rows[row : row + 1, at : at + 1] for at in range(3))
        answers.append(
            session.run(["probabilities"], dict(zip(names, parts[1:] if len(names) > 1 else parts, strict=False)))[0]
        )
    return np.concatenate(answers).astype(np.float64)


@pytest.mark.parametrize("columns", (False, True), ids=("matrix", "columns"))
@pytest.mark.parametrize(("n_outputs", "label"), [(1, False), (2, True), (3, False), (3, True)])
def test_scores_are_the_runtimes_own_bits(tmp_path: Path, n_outputs: int, label: bool, columns: bool) -> None:
    model = network(n_outputs, label=label, columns=columns)
    onnx.save(model, tmp_path / "network.onnx")
    sealed = seal_here(tmp_path, tmp_path / "network.onnx")
    engine = load_engine(opened(tmp_path / "m-1"))
    values = whole(frame(200, seed=5)).to_numpy()
    wanted = runtimes_own(model, values)
    wanted = wanted[:, 1:] if n_outputs == 2 else wanted
    assert engine.predict(values).tobytes() == wanted.tobytes()
    assert [engine.predict(values[row : row + 1]).tobytes() for row in range(200)] == [row.tobytes() for row in wanted]
    assert sealed.manifest.schema.names == tuple(NAMES)
    assert sealed.manifest.classes == (tuple(map(str, range(n_outputs))) if n_outputs > 2 else ())
    assert (sealed.manifest.link, sealed.manifest.engines[0].kind) == ("identity", "onnx-rows")
    assert sealed.parity.exact


def test_a_map_of_classes_gives_its_probabilities(tmp_path: Path) -> None:
    seal_here(tmp_path, network(2, label=True, zipmap=True))
    values = whole(frame(50, seed=5)).to_numpy()
    wanted = runtimes_own(network(2, label=True), values)[:, 1:]
    assert load_engine(opened(tmp_path / "m-1")).predict(values).tobytes() == wanted.tobytes()


@pytest.mark.parametrize("objective", ["reg:squarederror", "multi:softprob"])
def test_trees_go_in_batches_and_take_missing_values(tmp_path: Path, objective: str) -> None:
    raw = read_xgboost(small_model(objective)[0]).twin or b""
    if objective.startswith("multi"):
        with pytest.raises(SealRefused, match="3 values that are no probabilities"):
            seal_here(tmp_path, onnx.load_from_string(raw))
        return
    sealed = seal_here(tmp_path, onnx.load_from_string(raw), reference=frame(), schema={})
    assert sealed.manifest.engines[0].kind == "onnx"
    assert sealed.manifest.schema.fields[0].nullable


def test_a_missing_value_that_would_have_no_score_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SealRefused, match="takes no missing value in 'a'"):
        seal_here(tmp_path, network(), reference=frame(), schema={})


def single(operator: str, **attributes: Any) -> onnx.ModelProto:
    matrix = helper.make_tensor_value_info("rows", TensorProto.FLOAT, [None, 3])
    answer = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 3])
    return model_of([helper.make_node(operator, ["rows"], ["probabilities"], **attributes)], [matrix], [answer])


def retyped(kind: int, shape: list[int | None]) -> onnx.ModelProto:
    model = network()
    del model.graph.input[:]
    model.graph.input.append(helper.make_tensor_value_info("rows", kind, shape))
    return model


def external() -> onnx.ModelProto:
    model = network()
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    return model


def sparse() -> onnx.ModelProto:
    model = network()
    values = numpy_helper.from_array(np.array([1, 2], np.float32), "s")
    places = numpy_helper.from_array(np.array([0, 1], np.int64), "places")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [2, 1]))
    return model


def two_scores() -> onnx.ModelProto:
    model = network()
    model.graph.output.append(helper.make_tensor_value_info("raw", TensorProto.FLOAT, [None, 1]))
    return model


def looping() -> onnx.ModelProto:
    body = helper.make_graph([], "body", [], [])
    model = network()
    model.graph.node.append(helper.make_node("If", ["raw"], ["never"], then_branch=body, else_branch=body))
    return model


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: single("Own", domain="com.example"), "operators beyond ONNX's own"),
        (lambda: single("RandomNormalLike"), "draws random numbers"),
        (external, "keeps data outside its file"),
        (looping, "holds graphs within"),
        (sparse, "holds sparse tensors"),
        (lambda: retyped(TensorProto.STRING, [None, 3]), "other inputs than floats"),
        (lambda: retyped(TensorProto.INT64, [None, 3]), "other inputs than floats"),
        (lambda: retyped(TensorProto.FLOAT, [None, None]), "neither one matrix of a fixed width"),
        (lambda: retyped(TensorProto.FLOAT, [8, 3]), "a fixed number of rows"),
        (lambda: retyped(TensorProto.FLOAT, [None, 4]), "ONNX Runtime cannot"),
        (two_scores, "has 2 outputs that could be the score"),
        (lambda: single("Identity"), "3 values that are no probabilities"),
    ],
    ids=lambda given: "" if callable(given) else given,
)
def test_what_cannot_be_served_says_why(tmp_path: Path, make: Any, said: str) -> None:
    with pytest.raises(SealRefused, match=said):
        seal_here(tmp_path, make())
    assert not (tmp_path / "m-1").exists()


@pytest.mark.parametrize("raw", [b"", b"garbage", b"\x08\x08"], ids=repr)
def test_a_file_that_is_no_graph_is_refused(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "m.onnx").write_bytes(raw)
    with pytest.raises(SealRefused, match="is not a valid ONNX graph"):
        seal_here(tmp_path, tmp_path / "m.onnx")
    with pytest.raises(NotFound, match="no model file"):
        seal_here(tmp_path, tmp_path / "none.onnx")
