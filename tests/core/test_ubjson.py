"""A UBJSON object is whole or it is not; XGBoost itself cannot tell."""

import pytest
import xgboost
from hypothesis import given
from hypothesis import strategies as st

from scoreline.core.ubjson import is_whole_ubjson

TEXT = b"L" + (1).to_bytes(8, "big") + b"k"


@pytest.fixture(scope="module", params=["gbtree", "gblinear", "dart"])
def model(request: pytest.FixtureRequest) -> bytes:
    matrix = xgboost.DMatrix([[0.0, 1.0], [1.0, float("nan")], [2.0, 3.0]], [0, 1, 1], feature_types=["q", "q"])
    return bytes(xgboost.train({"booster": request.param, "nthread": 1}, matrix, 3).save_raw("ubj"))


def test_what_xgboost_writes_is_whole(model: bytes) -> None:
    assert is_whole_ubjson(model)


def test_no_part_of_it_is_whole_nor_it_with_more_behind(model: bytes) -> None:
    assert not any(is_whole_ubjson(model[:end]) for end in range(len(model)))
    assert not is_whole_ubjson(model + b"}")


@given(st.binary(max_size=64))
def test_any_bytes_have_an_answer(raw: bytes) -> None:
    assert is_whole_ubjson(raw) in (True, False)
    is_whole_ubjson(b"{" + TEXT + raw + b"}")


@pytest.mark.parametrize(
    ("value", "whole"),
    [
        (b"Z", True), (b"T", True), (b"i\x01", True), (b"I\x00\x01", True), (b"D" + bytes(8), True),
        (b"Si\x02ab", True), (b"SI\x00\x02ab", True), (b"Sl\x00\x00\x00\x01a", True), (b"[i\x01i\x02]", True),
        (b"[#i\x02TF", True), (b"[$d#i\x02" + bytes(8), True), (b"{i\x01aT}", True), (b"[]", True),
        (b"D" + bytes(7), False), (b"Si\x03ab", False), (b"Si\xff", False), (b"[$d#i\x02" + bytes(7), False),
        (b"[$[#i\x02", False), (b"[$d", False), (b"[#i\x7fT", False), (b"?", False), (b"", False), (b"S?", False),
        (b"[" * 100_000, False),
    ],
    ids=repr,
)  # fmt: skip
def test_each_kind_of_value(value: bytes, whole: bool) -> None:
    assert is_whole_ubjson(b"{" + TEXT + value + b"}") is whole
