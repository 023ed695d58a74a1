"""What a CSV cell says: decimals in ASCII, and nothing that only Python reads."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreline.core.schema import Field
from scoreline.core.texts import text_value
from scoreline.doors.batch.texts import text_numbers

NUMBER, INTEGER = Field("x", "number", nullable=True), Field("x", "integer", nullable=True)
CODES = Field("x", "category", categories=(1, 12, 1000))


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *(("1000", 1000.0), ("-1.5", -1.5), ("+2", 2.0), (".5", 0.5), ("5.", 5.0), ("1e3", 1000.0), ("1E-3", 0.001)),
        *((" 7\t", 7.0), ("inf", np.inf), ("-Infinity", -np.inf), ("", None), ("NaN", None), ("-nan", None)),
    ],
)
def test_decimals_are_numbers(text: str, number: float | None) -> None:
    assert text_value(NUMBER, text) == number


@pytest.mark.parametrize(
    "text",
    (
        "1_000",
        "٣",
        "\uff11\uff12",
        "1,5",
        "0x10",
        "1e",
        "e1",
        ".",
        "+",
        "--1",
        "1 2",
        "\u00a07",
        "7\n",
        "\u0131nf",
        "1e1_0",
    ),
)
@pytest.mark.parametrize("field", (NUMBER, INTEGER, CODES), ids=lambda field: field.type)
def test_what_only_python_reads_stays_a_text(field: Field, text: str) -> None:
    assert text_value(field, text) == text


def test_integers_are_exact_or_stay_texts() -> None:
    assert text_value(INTEGER, "9007199254740993") == 9007199254740993
    assert text_value(INTEGER, "9" * 5000) == np.inf, "which is not finite, and so refused"
    assert text_value(CODES, " 12") == 12


@given(st.lists(st.text(alphabet="0123456789.eE+-_ \t٣\uff11naif", max_size=6), min_size=1, max_size=4))
@pytest.mark.parametrize("field", (NUMBER, INTEGER, CODES), ids=lambda field: field.type)
def test_a_column_reads_as_its_cells_do(field: Field, texts: list[str]) -> None:
    numbers, doubts = text_numbers(field, pa.array(texts, pa.string()))
    for row, text in enumerate(texts):
        wanted, problem = field.read(text_value(field, text))
        if doubts is None or not doubts[row]:
            assert problem == ""
            np.testing.assert_equal(numbers[row], wanted)
