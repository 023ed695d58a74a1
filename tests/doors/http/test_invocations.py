"""CSV and JSON at `/invocations`: what is refused says nothing of the rows, and nothing is read beyond the limits."""

import json

import httpx
import pytest
from inprocess import ask, open_door

from scoreline.core.batch import Context
from scoreline.core.schema import Schema
from scoreline.doors.http.app import App
from scoreline.doors.http.mlflow import MlflowDialect
from scoreline.doors.http.pages import make_pages
from service import SealedModel


def invoke(model: SealedModel, content: str | object, kind: str = "application/json") -> httpx.Response:
    door = open_door(model)
    body = content if isinstance(content, str) else json.dumps(content)
    return ask(App(door, make_pages(door)), "POST", "/invocations", body.encode(), content_type=kind)


def invoke_csv(model: SealedModel, text: str) -> httpx.Response:
    return invoke(model, text, "text/csv")


def test_lines_without_a_header_are_refused_without_their_values(sealed: SealedModel) -> None:
    answer = invoke_csv(sealed, "4711.0625,365,secret-word,true,86753\n12,1,de,false,2\n")
    assert answer.status_code == 422
    told = {(found["field"], found["problem"]) for found in answer.json()["errors"]}
    assert told >= {("column 3", "is not a field of this model"), ("amount", "is required")}
    assert [word for word in ("4711", "365", "secret-word", "86753") if word in answer.text] == []


def test_every_problem_of_csv_is_told_at_once(sealed: SealedModel) -> None:
    answer = invoke_csv(sealed, "amount,secret,age_days\nx,1,2\n1,1,1.5\n")
    assert [tuple(found.values()) for found in answer.json()["errors"]] == [
        (0, "column 2", "is not a field of this model"),
        (0, "amount", "must be a number"),
        (1, "age_days", "must be an integer"),
    ]


@pytest.mark.parametrize(
    ("text", "status", "problem"),
    [
        ("", 400, "there are no rows"),
        ("\n\n", 400, "there are no rows"),
        ("amount\n", 400, "there are no rows"),
        ("amount\n" + "1\n" * 51, 413, "at most 50 rows"),
        ("amount\n" + "1\n" * 51 + '"no end', 413, "at most 50 rows"),
        (",".join(f"k{number}" for number in range(106)) + '\n"no end', 400, "far more columns than the model"),
        ("amount,amount\n1,2\n", 400, "names every column once"),
        ("amount,age_days\n1\n", 400, "every line has 2 values"),
        ('amount\n"1', 400, "is not CSV"),
    ],
)
def test_csv_is_read_no_further_than_its_limits(sealed: SealedModel, text: str, status: int, problem: str) -> None:
    answer = invoke_csv(sealed, text)
    assert (answer.status_code, problem in answer.json()["message"]) == (status, True), answer.text


def test_csv_tells_whom_its_rows_are_about(sealed: SealedModel) -> None:
    schema = Schema(sealed.bundle.manifest.schema.fields, entity="customer")
    dialect = MlflowDialect(schema, 50, csv_header=True)
    batch, _ = dialect.read({b"content-type": b"text/csv"}, b"customer,amount\nA-7,1\n,2\n", Context(0))
    assert list(batch.entities) == ["A-7", ""]


def test_numbers_in_csv_are_ascii(sealed: SealedModel) -> None:
    for text in ("1_000", "٣"):
        assert invoke_csv(sealed, f"amount\n{text}\n").status_code == 422
    assert invoke_csv(sealed, "amount\n 1e3\n").status_code == 200


WIDE = [f"k{number}" for number in range(106)]


@pytest.mark.parametrize(
    ("body", "status", "problem"),
    [
        ({"dataframe_split": {"columns": WIDE, "data": [WIDE]}}, 400, "far more columns than the model"),
        ({"dataframe_split": {"columns": ["amount"], "data": [[1]] * 50 + ["x"]}}, 413, "at most 50 rows"),
        ({"dataframe_split": {"columns": ["amount"], "data": [[1], 2]}}, 400, "every row is an array of 1 values"),
        ({"dataframe_split": {"columns": ["amount"], "data": 7}}, 400, "rows are an array"),
        ({"inputs": {name: [1] for name in WIDE}}, 400, "far more columns than the model"),
        ({"inputs": {"amount": [1] * 51}}, 413, "at most 50 rows"),
        ({"inputs": {"amount": 7}}, 400, "inputs is an object of arrays of one length"),
        ({"inputs": {}}, 400, "inputs is an object of arrays of one length"),
        ({"inputs": {"amount": [1], "age_days": [1, 2]}}, 400, "inputs is an object of arrays of one length"),
    ],
)
def test_json_is_read_no_further_than_its_limits(sealed: SealedModel, body: object, status: int, problem: str) -> None:
    answer = invoke(sealed, body)
    assert (answer.status_code, problem in answer.json()["message"]) == (status, True), answer.text


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/predict", '{"amount": %s}'),
        ("/v1/models/fraud:predict", '{"instances": [{"amount": %s}]}'),
        ("/invocations", '{"instances": [{"amount": %s}]}'),
        ("/v2/models/fraud/infer", '{"inputs": [{"name": "amount", "shape": [1], "datatype": "FP64", "data": [%s]}]}'),
    ],
)
def test_more_values_than_rows_could_have_are_not_read(sealed: SealedModel, path: str, body: str) -> None:
    door = open_door(sealed)
    for n_values, status in ((2500, 422), (2700, 413)):
        app, values = App(door, make_pages(door)), f"[{','.join(['[]'] * n_values)}]"
        answer = ask(app, "POST", path, (body % values).encode(), content_type="application/json")
        assert answer.status_code == status, answer.text


def test_of_thousands_of_unknown_names_a_thousand_are_told(sealed: SealedModel) -> None:
    names = {f"k{number}": 1 for number in range(1001)}
    assert len(invoke(sealed, {"instances": [names]}).content) < 200_000
    _, _, problems = sealed.bundle.manifest.schema.row(names)
    assert len(problems) == 1001, "and the field that is required"
