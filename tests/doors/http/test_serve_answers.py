"""`scoreline serve` as callers meet it: sockets, headers, limits, pages and the record behind every answer."""

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from scoreline.core.entities import entity_hash
from service import CHURN_ROW, FRAUD_ROW, SealedModel, Service, serving

LIMIT = 20_000
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(scope="module")
def service(sealed: SealedModel, churn: SealedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Two models, fraud the default one; small limits."""
    with serving(
        *(sealed, churn),
        folder=tmp_path_factory.mktemp("answers"),
        arguments=("--default", "fraud"),
        SCORELINE_SERVER__MAX_BODY_BYTES=str(LIMIT),
        SCORELINE_SERVER__KEEP_ALIVE_S="1",
    ) as running:
        yield running


def assert_problem(response: httpx.Response, status: int, kind: str) -> None:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert (response.json()["type"], response.json()["status"]) == (f"/errors/{kind}", status)


def test_every_answer_is_recorded_with_the_features_margin_and_score_it_was_given_for(
    service: Service, sealed: SealedModel
) -> None:
    rows: list[dict[str, Any]] = [
        FRAUD_ROW,
        {"amount": 0.1},
        {"amount": 99_999.99, "country": "fr:sud", "distance": None},
        {"amount": 7, "age_days": 3.0, "repeat": True, "country": "uk", "distance": 1e-300},
    ]
    answers = [
        service.post(row, x_request_id=f"row-{place}", traceparent=TRACE).json() for place, row in enumerate(rows)
    ]
    answers += service.post(rows).json()["predictions"]
    own = sealed.decide(*rows, *rows)
    recorded = {decision.id: decision for decisions in service.recorded() for decision in decisions}
    for place, (answer, expected) in enumerate(zip(answers, own, strict=True)):
        decision = recorded[answer["prediction_id"]]
        assert answer["fraud_probability"] == expected.scores[0] == decision.scores[0]
        assert answer["outcome"] == expected.outcome == decision.outcome
        assert tuple(answer["defaulted"]) == expected.defaulted == decision.defaulted
        assert decision.margins == expected.margins
        assert np.array_equal(list(decision.features.values()), list(expected.features.values()), equal_nan=True)
        assert (decision.author.model, decision.author.digest) == ("fraud", sealed.manifest.digest)
        if place < len(rows):
            context = decision.context
            assert (context.request_id, context.caller) == (f"row-{place}", "anonymous")
            assert context.trace == "0af7651916cd43dd8448eb211c80319c"


def test_a_refused_request_leaves_no_record(service: Service) -> None:
    before = service.recorded_ids()
    for body in ({}, b"{", [FRAUD_ROW, {}], [FRAUD_ROW] * 5001):
        assert service.post(body).status_code in (400, 413, 422)
    assert service.recorded_ids() == before


def test_each_model_answers_under_its_name_and_the_default_one_under_predict(service: Service) -> None:
    assert service.post(FRAUD_ROW).json()["model"] == "fraud"
    assert service.post(FRAUD_ROW, "/models/fraud/predict").json()["model"] == "fraud"
    assert service.post(CHURN_ROW, "/models/churn/predict").json()["model"] == "churn"
    assert_problem(service.post(CHURN_ROW, "/models/none/predict"), 404, "not-found")


def test_without_a_default_predict_says_where_to_look(sealed: SealedModel, churn: SealedModel, tmp_path: Path) -> None:
    with serving(sealed, churn, folder=tmp_path) as running:
        refused = running.post(FRAUD_ROW)
        assert_problem(refused, 404, "not-found")
        assert "/models/{name}/predict" in refused.json()["detail"]
        assert running.post(CHURN_ROW, "/models/churn/predict").status_code == 200


def test_what_curl_sends_is_taken_and_a_page_of_another_site_is_not(service: Service) -> None:
    form = {"content_type": "application/x-www-form-urlencoded"}
    own = f"127.0.0.1:{service.port}"
    assert service.post({"amount": 5000}, **form).status_code == 200
    assert (
        service.post({"amount": 5000}, **form, origin=f"http://{own}", sec_fetch_site="same-origin").status_code == 200
    )
    assert_problem(service.post({"amount": 5000}, **form, origin="https://evil.example"), 415, "wrong-type")
    assert_problem(service.post({"amount": 5000}, **form, sec_fetch_site="cross-site"), 415, "wrong-type")
    assert_problem(service.post({"amount": 5000}, content_type="text/plain"), 415, "wrong-type")


def test_answers_carry_request_id_trace_and_timing(service: Service) -> None:
    answer = service.post(FRAUD_ROW, x_request_id="order-17", traceparent=TRACE)
    assert (answer.headers["x-request-id"], answer.headers["traceparent"]) == ("order-17", TRACE)
    times = "wait", "auth", "model", "total"
    assert re.fullmatch(", ".join(rf"{part};dur=\d+\.\d+" for part in times), answer.headers["server-timing"])
    answer = service.post(FRAUD_ROW)
    assert answer.headers["x-request-id"] == answer.json()["prediction_id"]


def exchange(service: Service, *pieces: bytes) -> bytes:
    """Sends pieces on one connection and reads until the service closes it."""
    found = b""
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as connection:
        for piece in pieces:
            connection.sendall(piece)
        while received := connection.recv(65536):
            found += received
    return found


@pytest.mark.parametrize("size", (LIMIT + 1, 50 * LIMIT, 500 * LIMIT))
def test_a_body_too_large_is_answered_413_to_who_sends_all_of_it(service: Service, size: int) -> None:
    head = b"POST /predict HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    answer = exchange(service, head + b"content-length: %d\r\n\r\n" % size, b" " * size)
    assert answer.startswith(b"HTTP/1.1 413") and b"/errors/too-large" in answer and b"connection: close" in answer


@pytest.mark.parametrize("size", (LIMIT + 1, 50 * LIMIT, 500 * LIMIT))
@pytest.mark.parametrize("piece", (1000, 10**8), ids=("in pieces", "in one piece"))
def test_a_body_of_unknown_length_is_limited_too(service: Service, size: int, piece: int) -> None:
    head = b"POST /predict HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"
    body = b" " * size
    chunks = [body[start : start + piece] for start in range(0, size, piece)]
    answer = exchange(
        service, head + b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 413") and b"/errors/too-large" in answer


def test_a_chunked_body_within_the_limit_is_answered(service: Service) -> None:
    pieces = [b'{"amo', b'unt": 12', b"}"]
    answer = httpx.post(f"{service.url}/predict", content=iter(pieces), headers={"content-type": "application/json"})
    assert answer.status_code == 200


def test_whom_a_row_is_about_is_kept_as_a_keyed_hash_whatever_the_client(service: Service) -> None:
    def found() -> list[bytes]:
        return [decision.entity for decisions in service.recorded()[before:] for decision in decisions]

    before = len(service.recorded())
    key = (service.state_dir / "entity.key").read_bytes()
    assert (service.state_dir / "entity.key").stat().st_mode & 0o077 == 0
    first, second = FRAUD_ROW | {"customer": "c-1"}, FRAUD_ROW | {"customer": 42}
    plain = service.post(FRAUD_ROW).json()
    assert service.post(first).json()["fraud_probability"] == plain["fraud_probability"]
    service.post([first, FRAUD_ROW, second]).raise_for_status()
    service.post({"instances": [second]}, "/v1/models/fraud:predict").raise_for_status()
    service.post({"dataframe_records": [first]}, "/invocations").raise_for_status()
    csv = "customer," + ",".join(FRAUD_ROW) + "\nc-1," + ",".join(map(str, FRAUD_ROW.values())).replace("True", "true")
    service.post(csv.encode(), "/invocations", content_type="text/csv").raise_for_status()
    one, two, nobody = entity_hash("c-1", key), entity_hash("42", key), b""
    assert found() == [nobody, one, one, nobody, two, two, one, one]
    refused = service.post(FRAUD_ROW | {"customer": 1.5})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == "customer"
    assert not any(b"c-1" in file.read_bytes() for file in (service.state_dir / "spool").iterdir())


def test_requests_sent_at_once_are_answered_in_order(service: Service) -> None:
    requests = b""
    for place in range(20):
        body = b'{"amount": %d}' % (place + 1)
        requests += b"POST /predict HTTP/1.1\r\nhost: localhost\r\nx-request-id: n%d\r\n" % place
        requests += (b"connection: close\r\n" if place == 19 else b"") + b"content-length: %d\r\n\r\n%s" % (
            len(body),
            body,
        )
    answers = exchange(service, requests)
    assert re.findall(rb"x-request-id: n(\d+)\r\n", answers) == [b"%d" % place for place in range(20)]
    assert answers.count(b"HTTP/1.1 200") == 20


def test_a_long_answer_reaches_a_slow_reader_whole(service: Service) -> None:
    body = json.dumps([{"amount": 1}] * 1200).encode()
    head = b"POST /predict HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
        connection.sendall(head + body)
        found = b""
        while received := connection.recv(8192):
            found += received
    answer = json.loads(found.partition(b"\r\n\r\n")[2])
    assert len(answer["predictions"]) == 1200


def test_an_idle_connection_is_closed(service: Service) -> None:
    assert exchange(service, b"GET /healthz/live HTTP/1.1\r\nhost: localhost\r\n\r\n").startswith(b"HTTP/1.1 200")


def test_other_methods_and_routes_are_problems(service: Service) -> None:
    assert_problem(service.get("/predict"), 405, "method-not-allowed")
    assert_problem(service.get("/nothing"), 404, "not-found")
    assert_problem(service.get("/docs/assets/..%2f..%2fetc%2fpasswd"), 404, "not-found")


def test_health_on_both_planes(service: Service) -> None:
    for path in ("/healthz/live", "/healthz/ready", "/healthz/startup"):
        assert service.get(path).status_code == 200
        assert service.admin(path).status_code == 200


def test_openapi_shows_each_models_own_fields_and_its_examples_are_answered(service: Service) -> None:
    shown = service.get("/openapi.json").json()
    assert shown["openapi"].startswith("3.1.")
    described = {path: item["post"]["requestBody"] for path, item in shown["paths"].items() if "post" in item}
    rows = {}
    for path, body in described.items():
        content = body["content"]["application/json"]
        if path.endswith("/predict"):
            rows[path] = content["schema"]["anyOf"][0]["properties"]
        answer = service.post(content["example"], path.replace("{name}", "fraud").replace("{version}", "1"))
        assert answer.status_code == 200, (path, answer.text)
        schema = shown["paths"][path]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
        schema = schema["anyOf"][0] if "anyOf" in schema else schema
        assert set(schema["required"]) <= set(answer.json()) <= set(schema["properties"])
    fraud = rows["/predict"]
    assert fraud == rows["/models/fraud/predict"]
    assert fraud["amount"] == {
        "type": "number",
        "minimum": 0.0,
        "maximum": 100_000.0,
        "description": "Amount claimed. Unit: EUR",
        "x-unit": "EUR",
    }
    assert fraud["country"] == {"type": "string", "enum": ["at", "de", "fr:sud", "uk"], "default": "de"}
    assert fraud["distance"]["type"] == ["number", "null"]
    assert list(rows["/models/churn/predict"]) == list(CHURN_ROW)


@pytest.mark.parametrize("plane", ("data", "control"))
def test_swagger_takes_everything_from_here(service: Service, plane: str) -> None:
    base = service.url if plane == "data" else service.admin_url
    page = httpx.get(f"{base}/docs", timeout=20)
    assert page.status_code == 200
    named = re.findall(r"""(?:src|href)=["']([^"']+)["']|\burl:\s*["']([^"']+)["']""", page.text)
    places = {place for pair in named for place in pair if place}
    assert {"/openapi.json", "/docs/assets/swagger-ui-bundle.js", "/docs/assets/swagger-ui.css"} <= places
    assert not re.search(r"https?://|//cdn", page.text)
    for place in places:
        assert place.startswith("/")
        assert httpx.get(base + place, timeout=20).status_code == 200


def test_models_are_shown(service: Service, sealed: SealedModel) -> None:
    assert [model["name"] for model in service.get("/models").json()["models"]] == ["churn", "fraud"]
    assert service.get("/models/fraud").json()["digest"] == sealed.manifest.digest
    assert_problem(service.get("/models/none"), 404, "not-found")


def test_log_and_state_hold_no_row_values(service: Service) -> None:
    assert service.post({"amount": 4711.125, "country": "zanzibar"}).status_code == 422
    assert service.post({"amount": 4711.125}).status_code == 200
    assert "4711" not in service.log and "zanzibar" not in service.log
