"""The bad inputs as one table, and the doors they are sent to as another: a protocol more is a door more.

A case is what is wrong with one row, in JSON text, whatever the protocol around it. A door says where rows go, how a
body is made of their texts, and how scores and problems are read from its answers.
"""

import json
from collections.abc import Callable, Mapping, Sequence
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


@dataclass(frozen=True)
class Case:
    """What is wrong with one row: its members in JSON, and what is answered to that.

    `status` 200: it is not wrong after all, and `means` is the row that must have been decided.
    """

    name: str
    members: Sequence[tuple[str, str]] | str
    status: int
    problems: Problems | None = None
    means: Mapping[str, Any] | None = None

    @property
    def text(self) -> str:
        if isinstance(self.members, str):
            return self.members
        return "{" + ",".join(f"{json.dumps(key)}:{value}" for key, value in self.members) + "}"


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
    body: Callable[[Sequence[str]], bytes]
    scores: Callable[[Any], list[float]]
    problems: Callable[[Any], set[tuple[int, str, str]]]
    content_type: str = "application/json"
    problem_type: str = "application/problem+json"
    skips: tuple[str, ...] = ()

    @property
    def bad(self) -> int:
        """The place of the bad row."""
        return self.rows // 2

    def send(self, url: str, text: str) -> httpx.Response:
        """The good row everywhere but in the bad one's place."""
        good = "{" + ",".join(f'"{key}":{value}' for key, value in ROW.items()) + "}"
        rows = [good] * self.rows
        rows[self.bad] = text
        return self.post(url, self.body(rows))

    def post(self, url: str, body: bytes) -> httpx.Response:
        return httpx.post(url + self.path, content=body, headers={"content-type": self.content_type}, timeout=30)


def _problems(answer: Any) -> set[tuple[int, str, str]]:
    return {(found["row"], found["field"], found["problem"]) for found in answer["errors"]}


def _target(name: str, path: str, *, rows: int) -> Target:
    def body(texts: Sequence[str]) -> bytes:
        joined = ",".join(texts) if rows == 1 else f"[{','.join(texts)}]"
        return joined.encode("utf-8", "surrogatepass")

    def scores(answer: Any) -> list[float]:
        found = [answer] if rows == 1 else answer["predictions"]
        return [row["fraud_probability"] for row in found]

    return Target(name, path, rows, body, scores, _problems)


def _instances(name: str, path: str, key: str, skips: tuple[str, ...] = ()) -> Target:
    """A protocol whose body is an object with an array of rows."""

    def body(texts: Sequence[str]) -> bytes:
        return f'{{"{key}":[{",".join(texts)}]}}'.encode("utf-8", "surrogatepass")

    json_type = "application/json"
    return Target(name, path, 3, body, lambda answer: answer["predictions"], _problems, json_type, json_type, skips)


TARGETS = (
    _target("/predict, one row", "/predict", rows=1),
    _target("/predict, many rows", "/predict", rows=3),
    _target("/models/{name}/predict, one row", "/models/fraud/predict", rows=1),
    _target("/models/{name}/predict, many rows", "/models/fraud/predict", rows=3),
    _instances("KServe v1", "/v1/models/fraud:predict", "instances"),
    _instances("MLflow", "/invocations", "dataframe_records", skips=("NaN",)),  # its own client writes NaN for null
)
