"""Random schemas, and rows for them in JSON as callers write it: plain, odd and broken."""

import json
import math
from typing import Any

from hypothesis import assume
from hypothesis import strategies as st

from scoreline.core.schema import EXACT_INTEGER_MAX, FLOAT32_MAX, Field, Schema

# Texts that are numbers, or nearly, in JSON; and other values a caller may send anywhere.
NUMBERS = (
    *("0", "-0", "-0.0", "1", "-1", "3.0", "3.5", "1E2", "1e-3", "0.1", "1e5", "2.5e0", "1e-400", "5e-324"),
    *("9007199254740991", "9007199254740992", "9007199254740993", "-9007199254740993", "9007199254740993.0"),
    *("9223372036854775807", "9223372036854775808", "18446744073709551615", "18446744073709551616", "1" + "0" * 30),
    *("340282346638528859811704183484516925440", "340282346638528859811704183484516925441", "3.4028234663852887e38"),
    *("3.4028234663852886e38", "-3.4028234663852886e38", "1e39", "1e308", "1e999", "-1e999", "1" + "0" * 400),
    *("0.1000000000000000055511151231257827021181583404541015625", "2.22507385850720113605740979670913197593e-308"),
)
OTHERS = ("null", "true", "false", '""', '"1"', "[]", "{}", "[1]", '{"a":1}', '"a:b"', '"\\ud800"', '"\\u0061"')
BROKEN = ("NaN", "Infinity", "-Infinity", "1.", ".5", "01", "+1", "-", "1e", "0x1", "tru", "", "'a'", '"\x01"', '"a')

names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=6).filter(str.isprintable) | st.sampled_from(
    ("age", "a:b", 'say "no"', "back\\slash", "größe", "名前", "🚗", "x" * 200, " ", "f0", "{", "1")
)
bounds = st.sampled_from((0, 1, 0.5, -2.5, 100, 1e6, 2**53, 2.0**53 + 2, 1e30, FLOAT32_MAX, -FLOAT32_MAX)) | st.floats(
    -1e9, 1e9
)
text_categories = st.lists(
    st.text(st.characters(codec="utf-8"), max_size=4) | st.sampled_from(("a", "b", "a:b", 'q"q', "\\", "é", "")),
    min_size=1,
    max_size=4,
    unique=True,
)
integer_categories = st.lists(
    st.integers(-3, 9) | st.sampled_from((2**63, -(2**63), 2**64, -(2**63) - 1, 10**30)),
    min_size=1,
    max_size=4,
    unique=True,
)


@st.composite
def field_of(draw: st.DrawFn, name: str) -> Field:
    kind = draw(st.sampled_from(("number", "number", "integer", "boolean", "category")))
    settings: dict[str, Any] = {"type": kind, "nullable": draw(st.booleans())}
    if kind in ("number", "integer") and draw(st.booleans()):
        low, high = sorted((draw(bounds), draw(bounds)))
        if kind == "integer":
            exact = EXACT_INTEGER_MAX
            assume(-exact <= math.ceil(low) <= math.floor(high) and low <= exact)
        settings["range"] = [draw(st.sampled_from((low, None))), draw(st.sampled_from((high, None)))]
    if kind == "category":
        settings["categories"] = draw(text_categories | integer_categories)
        settings["unseen"] = draw(st.sampled_from(("refuse", "missing")))
    field = Field.from_settings(name, settings)
    default = draw(st.sampled_from(("none", "none", "missing", "value")))
    store = draw(st.integers(0, 9)) == 0
    if default == "value":
        settings["default"] = json.loads(draw(accepted_text(field)))
    elif default == "missing" or store:
        settings["default"] = math.nan
    return Field.from_settings(name, settings | {"source": "store" if store else "request"})


@st.composite
def schemas(draw: st.DrawFn) -> Schema:
    found = draw(st.lists(names, min_size=1, max_size=5, unique=True))
    entity = draw(st.sampled_from(("", "", "about", "a:bout")))
    return Schema(tuple(draw(field_of(name)) for name in found), "" if entity in found else entity)


def accepted_text(field: Field) -> st.SearchStrategy[str]:
    """JSON of a value the field takes, as plain as callers send it, and not null."""
    low, high = field.bounds
    if field.type == "boolean":
        return st.sampled_from(("true", "false"))
    if field.type == "category":
        return st.sampled_from([json.dumps(category, ensure_ascii=False) for category in field.categories])
    if field.type == "integer":
        return st.integers(math.ceil(low), math.floor(high)).map(str)
    return st.floats(low, high).map(repr) | st.sampled_from((repr(low), repr(high)))


def sent_text(field: Field) -> st.SearchStrategy[str]:
    """JSON, or nearly, of what a caller may send for the field."""
    known = [json.dumps(category) for category in field.categories]
    near = [repr(math.nextafter(bound, aim)) for bound in field.bounds for aim in (-math.inf, math.inf)]
    odd = st.sampled_from((*NUMBERS, *OTHERS, *known, *near))
    return accepted_text(field) | odd | st.one_of(st.just("null"), st.floats(allow_nan=False).map(_number), odd)


def _number(value: float) -> str:
    return repr(value) if math.isfinite(value) else "1e999"


@st.composite
def row_texts(draw: st.DrawFn, schema: Schema, *, tidy: bool) -> str:
    pairs = []
    for field in schema.fields:
        if field.default is not None and (draw(st.booleans()) or (tidy and field.source == "store")):
            continue
        if not tidy and draw(st.integers(0, 19)) == 0:
            continue
        value = draw(accepted_text(field) if tidy else sent_text(field))
        pairs.append((_key(draw, field.name), value))
        if not tidy and draw(st.integers(0, 19)) == 0:
            pairs.append((_key(draw, field.name), draw(sent_text(field))))
    if schema.entity and draw(st.booleans()):
        about = ('"c-1"', '"c-2"', "42", "null")
        pairs.append((_key(draw, schema.entity), draw(st.sampled_from(about if tidy else about + NUMBERS + OTHERS))))
    if not tidy and draw(st.integers(0, 9)) == 0:
        pairs.append((json.dumps(draw(names | st.just("\ud800"))), draw(st.sampled_from((*NUMBERS, *OTHERS)))))
    if not tidy and draw(st.integers(0, 29)) == 0:
        pairs.append(('"broken"', draw(st.sampled_from(BROKEN))))
    space = draw(st.sampled_from(("", "", " ", " ", "\n\t", "\r\n", "\x0b") if not tidy else ("", " ", "\n\t")))
    between = draw(st.sampled_from((",", ", ", " ,\n")))
    return (
        "{" + space + between.join(f"{key}{space}:{space}{value}" for key, value in draw(st.permutations(pairs))) + "}"
    )


def _key(draw: st.DrawFn, name: str) -> str:
    plain = json.dumps(name, ensure_ascii=False)
    escaped = '"' + "".join(f"\\u{unit:04x}" for unit in _utf16(name)) + '"'
    return draw(st.sampled_from((plain, plain, plain, json.dumps(name), escaped)))


def _utf16(text: str) -> list[int]:
    raw = text.encode("utf-16-be")
    return [int.from_bytes(raw[start : start + 2], "big") for start in range(0, len(raw), 2)]
