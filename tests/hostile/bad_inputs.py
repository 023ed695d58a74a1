"""The bad inputs as one table, and the doors they are sent to as another: a protocol more is a door more.

A case is what is wrong with one row, in JSON text, whatever the protocol around it. A door says where rows go, how a
body is made of their texts, and how scores and problems are read from its answers.
"""

import csv
import io
import json
import struct
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import httpx

# Values no answer may repeat: each stands in the rows that are sent.
SECRETS = ("4711.0625", "secret-word", "86753")
ROW: dict[str, str] = {
    "amount": "4711.0625",
    "age_days": "1234",
    "country": '"fr:sud"',
    "repeat": "true",
    "distance": "86753.25",
}
NEVER = (*SECRETS, "Traceback", "/tmp", "/usr", "/root", ".py", "site-packages", "Error(", "line 1 in")
Problems = Mapping[str, str]
Row = Sequence[tuple[str, str]] | str


@dataclass(frozen=True)
class Case:
    """What is wrong with one row: its members in JSON, and what is answered to that.

    `status` 200: it is not wrong after all, and `means` is the row that must have been decided.
    """

    name: str
    members: Row
    status: int
    problems: Problems | None = None
    means: Mapping[str, Any] | None = None


def text_of(row: Row) -> str:
    """A row as the text of a JSON object."""
    return row if isinstance(row, str) else "{" + ",".join(f"{json.dumps(key)}:{value}" for key, value in row) + "}"


def members(**changed: str | None) -> list[tuple[str, str]]:
    """The good row with other values; None leaves a field out."""
    return [(key, text) for key, text in {**ROW, **changed}.items() if text is not None]


def of_row(name: str, problems: Problems, **changed: str | None) -> Case:
    return Case(name, members(**changed), 422, problems)


def malformed(name: str, **changed: str) -> Case:
    return Case(name, members(**changed), 400)


def accepted(name: str, means: Mapping[str, Any], **changed: str | None) -> Case:
    good = {key: json.loads(text) for key, text in ROW.items() if changed.get(key, "") is not None}
    return Case(name, members(**changed), 200, means={**good, **means})


NUMBER, INTEGER, FINITE = "must be a number", "must be an integer", "must be finite"
WORD, UNKNOWN = "must be one of the model's 4 categories", "is not a field of this model"
DEEP = "[" * 100_000

CASES = (
    of_row("a field is missing", {"amount": "is required"}, amount=None),
    of_row("an unknown field", {"colour": UNKNOWN}, colour='"secret-word"'),
    Case("no fields at all", "{}", 422, {"amount": "is required"}),
    of_row("1.5 as a text", {"amount": NUMBER}, amount='"1.5"'),
    of_row("abc for a number", {"amount": NUMBER}, amount='"abc"'),
    of_row("a text for a number that may be null", {"distance": NUMBER}, distance='"secret-word"'),
    of_row("a text for an integer", {"age_days": INTEGER}, age_days='"1234"'),
    of_row("a fraction for an integer", {"age_days": INTEGER}, age_days="86753.5"),
    malformed("NaN", amount="NaN"),
    malformed("Infinity", amount="Infinity"),
    malformed("-Infinity", distance="-Infinity"),
    of_row("1e999", {"amount": FINITE}, amount="1e999"),
    of_row("-1e999 where no range is", {"distance": FINITE}, distance="-1e999"),
    of_row("1e999 for an integer", {"age_days": FINITE}, age_days="1e999"),
    of_row("null", {"amount": "must not be null"}, amount="null"),
    of_row("null for what has a default", {"repeat": "must not be null"}, repeat="null"),
    of_row("true for a number", {"amount": NUMBER}, amount="true"),
    of_row("true for an integer", {"age_days": INTEGER}, age_days="true"),
    of_row("1 for a boolean", {"repeat": "must be true or false"}, repeat="1"),
    of_row("a text for a boolean", {"repeat": "must be true or false"}, repeat='"true"'),
    of_row("a list for a number", {"amount": NUMBER}, amount="[4711.0625]"),
    of_row("an object for a number", {"amount": NUMBER}, amount='{"amount":4711.0625}'),
    of_row("a list for a category", {"country": "must be a text"}, country='["secret-word"]'),
    of_row("a number for a category", {"country": "must be a text"}, country="86753"),
    of_row("a category the model does not know", {"country": WORD}, country='"secret-word"'),
    of_row("an empty category", {"country": WORD}, country='""'),
    of_row("a category with an escaped zero", {"country": WORD}, country='"at\\u0000"'),
    of_row("a lone surrogate as value", {"country": WORD}, country='"\\ud800"'),
    of_row("a lone low surrogate for a number", {"amount": NUMBER}, amount='"\\udfff"'),
    of_row("a lone surrogate as key", {"?": UNKNOWN}, **{"\ud800": "1"}),
    of_row("a huge integer for a number", {"amount": "must be at most 100000"}, amount="9" * 300),
    of_row("a huge integer for an integer", {"age_days": "must be at most 36500"}, age_days="9" * 30),
    of_row("a huge negative integer", {"age_days": "must be at least 0"}, age_days="-" + "9" * 300),
    of_row("an integer of 100,000 digits", {"amount": FINITE}, amount="9" * 100_000),
    of_row("more than the model's float", {"distance": "is too large"}, distance="1e39"),
    of_row("a little too much", {"amount": "must be at most 100000"}, amount="100000.00000000001"),
    Case("a key twice", [*members(), ("amount", "4711.0625")], 400),
    Case("a key twice, once escaped", '{"amount":4711.0625,"\\u0061mount":1}', 400),
    Case("a nested key twice", members(country='{"a":1,"a":2}'), 400),
    malformed("a raw control character", country='"secret-word\x01"'),
    malformed("a single quote", country="'secret-word'"),
    malformed("hexadecimal", amount="0x1267"),
    malformed("a leading zero", amount="04711.0625"),
    malformed("a plus", amount="+4711.0625"),
    malformed("a bare dot", amount="4711."),
    malformed("nothing for a value", amount=""),
    malformed("a word for a value", amount="undefined"),
    malformed("a comment", amount="4711.0625/*secret-word*/"),
    malformed("100,000 open brackets as a value", amount=DEEP),
    malformed("100,000 open braces as a value", amount='{"a":' * 100_000),
    Case("nested 100,000 deep and closed", members(amount=DEEP + "]" * 100_000), 400),
    Case("a comma too many", '{"amount":4711.0625,}', 400),
    Case("no comma", '{"amount":4711.0625 "age_days":86753}', 400),
    Case("no colon", '{"amount" 4711.0625}', 400),
    Case("no end", '{"amount":4711.0625', 400),
    Case("an end too many", '{"amount":4711.0625}}', 400),
    Case("a key that is no text", "{amount:4711.0625}", 400),
    Case("a number for a row", "4711.0625", 422, {"": "must be an object of fields"}),
    Case("a text for a row", '"secret-word"', 422, {"": "must be an object of fields"}),
    Case("null for a row", "null", 422, {"": "must be an object of fields"}),
    of_row(
        "everything at once",
        {
            "amount": NUMBER,
            "age_days": INTEGER,
            "country": WORD,
            "repeat": "must be true or false",
            "distance": FINITE,
            "colour": UNKNOWN,
            "size": UNKNOWN,
        },
        amount='"abc"',
        age_days="1.5",
        country='"secret-word"',
        repeat='"yes"',
        distance="1e999",
        colour="86753",
        size="{}",
    ),
    accepted("null where it may be", {"distance": None}, distance="null"),
    accepted("a default taken", {}, country=None),
    accepted("a whole number as 3.0", {"age_days": 3}, age_days="3.0"),
    accepted("a number as an integer", {"amount": 4711}, amount="4711"),
    accepted("a number with many digits", {"amount": 0.1}, amount="0.1000000000000000055511151231257827"),
    accepted("a number below float64", {"distance": 0.0}, distance="1e-999"),
    accepted("a minus zero", {"distance": 0.0}, distance="-0"),
)


@dataclass(frozen=True)
class Target:
    """A door: where rows go, and how its words are read.

    `body` makes one of the texts of rows; `scores` and `problems` read an answer; `rows` are how many it is sent at
    once, of which the middle one is bad.
    """

    name: str
    path: str
    rows: int
    body: Callable[[Sequence[Row]], bytes]
    scores: Callable[[Any], list[float]]
    problems: Callable[[Any], set[tuple[int, str, str]]]
    content_type: str = "application/json"
    problem_type: str = "application/problem+json"
    skips: tuple[str, ...] = ()
    takes: Callable[[Case], bool] = lambda _: True
    headers: Callable[[bytes], Mapping[str, str]] = lambda _: {}

    @property
    def bad(self) -> int:
        """The place of the bad row."""
        return self.rows // 2

    def send(self, url: str, row: Row, **more: str) -> httpx.Response:
        """The good row everywhere but in the bad one's place."""
        rows: list[Row] = [members()] * self.rows
        rows[self.bad] = row
        return self.post(url, self.body(rows), **more)

    def post(self, url: str, body: bytes, **more: str) -> httpx.Response:
        """`x_api_key=...` is a header."""
        named = {name.replace("_", "-"): text for name, text in more.items()}
        headers = {"content-type": self.content_type, **self.headers(body), **named}
        return httpx.post(url + self.path, content=body, headers=headers, timeout=30)


def _problems(answer: Any) -> set[tuple[int, str, str]]:
    return {(found["row"], found["field"], found["problem"]) for found in answer["errors"]}


def _target(name: str, path: str, *, rows: int) -> Target:
    def body(given: Sequence[Row]) -> bytes:
        texts = ",".join(map(text_of, given))
        joined = texts if rows == 1 else f"[{texts}]"
        return joined.encode("utf-8", "surrogatepass")

    def scores(answer: Any) -> list[float]:
        found = [answer] if rows == 1 else answer["predictions"]
        return [row["fraud_probability"] for row in found]

    return Target(name, path, rows, body, scores, _problems)


def _instances(name: str, path: str, key: str, skips: tuple[str, ...] = ()) -> Target:
    """A protocol whose body is an object with an array of rows."""

    def body(given: Sequence[Row]) -> bytes:
        return f'{{"{key}":[{",".join(map(text_of, given))}]}}'.encode("utf-8", "surrogatepass")

    json_type = "application/json"
    return Target(name, path, 3, body, _predictions, _problems, json_type, json_type, skips)


def _predictions(answer: Any) -> list[float]:
    found: list[float] = answer["predictions"]
    return found


def _first_output(answer: Any) -> list[float]:
    found: list[float] = answer["outputs"][0]["data"]
    return found


def _columns(case: Case) -> bool:
    """Whether a case is of single values, as a protocol of columns sends them."""
    return not isinstance(case.members, str)


def _split(rows: Sequence[Row]) -> bytes:
    (row,) = rows
    names, values = zip(*row, strict=True)
    return f'{{"dataframe_split":{{"columns":{json.dumps(names)},"data":[[{",".join(values)}]]}}}}'.encode()


DATATYPES = {"amount": "FP64", "age_days": "INT64", "country": "BYTES", "repeat": "BOOL", "distance": "FP64"}


def _tensors(rows: Sequence[Row]) -> bytes:
    (row,) = rows
    inputs = [
        f'{{"name":{json.dumps(key)},"shape":[1],"datatype":"{DATATYPES.get(key, "BYTES")}","data":[{value}]}}'
        for key, value in row
    ]
    return f'{{"inputs":[{",".join(inputs)}]}}'.encode()


def _packed(text: str) -> tuple[str, bytes]:
    """Datatype and bytes of a value; raises where no datatype holds it."""
    value = json.loads(text)
    if isinstance(value, str):
        raw = value.encode()
        return "BYTES", struct.pack("<I", len(raw)) + raw
    if isinstance(value, bool):
        return "BOOL", struct.pack("?", value)
    if isinstance(value, int):
        return "INT64", struct.pack("<q", value)
    return "FP64", struct.pack("<d", float("nan") if value is None else value)


def _binary_parts(row: Row) -> tuple[bytes, bytes]:
    inputs, tail = [], b""
    for key, text in row:
        datatype, raw = _packed(text)
        inputs.append({"name": key, "shape": [1], "datatype": datatype, "parameters": {"binary_data_size": len(raw)}})
        tail += raw
    return json.dumps({"inputs": inputs}).encode(), tail


def _has_binary(case: Case) -> bool:
    with suppress(ValueError, struct.error, RecursionError):
        return _columns(case) and bool(_binary_parts(case.members))
    return False


def _binary(rows: Sequence[Row]) -> bytes:
    (row,) = rows
    return b"".join(_binary_parts(row))


def _json_length(body: bytes) -> Mapping[str, str]:
    """How much of a body with bytes behind it is JSON, which is in ASCII."""
    return {"inference-header-content-length": str(json.JSONDecoder().raw_decode(body.decode("latin-1"))[1])}


def _csv(rows: Sequence[Row]) -> bytes:
    (row,) = rows
    text = io.StringIO()
    csv.writer(text).writerows(([key for key, _ in row], [_cell(value) for _, value in row]))
    return text.getvalue().encode()


def _cell(text: str) -> str:
    """A value as CSV has it: without quotes, and nothing where it is missing."""
    if text[:1] == '"':
        return str(json.loads(text))
    return "" if text == "null" else text


# In CSV there is one kind of value, a text; nothing is malformed; and an unknown column is told by its place.
OF_JSON_ONLY = (
    *("1.5 as a text", "a text for an integer", "a text for a boolean", "a list for a category"),
    *("a number for a category", "an empty category", "a lone surrogate as value"),
    *("a lone low surrogate for a number", "an unknown field", "a lone surrogate as key", "everything at once"),
)
TARGETS = (
    _target("/predict, one row", "/predict", rows=1),
    _target("/predict, many rows", "/predict", rows=3),
    _target("/models/{name}/predict, one row", "/models/fraud/predict", rows=1),
    _target("/models/{name}/predict, many rows", "/models/fraud/predict", rows=3),
    _instances("KServe v1", "/v1/models/fraud:predict", "instances"),
    _instances("MLflow", "/invocations", "dataframe_records", skips=("NaN",)),  # its own client writes NaN for null
    Target(
        "MLflow, split",
        "/invocations",
        1,
        _split,
        _predictions,
        _problems,
        problem_type="application/json",
        skips=("NaN",),
        takes=_columns,
    ),
    Target(
        "MLflow, CSV",
        "/invocations",
        1,
        _csv,
        _predictions,
        _problems,
        "text/csv",
        "application/json",
        OF_JSON_ONLY,
        lambda case: _columns(case) and case.status != 400,
    ),
    Target(
        "Open Inference v2",
        "/v2/models/fraud/infer",
        1,
        _tensors,
        _first_output,
        _problems,
        problem_type="application/json",
        takes=_columns,
    ),
    Target(
        "Open Inference v2, binary",
        "/v2/models/fraud/infer",
        1,
        _binary,
        _first_output,
        _problems,
        "application/octet-stream",
        "application/json",
        takes=lambda case: case.status != 400 and _has_binary(case),
        headers=_json_length,
    ),
)
