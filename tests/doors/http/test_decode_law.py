"""The law of the typed decoder: it answers exactly what the core's own reader answers on strictly parsed JSON."""

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jsonrows import BROKEN, NUMBERS, OTHERS, row_texts, schemas

from scoreline.core.batch import Batch, Context
from scoreline.core.errors import InputError, Malformed, RowsRefused, TooLarge
from scoreline.core.rows import read_rows
from scoreline.core.schema import EXACT_INTEGER_MAX, Field, Schema
from scoreline.core.strictjson import strict_json
from scoreline.doors.http.decode import RowReader
from scoreline.doors.http.instances import check_values

CONTEXT = Context(1)
MAX_ROWS = 50


@st.composite
def bodies(draw: st.DrawFn) -> tuple[Schema, bytes]:
    schema = draw(schemas())
    tidy = draw(st.booleans())
    rows = row_texts(schema, tidy=tidy)
    other = st.sampled_from(("null", "1", "[]", '"a"', "{}")) if not tidy else rows
    shape = draw(st.sampled_from(("one", "one", "many")))
    if shape == "one":
        text = draw(rows)
    else:
        text = "[" + ",".join(draw(st.lists(rows | rows | rows | other, max_size=4))) + "]"
    around = draw(
        st.sampled_from((*((("", ""),) * 8), (" \n", "\n"), ("\x0b", ""), ("", "x"), ("\ufeff", ""), ("", ",")))
    )
    text = text if tidy else around[0] + text + around[1]
    raw = text.encode("utf-8", "surrogatepass")
    if not tidy and raw and draw(st.integers(0, 9)) == 0:
        cut = draw(st.integers(0, len(raw)))
        raw = draw(st.sampled_from((raw[:cut], raw[:cut] + b"\xff" + raw[cut:], raw[:cut] + b"\x00" + raw[cut:])))
    return schema, raw


def reference(schema: Schema, body: bytes) -> Batch:
    """What the core's own reader gives, with the door's limits."""
    check_values(body, schema, MAX_ROWS)
    try:
        found = strict_json(body, finite=False)
    except ValueError:
        raise Malformed from None
    rows = found if isinstance(found, list) else [found]
    if not rows:
        raise Malformed
    if len(rows) > MAX_ROWS:
        raise TooLarge
    return read_rows(schema, rows, CONTEXT)


def outcome(read: Any) -> object:
    """A batch as its very bits, a refusal as its kind and problems."""
    try:
        batch = read()
    except RowsRefused as refused:
        return refused.problems
    except InputError as error:
        return type(error)
    defaulted = {row: tuple(positions) for row, positions in batch.defaulted.items()}
    return batch.values.shape, batch.values.tobytes(), defaulted, list(batch.entities)


@settings(max_examples=1200)
@given(bodies())
def test_the_typed_reader_answers_what_the_strict_reader_answers(case: tuple[Schema, bytes]) -> None:
    schema, body = case
    reader = RowReader(schema, MAX_ROWS)
    assert outcome(lambda: reader.read(body, CONTEXT)[0]) == outcome(lambda: reference(schema, body))


PREMIUM = Schema((Field("premium", "number", minimum=0.0),))
LIMITED = Schema((Field("n", "number", maximum=2.0**53),))


@pytest.mark.parametrize("text", (*NUMBERS, *OTHERS, *BROKEN))
@pytest.mark.parametrize("schema", (PREMIUM, LIMITED), ids=("open", "limited"))
@pytest.mark.parametrize("form", ('{{"{name}":{text}}}', '[{{"{name}":{text}}},{{"{name}":1}}]'))
def test_every_odd_number_means_the_same_to_both_readers(schema: Schema, text: str, form: str) -> None:
    body = form.format(name=schema.names[0], text=text).encode("utf-8", "surrogatepass")
    reader = RowReader(schema, MAX_ROWS)
    assert outcome(lambda: reader.read(body, CONTEXT)[0]) == outcome(lambda: reference(schema, body))


@settings(max_examples=300)
@given(st.binary(max_size=40))
@example(b"")
@example(b"[" * 100_000)
@example(b'{"premium":' * 100_000)
def test_bytes_that_are_no_rows_are_refused_alike(body: bytes) -> None:
    reader = RowReader(PREMIUM, MAX_ROWS)
    assert outcome(lambda: reader.read(body, CONTEXT)[0]) == outcome(lambda: reference(PREMIUM, body))


def test_an_array_has_at_least_one_row_and_at_most_the_limit() -> None:
    reader = RowReader(PREMIUM, 3)
    with pytest.raises(Malformed, match="no rows"):
        reader.read(b"[]", CONTEXT)
    batch, many = reader.read(json.dumps([{"premium": 1}] * 3).encode(), CONTEXT)
    assert (len(batch), many) == (3, True)
    for rows in ([{"premium": 1}] * 4, [{"premium": None}] * 4):
        with pytest.raises(TooLarge, match="at most 3 rows"):
            reader.read(json.dumps(rows).encode(), CONTEXT)


def test_an_object_is_one_row_and_an_array_of_one_is_many() -> None:
    reader = RowReader(PREMIUM, MAX_ROWS)
    assert reader.read(b' \n{"premium": 1}', CONTEXT)[1] is False
    assert reader.read(b' \n[{"premium": 1}]', CONTEXT)[1] is True


def test_every_problem_of_every_row_is_named_at_once() -> None:
    reader = RowReader(PREMIUM, MAX_ROWS)
    with pytest.raises(RowsRefused) as caught:
        reader.read(b'[{"premium":-1,"x":2},{"premium":1},{},7]', CONTEXT)
    assert [(problem.row, problem.field, problem.problem) for problem in caught.value.problems] == [
        (0, "x", "is not a field of this model"),
        (0, "premium", "must be at least 0"),
        (2, "premium", "is required"),
        (3, "", "must be an object of fields"),
    ]


def test_a_plain_row_never_needs_the_strict_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    schema = Schema(
        (
            Field("amount", "number", minimum=0.0),
            Field("country", "category", categories=("at", "de"), default="de"),
            Field("visits", "integer", nullable=True),
            Field("balance", "number", source="store", default=0.0),
        )
    )

    def never(*_: object) -> Batch:
        raise AssertionError("the slow way was taken")

    reader = RowReader(schema, MAX_ROWS)
    monkeypatch.setattr(RowReader, "_read_strictly", never)
    for row in ({"amount": 1, "country": "at", "visits": 3}, {"visits": None, "amount": 2.5}):
        batch, _ = reader.read(json.dumps(row).encode(), CONTEXT)
        assert len(batch) == 1
        batch, _ = reader.read(json.dumps([row, row]).encode(), CONTEXT)
        assert len(batch) == 2


def test_integers_that_float64_holds_are_read_exactly() -> None:
    reader = RowReader(Schema((Field("n", "integer"),)), MAX_ROWS)
    batch, _ = reader.read(b'{"n": %d}' % EXACT_INTEGER_MAX, CONTEXT)
    assert int(batch.values.item()) == EXACT_INTEGER_MAX
    with pytest.raises(RowsRefused):
        reader.read(b'{"n": %d}' % (EXACT_INTEGER_MAX + 1), CONTEXT)
