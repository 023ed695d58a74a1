"""JSON as it is: what other readers take for granted is refused, and no text of the caller comes back in a message."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreline.core.strictjson import strict_json

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(values, st.booleans())
def test_every_json_value_is_read_as_the_standard_library_reads_it(value: object, finite: bool) -> None:
    raw = json.dumps(value).encode()
    assert strict_json(raw, finite=finite) == value


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (b"", "expecting value at line 1, column 1"),
        (b"{", "at line 1, column 2"),
        (b"{'a': 1}", "property name"),
        (b'{"a": 1} x', "extra data"),
        (b'{"a": 1,}', "at line 1"),
        (b'\xef\xbb\xbf{"a": 1}', "BOM"),
        (b'{"a": 1, "a": 1}', "a key stands twice in one object"),
        (b'[{"a": {"b": 1, "b": 2}}]', "a key stands twice in one object"),
        (b'{"a": NaN}', "NaN and Infinity are not JSON"),
        (b"[Infinity]", "NaN and Infinity are not JSON"),
        (b"-Infinity", "NaN and Infinity are not JSON"),
        (b"[1e999]", "a number is not finite"),
        (b"[-1e999]", "a number is not finite"),
        (b'{"a": "\xff"}', "it is not UTF-8"),
        (b"[" * 100_000, "it nests too deep"),
        (b'{"a":' * 100_000, "it nests too deep"),
        (b"[" + b"9" * 5000 + b"]", "not finite"),
    ],
)
def test_what_is_not_strict_json_is_refused_with_the_place(raw: bytes, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        strict_json(raw)


def test_too_large_a_number_is_left_to_the_reader_of_rows_to_name() -> None:
    assert strict_json(b"[1e999]", finite=False) == [math.inf]


@given(st.binary(max_size=60))
def test_no_bytes_do_anything_but_parse_or_refuse(raw: bytes) -> None:
    try:
        strict_json(raw)
    except ValueError as error:
        assert str(error)


@pytest.mark.parametrize(
    "raw", [b'{"a": sesame}', b'["sesame]', b'{"sesame" 1}', b'"\\sesame"', b'{"sesame":1,"sesame":2}']
)
def test_messages_repeat_nothing_of_the_text(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r".+") as refused:
        strict_json(raw)
    assert "sesame" not in str(refused.value)
