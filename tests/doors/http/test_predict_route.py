"""What a caller of the prediction routes sees: answers, refusals and headers."""

import gzip
import json
import re
from typing import Any
from uuid import UUID

import httpx
import numpy as np
import pytest
from inprocess import Kept, ask, open_door

from atonce import AtOnce
from scoreline.access.keyring import Keyring
from scoreline.core.scorer import Scorer
from scoreline.doors.http.app import App
from scoreline.doors.http.door import Door
from scoreline.doors.http.pages import make_pages
from scoreline.doors.http.quoting import Quoting
from scoreline.doors.http.served import serve_model
from scoreline.doors.http.worker import LatePages
from scoreline.engines.load import load_engine
from scoreline.records.spool import recorded
from service import CHURN_ROW, FRAUD_ROW, SealedModel
from somekeys import caller, ring

JSON = {"content_type": "application/json"}
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def predict(door: Door, body: object, path: str = "/predict", **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return ask(App(door, make_pages(door)), "POST", path, content, **(JSON | headers))


def assert_problem(response: httpx.Response, status: int, kind: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert problem["type"] == f"/errors/{kind}"
    assert problem["status"] == status
    assert isinstance(problem["title"], str) and isinstance(problem["detail"], str)
    assert set(problem) <= {"type", "title", "status", "detail", "errors"}
    return problem


def test_one_row_is_answered_as_the_bundle_itself_decides(sealed: SealedModel) -> None:
    answer = predict(open_door(sealed), FRAUD_ROW).json()
    (decision,) = sealed.decide(FRAUD_ROW)
    assert answer["fraud_probability"] == decision.scores[0]
    assert answer["outcome"] == decision.outcome
    assert (answer["model"], answer["version"], answer["defaulted"]) == ("fraud", "1", [])
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", answer["prediction_id"])


def test_many_rows_are_answered_in_order_with_the_bits_of_each_alone(churn: SealedModel) -> None:
    door = open_door(churn)
    rows = [{"tenure": 10.0 * n, "premium": 900.0 - 7.3 * n, "claims": n % 3} for n in range(50)]
    together = predict(door, rows).json()
    alone = [predict(door, row).json()["churn_probability"] for row in rows]
    assert [prediction["churn_probability"] for prediction in together["predictions"]] == alone
    assert (together["model"], together["version"]) == ("churn", "1")


def test_a_missing_field_takes_its_default_and_is_named(sealed: SealedModel) -> None:
    answer = predict(open_door(sealed), {"amount": 120, "repeat": True}).json()
    assert answer["defaulted"] == ["age_days", "country", "distance"]
    (full,) = sealed.decide({"amount": 120, "age_days": 365, "country": "de", "repeat": True, "distance": None})
    assert answer["fraud_probability"] == full.scores[0]


def test_a_missing_field_without_default_is_refused(churn: SealedModel) -> None:
    problem = assert_problem(predict(open_door(churn), {"tenure": 1, "claims": 0}), 422, "rows-refused")
    assert problem["errors"] == [{"row": 0, "field": "premium", "problem": "is required"}]


def test_every_problem_is_named_by_row_and_field_and_no_value_is_repeated(sealed: SealedModel) -> None:
    rows = [
        {"amount": -123456.75, "age_days": 17.25, "country": "zanzibar", "repeat": "perhaps", "distance": True},
        FRAUD_ROW,
        {"age_days": 40_123},
    ]
    response = predict(open_door(sealed), rows)
    problem = assert_problem(response, 422, "rows-refused")
    assert {(error["row"], error["field"]) for error in problem["errors"]} == {
        *((0, name) for name in ("amount", "age_days", "country", "repeat", "distance")),
        *((2, name) for name in ("amount", "age_days")),
    }
    for value in ("123456", "17.25", "zanzibar", "perhaps", "40123"):
        assert value not in response.text


@pytest.mark.parametrize(
    "body", (b"", b'{"amount": 4711.25', b"[]", b'{"amount": 4711.25, "amount": 1}', b"\xff4711.25", b"{'a': 4711.25}")
)
def test_what_is_not_json_is_malformed(sealed: SealedModel, body: bytes) -> None:
    response = predict(open_door(sealed), body)
    assert_problem(response, 400, "malformed")
    assert "4711" not in response.text


def test_too_many_bytes_or_rows_are_too_large(sealed: SealedModel) -> None:
    door = open_door(sealed, max_rows=3, max_body_bytes=1000)
    assert_problem(predict(door, [FRAUD_ROW] * 4), 413, "too-large")
    assert predict(door, [FRAUD_ROW] * 3).status_code == 200
    too_long = json.dumps(FRAUD_ROW).encode().ljust(1001)
    assert_problem(predict(door, too_long), 413, "too-large")
    assert predict(door, too_long[:1000]).status_code == 200


@pytest.mark.parametrize("kind", ("application/json", "application/json; charset=utf-8", "application/ld+json"))
def test_json_types_are_taken_from_anywhere(sealed: SealedModel, kind: str) -> None:
    headers = {"content_type": kind, "origin": "https://other.example", "sec_fetch_site": "cross-site"}
    assert predict(open_door(sealed), FRAUD_ROW, **headers).status_code == 200


@pytest.mark.parametrize(
    "kind", ("application/x-www-form-urlencoded", "application/x-www-form-urlencoded; charset=a", "")
)
@pytest.mark.parametrize(
    ("headers", "status"),
    (
        ({}, 200),
        ({"origin": "http://localhost", "sec_fetch_site": "same-origin"}, 200),
        ({"sec_fetch_site": "none"}, 200),
        ({"origin": "https://other.example"}, 415),
        ({"origin": "https://localhost.evil.example"}, 415),
        ({"origin": "null"}, 415),
        ({"sec_fetch_site": "cross-site"}, 415),
        ({"sec_fetch_site": "same-site"}, 415),
        ({"origin": "http://localhost", "sec_fetch_site": "cross-site"}, 415),
    ),
)
def test_what_curl_sends_is_taken_but_not_from_another_sites_page(
    sealed: SealedModel, kind: str, headers: dict[str, str], status: int
) -> None:
    door = open_door(sealed)
    content_type = {"content_type": kind} if kind else {}
    app = App(door, make_pages(door))
    response = ask(app, "POST", "/predict", json.dumps(FRAUD_ROW).encode(), **content_type, **headers)
    assert response.status_code == status
    if status == 415:
        assert_problem(response, 415, "wrong-type")


@pytest.mark.parametrize(
    "kind", ("text/plain", "text/csv", "multipart/form-data; boundary=x", "application/xml", "json")
)
def test_other_types_are_refused(sealed: SealedModel, kind: str) -> None:
    assert_problem(predict(open_door(sealed), FRAUD_ROW, content_type=kind), 415, "wrong-type")


@pytest.mark.parametrize("path", ("/predict", "/invocations", "/v1/models/fraud:predict", "/v2/models/fraud/infer"))
@pytest.mark.parametrize("encoding", ("gzip", "deflate, gzip", "BR"))
def test_an_encoded_body_is_refused_with_what_to_do(sealed: SealedModel, path: str, encoding: str) -> None:
    answer = predict(open_door(sealed), gzip.compress(b"{}"), path, content_encoding=encoding)
    assert answer.status_code == 415
    assert "without Content-Encoding" in answer.text


def test_a_body_that_says_it_is_not_encoded_is_scored(sealed: SealedModel) -> None:
    assert predict(open_door(sealed), FRAUD_ROW, content_encoding="Identity").status_code == 200


def test_an_unknown_model_and_route_are_not_found(sealed: SealedModel) -> None:
    door = open_door(sealed)
    assert "GET /models" in assert_problem(predict(door, FRAUD_ROW, "/models/none/predict"), 404, "not-found")["detail"]
    assert_problem(predict(door, FRAUD_ROW, "/nothing"), 404, "not-found")


@pytest.mark.parametrize("method", ("GET", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"))
def test_other_methods_are_not_allowed(sealed: SealedModel, method: str) -> None:
    door = open_door(sealed)
    response = ask(App(door, make_pages(door)), method, "/predict")
    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    if method != "HEAD":
        assert_problem(response, 405, "method-not-allowed")


def test_with_two_models_predict_has_the_default_one_or_says_where_to_look(
    sealed: SealedModel, churn: SealedModel
) -> None:
    door = open_door(sealed, churn)
    assert "/models/{name}/predict" in assert_problem(predict(door, CHURN_ROW), 404, "not-found")["detail"]
    assert predict(door, CHURN_ROW, "/models/churn/predict").json()["model"] == "churn"
    assert predict(door, FRAUD_ROW, "/models/fraud/predict").json()["model"] == "fraud"
    assert predict(open_door(sealed, churn, default="churn"), CHURN_ROW).json()["model"] == "churn"


def test_a_decision_that_cannot_be_recorded_is_not_answered(sealed: SealedModel) -> None:
    sink = Kept()
    door = open_door(sealed, sink=sink)
    sink.full = True
    response = predict(door, FRAUD_ROW)
    assert_problem(response, 503, "not-recorded")
    assert response.headers["retry-after"] == "5"
    assert "fraud_probability" not in response.text
    sink.full = False
    assert predict(door, FRAUD_ROW).status_code == 200


class HalfBlind:
    """An engine without a finite margin for amounts above 1,000, as a sealed graph may be."""

    name = "half blind 1.0"

    def predict(self, values: Any) -> Any:
        return np.where(values[:, :1] > 1000, np.nan, 0.0)


@pytest.mark.parametrize("path", ("/predict", "/v2/models/fraud/infer"))
def test_a_row_the_model_has_no_score_for_is_refused_and_nothing_recorded(sealed: SealedModel, path: str) -> None:
    kept, door = Kept(), Door(10_000, AtOnce())
    score = recorded(Scorer(sealed.bundle.manifest, HalfBlind()), kept)
    door.open({"fraud": serve_model(sealed.bundle.manifest, score, 50)}, "fraud", Keyring())
    tensors = {"inputs": [{"name": "amount", "shape": [2], "datatype": "FP64", "data": [1, 5000]}]}
    answer = predict(door, tensors if "v2" in path else [{"amount": 1}, {"amount": 5000}], path)
    assert answer.status_code == 422
    assert answer.json()["errors"] == [{"row": 1, "field": "", "problem": "the model has no score for this row"}]
    assert kept.decisions == []


def test_a_quote_pins_the_version_that_answers_and_one_that_is_no_quote_is_refused(sealed: SealedModel) -> None:
    kept, door, digest = Kept(), Door(10_000, AtOnce()), sealed.manifest.digest
    score = recorded(Scorer(sealed.bundle.manifest, load_engine(sealed.bundle)), kept, b"key")
    quoting = Quoting("fraud", b"s" * 32, b"key", [digest], 30)
    door.open({"fraud": serve_model(sealed.bundle.manifest, score, 50, quoting=quoting)}, "fraud", Keyring())
    row = {**FRAUD_ROW, "customer": "c-1"}
    for path, body in {"/predict": row, "/v1/models/fraud:predict": {"instances": [row]}}.items():
        token = predict(door, body, path, x_quote="new").headers["x-quote"]
        assert predict(door, body, path, x_quote=token).headers["x-quote"] == token
        assert "x-quote" not in predict(door, body, path).headers
        assert predict(door, body, path, x_quote="forged").status_code == 422
    assert [decisions.context.pin for decisions in kept.decisions] == ["", digest, ""] * 2


def test_an_engine_that_fails_says_nothing_of_its_inside(sealed: SealedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    door = open_door(sealed)

    def broken(_: object) -> None:
        raise RuntimeError("/opt/secret/path 4711")

    monkeypatch.setattr(door.hot("/predict"), "_score", broken)
    response = predict(door, FRAUD_ROW)
    assert_problem(response, 500, "internal")
    assert "4711" not in response.text and "Traceback" not in response.text


def test_a_probe_that_is_answered_not_ready_counts_as_no_refusal(sealed: SealedModel) -> None:
    door = open_door(sealed)
    door.draining = True
    pages = LatePages(door)
    paths = ("/healthz/ready", "/v2/health/ready", "/ping", "/nothing-here")
    assert [ask(pages, "GET", path).status_code for path in paths] == [503, 503, 503, 404]
    assert door.counts.read() == {("refusals", "", "not-found"): 1}


def test_the_decision_carries_caller_request_id_and_trace(sealed: SealedModel) -> None:
    sink = Kept()
    door = open_door(sealed, sink=sink, keyring=ring({"the-key": caller("claims-team", "predict")}))
    response = predict(door, FRAUD_ROW, x_api_key="the-key", x_request_id="order-17", traceparent=TRACE)
    assert response.status_code == 200
    context = sink.decisions[0].context
    assert (context.caller, context.request_id) == ("claims-team", "order-17")
    assert context.trace == "0af7651916cd43dd8448eb211c80319c"


def test_headers_in_and_out(sealed: SealedModel) -> None:
    door = open_door(sealed)
    response = predict(door, FRAUD_ROW, x_request_id="order-17", traceparent=TRACE)
    assert response.headers["x-request-id"] == "order-17"
    assert response.headers["traceparent"] == TRACE
    timing = re.findall(r"(\w+);dur=([\d.]+)", response.headers["server-timing"])
    parts = {name: float(ms) for name, ms in timing}
    assert list(parts) == ["wait", "auth", "model", "total"]
    assert 0 < parts["model"] <= sum(parts.values()) - parts["total"] <= parts["total"] + 0.002

    response = predict(door, FRAUD_ROW, x_request_id="not ok", traceparent="nonsense")
    assert response.headers["x-request-id"] == response.json()["prediction_id"]
    assert "traceparent" not in response.headers


@pytest.mark.parametrize(
    ("method", "path", "content", "status"),
    [
        ("POST", "/predict", b'{"amount": -1}', 422),
        ("POST", "/predict", b"x" * 20_000, 413),
        ("POST", "/models/none/predict", b"{}", 404),
        ("GET", "/predict", b"", 405),
        ("GET", "/nowhere", b"", 404),
    ],
)
def test_refusals_carry_the_callers_id_or_one_made_for_them(
    sealed: SealedModel, method: str, path: str, content: bytes, status: int
) -> None:
    door = open_door(sealed)
    app = App(door, make_pages(door))
    response = ask(app, method, path, content, **JSON, x_request_id="order-17")
    assert (response.status_code, response.headers["x-request-id"]) == (status, "order-17")
    made = {ask(app, method, path, content, **JSON).headers["x-request-id"] for _ in range(3)}
    assert len(made) == 3 and all(UUID(text).version == 7 for text in made)


def test_a_draining_door_answers_and_closes_the_connection(sealed: SealedModel) -> None:
    door = open_door(sealed)
    door.draining = True
    for body, status in ((FRAUD_ROW, 200), ({}, 422)):
        response = predict(door, body)
        assert (response.status_code, response.headers["connection"]) == (status, "close")


@pytest.mark.parametrize(
    "path", ("/v1/models/fraud", "/v2/models/fraud/ready", "/v2/models/fraud/versions/1/ready", "/v2/health/ready")
)
def test_what_a_balancer_asks_says_by_its_status_whether_a_model_answers(sealed: SealedModel, path: str) -> None:
    door = open_door(sealed)
    assert ask(make_pages(door), "GET", path).status_code == 200
    door.draining = True
    answer = ask(make_pages(door), "GET", path)
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/json")
    assert answer.json() in ({"name": "fraud", "ready": False}, {"error": "this process is starting or draining"})


def test_models_and_their_schemas_are_shown(sealed: SealedModel, churn: SealedModel) -> None:
    door = open_door(sealed, churn, default="fraud")
    app = App(door, make_pages(door))
    models = ask(app, "GET", "/models").json()["models"]
    assert [(model["name"], model["version"], model["role"], model["default"]) for model in models] == [
        ("churn", "1", "champion", False),
        ("fraud", "1", "champion", True),
    ]
    shown = ask(app, "GET", "/models/fraud").json()
    assert shown["digest"] == sealed.manifest.digest
    assert shown["schema"] == json.loads(json.dumps(sealed.manifest.schema.to_json()))
    assert (shown["outcomes"], shown["thresholds"]) == (["approve", "review", "decline"], [0.3, 0.7])
    assert_problem(ask(app, "GET", "/models/none"), 404, "not-found")
