"""What an ONNX graph holds is known from its bytes: data elsewhere, graphs within and the like reach no library."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from models import small_model
from scoreline.core.errors import EngineFailed
from scoreline.engines import onnx as engine
from scoreline.engines.onnx import OnnxEngine
from scoreline.engines.onnx_file import problems
from scoreline.sealing.xgboost import read_xgboost

WEIGHTS = numpy_helper.from_array(np.array([[0.5], [0.25]], np.float32), "w")


def graph(*nodes: onnx.NodeProto, weights: TensorProto = WEIGHTS) -> onnx.ModelProto:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 2])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])
    nodes = nodes or (helper.make_node("MatMul", ["x", "w"], ["y"]),)
    found = helper.make_graph(nodes, "g", [x], [y], [weights])
    return helper.make_model(found, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def elsewhere(location: str, name: str = "w") -> TensorProto:
    place = onnx.StringStringEntryProto(key="location", value=location)
    kind = {"data_type": TensorProto.FLOAT, "dims": [2, 1], "data_location": TensorProto.EXTERNAL}
    return TensorProto(name=name, external_data=[place], **kind)


def with_sparse() -> onnx.ModelProto:
    found = graph()
    places = numpy_helper.from_array(np.array([0, 1], np.int64), "places")
    values = numpy_helper.from_array(np.array([1, 2], np.float32), "s")
    found.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [2, 1]))
    return found


def within(weights: TensorProto) -> onnx.ModelProto:
    inner = helper.make_graph([helper.make_node("Identity", ["w"], ["z"])], "i", [], [], [weights])
    yes = helper.make_node("Constant", [], ["yes"], value=numpy_helper.from_array(np.array(True)))
    return graph(yes, helper.make_node("If", ["yes"], ["y"], then_branch=inner, else_branch=inner))


def with_training() -> onnx.ModelProto:
    found = graph()
    found.training_info.add()
    return found


def with_function() -> onnx.ModelProto:
    found = graph()
    found.functions.append(helper.make_function("", "f", ["a"], ["a"], [], []))
    return found


def constant(**value: object) -> onnx.ModelProto:
    return graph(helper.make_node("Constant", [], ["c"], **value), helper.make_node("MatMul", ["x", "c"], ["y"]))


OUTSIDE, GRAPHS = "keeps data outside its file", "holds graphs within"
REFUSED: dict[str, tuple[Callable[[], onnx.ModelProto], str]] = {
    "a file here": (lambda: graph(weights=elsewhere("scoreline.toml")), OUTSIDE),
    "a file above": (lambda: graph(weights=elsewhere("../scoreline.toml")), OUTSIDE),
    "a file anywhere": (lambda: graph(weights=elsewhere("/etc/passwd")), OUTSIDE),
    "an attribute's": (lambda: constant(value=elsewhere("scoreline.toml")), OUTSIDE),
    "one of an attribute's": (
        lambda: graph(helper.make_node("Sin", ["x"], ["y"], of=[WEIGHTS, elsewhere("scoreline.toml")])),
        OUTSIDE,
    ),
    "that of a graph within": (lambda: within(elsewhere("scoreline.toml")), GRAPHS),
    "a graph within": (lambda: within(WEIGHTS), GRAPHS),
    "graphs within": (lambda: graph(helper.make_node("Sin", ["x"], ["y"], of=[within(WEIGHTS).graph])), GRAPHS),
    "a sparse tensor": (with_sparse, "holds sparse tensors"),
    "a sparse attribute": (
        lambda: constant(sparse_value=with_sparse().graph.sparse_initializer[0]),
        "holds sparse tensors",
    ),
    "training": (with_training, "holds its training"),
    "a function": (with_function, "uses operators beyond ONNX's own"),
    "operators of others": (
        lambda: graph(helper.make_node("Gelu", ["x"], ["y"], domain="com.microsoft")),
        "uses operators beyond ONNX's own",
    ),
    "chance": (lambda: graph(helper.make_node("RandomNormalLike", ["x"], ["y"])), "draws random numbers"),
}


@pytest.mark.parametrize(("made", "problem"), REFUSED.values(), ids=REFUSED.keys())
def test_what_no_graph_may_hold_never_reaches_the_runtime(
    made: Callable[[], onnx.ModelProto], problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxruntime, "InferenceSession", None)
    raw = made().SerializeToString()
    with pytest.raises(EngineFailed, match=f"is not given this graph: it {problem}"):
        OnnxEngine(raw, 2, 1)


@pytest.mark.parametrize("location", ["weights.bin", "./weights.bin", "../weights.bin", "/{folder}/weights.bin"])
def test_the_runtime_itself_finds_no_file_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, location: str
) -> None:
    """Where the first defence is not there, the second is."""
    np.array([[0.5], [0.25]], np.float32).tofile(tmp_path / "weights.bin")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(engine, "problems", lambda model: ())
    place = location.format(folder=tmp_path)
    one = helper.make_node("Gather", ["w", "at"], ["y"], axis=0)
    cast = helper.make_node("Cast", ["x"], ["at"], to=TensorProto.INT64)
    with pytest.raises(EngineFailed, match="cannot load this graph"):
        OnnxEngine(graph(cast, one, weights=elsewhere(place)).SerializeToString(), 2, 1)


def test_good_graphs_have_no_problems() -> None:
    assert list(problems(graph().SerializeToString())) == []
    assert list(problems(constant(value=WEIGHTS).SerializeToString())) == []
    for objective in ("binary:logistic", "multi:softprob"):
        assert list(problems(read_xgboost(small_model(objective)[0]).twin or b"")) == []


def test_no_graph_cut_anywhere_is_given_to_the_runtime_for_another() -> None:
    raw = graph(weights=elsewhere("scoreline.toml")).SerializeToString()
    for end in range(1, len(raw)):
        if list(problems(raw[:end])) == []:
            assert not onnx.load_from_string(raw[:end]).graph.initializer


@pytest.mark.parametrize(
    "raw",
    [
        b"\x3b\x3c",  # a group
        b"\xba\x80\x80\x80\x10\x00",  # the graph's tag with a bit more than protobuf reads
        b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",  # a length without end
        b"\x3a\x05\x0a",
        b"\x3f",
    ],
    ids=("a group", "a long tag", "a long length", "cut", "no kind"),
)
def test_what_is_no_message_is_no_graph(raw: bytes) -> None:
    assert list(problems(raw)) == ["is no whole ONNX graph"]


@given(st.binary(max_size=200))
def test_any_bytes_have_an_answer(raw: bytes) -> None:
    assert isinstance(list(problems(raw)), list)


def test_a_model_in_the_runtimes_own_format_is_no_graph(tmp_path: Path) -> None:
    """Its bytes would be read by another reader, behind the back of what is looked at here."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "m.ort")
    onnxruntime.InferenceSession(graph().SerializeToString(), options, providers=["CPUExecutionProvider"])
    with pytest.raises(EngineFailed):
        OnnxEngine((tmp_path / "m.ort").read_bytes(), 2, 1)
