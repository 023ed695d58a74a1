"""Tensors of the Open Inference Protocol: read as they are written, or refused by what is wrong with them."""

import json
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from inprocess import ask, open_door

from scoreline.core.errors import Malformed, TooLarge
from scoreline.doors.http.app import App
from scoreline.doors.http.pages import make_pages
from scoreline.doors.http.tensors import DTYPES, Tensor, text_bytes
from scoreline.doors.http.tensors import read_tensors as read_limited
from service import SealedModel

NOTHING = memoryview(b"")
URL = "/v2/models/churn/infer"


def read_tensors(inputs: object, tail: memoryview) -> list[Tensor]:
    return read_limited(inputs, tail, max_inputs=3, max_values=30)


def tensor(**changed: Any) -> dict[str, Any]:
    return {"name": "x", "shape": [2], "datatype": "FP64", "data": [1.5, 2]} | changed


def in_bytes(size: Any, **changed: Any) -> dict[str, Any]:
    given = tensor(parameters={"binary_data_size": size}, **changed)
    del given["data"]
    return given


@given(st.sampled_from(list(DTYPES)), st.data())
def test_json_and_bytes_are_one_tensor(datatype: str, data: st.DataObject) -> None:
    dtype = np.dtype(DTYPES[datatype])
    raw = data.draw(st.binary(min_size=3 * dtype.itemsize, max_size=3 * dtype.itemsize))
    if datatype == "BOOL":
        raw = bytes(byte & 1 for byte in raw)
    array = np.nan_to_num(np.frombuffer(raw, dtype)) if dtype.kind == "f" else np.frombuffer(raw, dtype)
    head = {"datatype": datatype, "shape": [3, 1]}
    (from_json,) = read_tensors([tensor(data=array.tolist(), **head)], NOTHING)
    (from_bytes,) = read_tensors([in_bytes(array.nbytes, **head)], memoryview(array.tobytes()))
    assert from_json.shape == from_bytes.shape == (3, 1)
    assert np.asarray(from_json.values).tolist() == np.asarray(from_bytes.values).tolist() == array.tolist()


@given(st.lists(st.text(), min_size=1, max_size=5))
def test_texts_survive_bytes(texts: list[str]) -> None:
    raw = text_bytes([text.encode() for text in texts])
    given_head = in_bytes(len(raw), datatype="BYTES", shape=[len(texts)])
    assert read_tensors([given_head], memoryview(raw))[0].values == texts


@pytest.mark.parametrize(
    ("inputs", "tail", "problem"),
    [
        (None, b"", "inputs is an array of tensors"),
        ([], b"", "inputs is an array of tensors"),
        ([7], b"", "inputs is an array of tensors"),
        ([tensor(name="")], b"", "an input has a name"),
        ([tensor(name=["x"])], b"", "an input has a name"),
        ([tensor(), tensor()], b"", "an input is there twice"),
        ([tensor(datatype="FP16")], b"", "the datatype of an input is one of"),
        ([tensor(datatype=["FP64"])], b"", "the datatype of an input is one of"),
        ([tensor(shape=[])], b"", "the shape of an input"),
        ([tensor(shape=2)], b"", "the shape of an input"),
        ([tensor(shape=[-1])], b"", "the shape of an input"),
        ([tensor(shape=[2.0])], b"", "the shape of an input"),
        ([tensor(shape=[True])], b"", "the shape of an input"),
        ([tensor(shape=[2**40])], b"", "the shape of an input"),
        ([tensor(shape=[2, 3], data=[[1, 2], [3, 4]])], b"", "not as many values as its shape says"),
        ([tensor(name=str(number)) for number in range(4)], b"", "far more inputs than the model has fields"),
        ([tensor(parameters=[1])], b"", "parameters is an object"),
        ([tensor(parameters={"shared_memory_region": "a"})], b"", "the parameter shared_memory_region is not taken"),
        ([tensor(shape=[1] * 9)], b"", "the shape of an input"),
        ([tensor(shape=[3])], b"", "not as many values as its shape says"),
        ([tensor(data=None)], b"", "an input has data, or binary_data_size"),
        ([in_bytes(15)], bytes(15), "not as many as its shape and datatype say"),
        ([in_bytes(16)], bytes(15), "binary_data_size of an input is not the number of bytes"),
        ([in_bytes(-1)], bytes(15), "binary_data_size of an input is not the number of bytes"),
        ([in_bytes(True)], bytes(1), "binary_data_size of an input is not the number of bytes"),
        ([in_bytes("16")], bytes(16), "binary_data_size of an input is not the number of bytes"),
        ([in_bytes(16)], bytes(17), "more bytes follow the inputs"),
        ([tensor()], b"x", "more bytes follow the inputs"),
        ([tensor(parameters={"binary_data_size": 0})], b"", "has data or binary_data_size, not both"),
        ([in_bytes(2, datatype="BOOL")], b"\x01\x02", "a BOOL is a byte of 0 or 1"),
        ([in_bytes(3, datatype="BYTES", shape=[1])], bytes(3), "not as many elements as its shape says"),
        ([in_bytes(8, datatype="BYTES", shape=[1])], bytes(8), "not as many elements as its shape says"),
        ([in_bytes(4, datatype="BYTES", shape=[2])], bytes(4), "not as many elements as its shape says"),
        ([in_bytes(5, datatype="BYTES", shape=[1])], struct.pack("<I", 2**32 - 1) + b"a", "not as many elements"),
        ([in_bytes(5, datatype="BYTES", shape=[1])], b"\x01\0\0\0\xff", "a BYTES element is not UTF-8"),
    ],
)
def test_what_is_no_tensor_is_refused(inputs: Any, tail: bytes, problem: str) -> None:
    with pytest.raises(Malformed, match=problem):
        read_tensors(inputs, memoryview(tail))


@pytest.mark.parametrize("shape", ([31], [4, 8], [2**30] * 8))
def test_values_are_counted_before_they_are_looked_at(shape: list[int]) -> None:
    with pytest.raises(TooLarge, match="at most 30 values"):
        read_tensors([tensor(shape=shape)], NOTHING)


@pytest.mark.parametrize(
    ("datatype", "data"),
    [
        ("BOOL", [1]),
        ("BOOL", [300.5]),
        ("BYTES", [300.5]),
        ("INT8", [300.5]),
        ("INT8", [300]),
        ("INT8", [300, None]),
        ("UINT64", [-1]),
        ("INT64", [2**63]),
        ("INT64", ["at"]),
        ("INT64", [True]),
        ("INT64", [1e300]),
        ("FP32", ["at"]),
        ("FP64", [True, None]),
        ("FP64", [10**399]),
        ("FP64", [[1.0], 2.0]),
    ],
)
def test_a_value_of_another_datatype_is_told(datatype: str, data: list[Any]) -> None:
    (found,) = read_tensors([tensor(datatype=datatype, data=data, shape=[len(data)])], NOTHING)
    assert not found.true


@pytest.mark.parametrize(
    ("datatype", "data", "means"),
    [
        ("BOOL", [True, None], [True, None]),
        ("BYTES", ["at", None], ["at", None]),
        ("INT8", [-128, 127, 3.0, None], [-128, 127, 3.0, None]),
        ("FP32", [0.1, None], [float(np.float32(0.1)), None]),
        ("FP64", [1, None], [1.0, None]),
        ("FP64", [], []),
    ],
)
def test_null_is_a_missing_value_of_every_datatype(datatype: str, data: list[Any], means: list[Any]) -> None:
    (found,) = read_tensors([tensor(datatype=datatype, data=data, shape=[len(data)])], NOTHING)
    assert found.true
    assert [None if value != value else value for value in found.values] == means


def test_data_come_flat_or_nested_as_their_shape_is() -> None:
    for data in ([1, 2, 3, 4], [[1, 2], [3, 4]]):
        assert list(read_tensors([tensor(shape=[2, 2], data=data)], NOTHING)[0].values) == [1, 2, 3, 4]
    assert read_tensors([tensor(data=[1, [2]])], NOTHING)[0].values == [1, [2]], "the schema refuses a list"


@pytest.mark.parametrize(
    ("body", "status", "problem"),
    [
        (
            {"inputs": [tensor(name="tenure"), tensor(name="premium", shape=[1], data=[1])]},
            400,
            "number of rows, the same",
        ),
        ({"inputs": [tensor(shape=[1, 2])]}, 400, "or one input is all fields, [n, 3]"),
        ({"inputs": [tensor(shape=[0], data=[])]}, 400, "there are no rows"),
        ({"inputs": [tensor(shape=[51], data=[1.0] * 51)]}, 413, "at most 50 rows"),
        ({"inputs": [tensor(shape=[201], data=[1.0] * 201)]}, 413, "at most 200 values"),
        ({"inputs": [tensor(name=f"k{number}") for number in range(104)]}, 400, "far more inputs"),
        ({"inputs": [tensor(name="tenure", shape=[1], data=[1, 2])]}, 400, "not as many values as its shape says"),
        ({"inputs": [tensor(datatype="INT8", data=[1, 300, 2], shape=[1, 3])]}, 400, "not of the datatype of its"),
        ({"inputs": [tensor(datatype="BOOL", data=[300.5] * 3, shape=[1, 3])]}, 400, "not of the datatype of its"),
        ({"inputs": [tensor()]}, 422, "field 'x': is not a field of this model"),
        ({"inputs": [tensor(shape=[1, 3], data=[1, "2", None])]}, 422, "field 'premium': must be a number"),
        ({"inputs": [tensor()], "outputs": [{"name": "margin"}]}, 400, "the outputs of this model are churn_prob"),
        ({"inputs": [tensor()], "id": 7}, 400, "id is a text"),
        ({"inputs": [tensor()], "id": "\ud800"}, 400, "id is a text"),
        ({"inputs": [tensor()], "id": "x" * 1025}, 400, "id is a text of at most 1024"),
        ({"inputs": [tensor()], "parameters": [1]}, 400, "parameters is an object"),
        ({"inputs": [tensor()], "parameters": {"sequence_id": 7}}, 400, "the parameter sequence_id is not taken"),
        (
            {"inputs": [tensor()], "outputs": [{"name": "churn_probability", "parameters": {"classification": 2}}]},
            400,
            "the parameter classification is not taken",
        ),
        ([], 400, "a JSON object with inputs"),
    ],
)
def test_requests_are_refused_with_the_reason(churn: SealedModel, body: Any, status: int, problem: str) -> None:
    door = open_door(churn)
    answer = ask(App(door, make_pages(door)), "POST", URL, json.dumps(body).encode(), content_type="application/json")
    assert answer.status_code == status
    assert problem in answer.json()["error"]


@pytest.mark.parametrize("length", ["x", "-1", "99999", "1e2", ""])
def test_length_of_the_json_that_lies_is_refused(churn: SealedModel, length: str) -> None:
    door = open_door(churn)
    headers = {"content_type": "application/octet-stream", "inference_header_content_length": length}
    answer = ask(App(door, make_pages(door)), "POST", URL, b"{}", **headers)
    assert answer.status_code == 400


def test_a_text_in_any_script_is_an_id(churn: SealedModel) -> None:
    door = open_door(churn)
    body = {"id": "é😀\u0000", "inputs": [tensor(shape=[1, 3], data=[1, 2, 3])]}
    answer = ask(App(door, make_pages(door)), "POST", URL, json.dumps(body).encode(), content_type="application/json")
    assert (answer.status_code, answer.json()["id"]) == (200, body["id"])
