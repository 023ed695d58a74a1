"""Rate limits of the real service: what callers see of them, whom they are for, and what does not get round them."""

import json
import os
import signal
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from scoreline.access.scopes import CONTROL_PLANE, DATA_PLANE, PUBLIC
from service import FRAUD_ROW, SealedModel, Service, serving, wait_until

KEY = "a-key-of-at-least-24-characters"
POLICY = '"caller";q=8;w=86400, "model";q=20;w=86400'
TENSORS = {"inputs": [{"name": "amount", "shape": [1], "datatype": "FP64", "data": [5000.0]}]}
DIALECTS: dict[str, Any] = {
    "/predict": FRAUD_ROW,
    "/models/fraud/predict": FRAUD_ROW,
    "/v1/models/fraud:predict": {"instances": [FRAUD_ROW]},
    "/v2/models/fraud/infer": TENSORS,
    "/v2/models/fraud/versions/1/infer": TENSORS,
    "/invocations": {"instances": [FRAUD_ROW]},
}


def detail_of(answer: httpx.Response) -> str:
    found = answer.json()
    return str(found.get("detail") or found.get("error") or found.get("message"))


def left(answer: httpx.Response, kind: str) -> int:
    (found,) = [part for part in answer.headers["ratelimit"].split(", ") if part.startswith(f'"{kind}"')]
    return int(found.split(";")[1].removeprefix("r="))


@pytest.fixture
def limited(sealed: SealedModel, tmp_path: Path) -> Iterator[Service]:
    """Two workers; 8 requests a day for each caller, 20 for each model."""
    environment = {
        "SCORELINE_ACCESS__ADMIN_KEY": KEY,
        "SCORELINE_ACCESS__ANONYMOUS": "predict",
        "SCORELINE_LIMITS__PER_CALLER": "8/day",
        "SCORELINE_LIMITS__PER_MODEL": "20/day",
    }
    with serving(sealed, folder=tmp_path, workers=2, **environment) as service:
        yield service


def test_a_limit_is_the_hosts_and_is_told_in_every_dialect_and_counted(limited: Service) -> None:
    before = [limited.post(body, path) for path, body in DIALECTS.items()]
    before += [limited.post(FRAUD_ROW), limited.post({"amount": "no number"})]
    assert [answer.status_code for answer in before] == [200] * 7 + [422], "what breaks the schema was asked, too"
    assert [left(answer, "caller") for answer in before] == [7, 6, 5, 4, 3, 2, 1, 0], "whichever worker answered"
    assert [left(answer, "model") for answer in before] == [19, 18, 17, 16, 15, 14, 13, 12]
    assert {answer.headers["ratelimit-policy"] for answer in before} == {POLICY}
    for path, body in DIALECTS.items():
        refused = limited.post(body, path)
        assert refused.status_code == 429
        assert detail_of(refused) == "at most 8 requests per day for one caller"
        assert refused.headers["ratelimit-policy"] == POLICY
        assert refused.headers["ratelimit"] == f'"caller";r=0;t={refused.headers["retry-after"]}'
        assert 0 < int(refused.headers["retry-after"]) <= 2 * 86_400
    problem = limited.post(FRAUD_ROW)
    assert problem.headers["content-type"] == "application/problem+json"
    assert problem.json()["type"] == "/errors/rate-limited"
    assert limited.post(FRAUD_ROW, x_api_key=KEY).status_code == 200, "another caller has requests of its own"
    for path in ("/healthz/live", "/healthz/ready", "/ping", "/v2/health/ready"):
        assert limited.get(path).status_code == 200
    assert limited.admin("/status", x_api_key=KEY).json()["rate_limited"] == {"caller": 7, "model": 0}
    assert len(limited.recorded()) == 8


def test_a_worker_that_dies_takes_no_count_with_it(limited: Service) -> None:
    assert [limited.post(FRAUD_ROW).status_code for _ in range(8)] == [200] * 8
    workers = {worker.pid for worker in limited.workers()}
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: len({worker.pid for worker in limited.workers()} - workers) == 2, "both are replaced")
    wait_until(lambda: answers(limited), "they answer")
    assert limited.post(FRAUD_ROW).status_code == 429


def answers(service: Service) -> bool:
    try:
        return service.get("/healthz/ready").status_code == 200
    except httpx.TransportError:
        return False


def test_who_is_over_the_limit_is_refused_before_its_body_is_read_and_counted_once(limited: Service) -> None:
    """Head and body come apart: the head alone counts, and once."""
    body = json.dumps(FRAUD_ROW).encode()
    head = "POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    for length in (f"Content-Length: {len(body)}\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n"):
        sent = body if "Length" in length else b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        for turn in range(4):
            with socket.create_connection(("127.0.0.1", limited.port), 20) as connection:
                connection.sendall((head + length).encode() + (sent[:3] if turn % 2 else b""))
                connection.sendall(sent[3:] if turn % 2 else sent)
                assert connection.recv(65536).startswith(b"HTTP/1.1 200")
    for length in (f"Content-Length: {len(body)}\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n5\r\n"):
        with socket.create_connection(("127.0.0.1", limited.port), 20) as connection:
            connection.sendall((head + length).encode() + body[:1])
            assert connection.recv(65536).startswith(b"HTTP/1.1 429")


def test_an_address_is_the_peers_whatever_headers_say_and_counts_for_keys_that_are_guessed(
    sealed: SealedModel, tmp_path: Path
) -> None:
    environment = {"SCORELINE_ACCESS__ADMIN_KEY": KEY, "SCORELINE_LIMITS__PER_ADDRESS": "6/day"}
    with serving(sealed, folder=tmp_path, **environment) as service:
        spoofed = {"x_forwarded_for": "203.0.113.9", "forwarded": "for=203.0.113.9", "x_real_ip": "203.0.113.9"}
        assert service.post(FRAUD_ROW, x_api_key=KEY).headers["ratelimit"].startswith('"address";r=5;')
        assert service.post(FRAUD_ROW, x_api_key=KEY, **spoofed).headers["ratelimit"].startswith('"address";r=4;')
        guesses = [service.post(FRAUD_ROW, x_api_key=f"guess-{number}", **spoofed) for number in range(6)]
        assert [guess.status_code for guess in guesses] == [401] * 4 + [429] * 2
        assert service.post(FRAUD_ROW, x_api_key=KEY, x_forwarded_for="::1").status_code == 429


def test_without_limits_nothing_is_told(sealed: SealedModel, tmp_path: Path) -> None:
    with serving(sealed, folder=tmp_path) as service:
        assert not [name for name in service.post(FRAUD_ROW).headers if name.startswith("ratelimit")]
        assert service.admin("/status").json()["rate_limited"] == {}


def test_keys_cannot_be_guessed_faster_on_any_route_of_either_plane(sealed: SealedModel, tmp_path: Path) -> None:
    """Six guesses a day on routes for predictions, and six on all others together, whichever plane they are of."""
    environment = {"SCORELINE_ACCESS__ADMIN_KEY": KEY, "SCORELINE_LIMITS__PER_ADDRESS": "6/day"}
    with serving(sealed, folder=tmp_path, workers=2, **environment) as service:
        tables = ((service.url, DATA_PLANE), (service.admin_url, CONTROL_PLANE))
        asked = [(url, *route, scope) for url, table in tables for route, scope in table.items() if scope != PUBLIC]
        names = {"name": "fraud", "version": "1", "id": "none", "number": "7", "file": "swagger-ui.css"}

        def told(url: str, method: str, path: str, key: str) -> int:
            path = path.format(**names)
            return httpx.request(method, url + path, headers={"x-api-key": key}, json=FRAUD_ROW, timeout=20).status_code

        assert told(service.url, "GET", "/models", KEY) == told(service.admin_url, "GET", "/keys", KEY) == 200
        guesses = Counter(
            (scope == "predict", told(url, method, path, "guess"))
            for turn in range(2)
            for url, method, path, scope in asked[:: 1 if turn else -1]
        )
        n_routes = Counter(scope == "predict" for *_, scope in asked)
        for is_predict, n in n_routes.items():
            assert guesses[is_predict, 401] == 6
            assert guesses[is_predict, 429] == 2 * n - 6
        for url, method, path, _ in asked:
            assert told(url, method, path, KEY) == 429, "nor is it told which key is one"
        for url in (service.url, service.admin_url):
            assert httpx.get(f"{url}/healthz/ready").status_code == 200
