"""The prediction routes as declared by FastAPI and as really answered are one behaviour."""

import json
import re
from collections.abc import Iterable, MutableMapping
from typing import Any

import httpx
import pytest
from inprocess import Kept, ask, open_door

from scoreline.doors.http.app import App
from scoreline.doors.http.door import Door
from scoreline.doors.http.pages import make_pages
from scoreline.web.asgi import ASGI, Receive, Scope, Send
from service import CHURN_ROW, FRAUD_ROW, SealedModel
from somekeys import caller, ring

JSON = {"content_type": "application/json"}
FORM = {"content_type": "application/x-www-form-urlencoded"}
GOOD = json.dumps(FRAUD_ROW).encode()
BODIES: dict[str, bytes | list[bytes]] = {
    "one row": GOOD,
    "few fields": b'{"amount": 12}',
    "null, defaults": b'{"amount": 12, "distance": null}',
    "many": json.dumps([FRAUD_ROW, {"amount": 1}, {**FRAUD_ROW, "country": "fr:sud"}]).encode(),
    "array of one": json.dumps([FRAUD_ROW]).encode(),
    "a float for an integer": b'{"amount": 12, "age_days": 3.0}',
    "in pieces": [GOOD[:9], GOOD[9:30], b"", GOOD[30:]],
    "empty": b"",
    "not JSON": b'{"amount": ',
    "not UTF-8": b'{"amount": "\xff"}',
    "NaN": b'{"amount": NaN}',
    "a key twice": b'{"amount": 1, "amount": 2}',
    "no rows": b"[]",
    "a number": b"7",
    "missing field": b"{}",
    "unknown field": b'{"amount": 1, "colour": "red"}',
    "every problem": b'[{"amount": -1, "age_days": 1.5, "country": "xx", "repeat": 1, "distance": true}, 3]',
    "too many rows": json.dumps([FRAUD_ROW] * 51).encode(),
    "too large": b'{"amount": 1}' + b" " * 20_000,
    "too large, in pieces": [b'{"amount": 1}' + b" " * 6000, b" " * 6000],
    "too large, in one piece": [b'{"amount": 1}' + b" " * 20_000],
}
HEADERS: dict[str, dict[str, str]] = {
    "json": JSON,
    "json with charset": {"content_type": "Application/JSON; charset=utf-8"},
    "+json": {"content_type": "application/vnd.acme+json"},
    "curl -d": FORM,
    "no type": {},
    "text": {"content_type": "text/plain"},
    "multipart": {"content_type": "multipart/form-data; boundary=x"},
    "csv": {"content_type": "text/csv"},
    "own page's form": {**FORM, "origin": "http://localhost", "sec_fetch_site": "same-origin"},
    "cross-site form": {**FORM, "origin": "https://evil.example", "sec_fetch_site": "cross-site"},
    "cross-site form, no origin": {**FORM, "sec_fetch_site": "cross-site"},
    "same-site form": {**FORM, "sec_fetch_site": "same-site"},
    "cross-site form, old browser": {**FORM, "origin": "https://evil.example"},
    "sandboxed form": {**FORM, "origin": "null"},
    "cross-site without type": {"origin": "https://evil.example"},
    "cross-site JSON": {**JSON, "origin": "https://evil.example", "sec_fetch_site": "cross-site"},
    "request id": {**JSON, "x_request_id": "order-17"},
    "bad request id": {**JSON, "x_request_id": "a b"},
    "long request id": {**JSON, "x_request_id": "x" * 129},
    "trace": {**JSON, "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
    "bad trace": {**JSON, "traceparent": "00-xyz-b7ad6b7169203331-01"},
    "trace of zeros": {**JSON, "traceparent": "00-00000000000000000000000000000000-b7ad6b7169203331-01"},
    "another name": {**JSON, "host": "rebound.example"},
    "key nobody needs": {**JSON, "x_api_key": "whatever"},
}
TIMING = re.compile(r"wait;dur=\d+\.\d{3}, auth;dur=\d+\.\d{3}, model;dur=\d+\.\d{3}, total;dur=\d+\.\d{3}")
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def seen(response: httpx.Response) -> tuple[Any, ...]:
    """All of an answer but ids and times, which must be of the right form.

    Whether the connection is closed depends on how much of the body had come when the answer was clear.
    """
    headers = {name: text for name, text in response.headers.items() if name not in ("date", "connection")}
    if "server-timing" in headers:
        assert TIMING.fullmatch(headers.pop("server-timing"))
    if UUID.fullmatch(headers.get("x-request-id", "")):
        headers["x-request-id"] = "made"
    return response.status_code, headers, UUID.sub("id", response.text)


def both(door: Door, path: str, content: bytes | Iterable[bytes], **headers: str) -> tuple[Any, Any]:
    pages = make_pages(door)
    real = ask(App(door, pages), "POST", path, content, **headers)
    assert seen(ask(without_a_task(App(door, pages)), "POST", path, content, **headers)) == seen(real)
    declared = ask(pages, "POST", path, content, **headers)
    return seen(real), seen(declared)


def without_a_task(app: App) -> ASGI:
    """The way of a request whose body is wholly there when its head is parsed."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        found = app.at_once(scope, body)
        if found is None:  # it goes the way of ASGI, and is asked for its body there

            async def again() -> MutableMapping[str, Any]:
                return {"type": "http.request", "body": body, "more_body": False}

            await app(scope, again, send)
            return
        status, sent, content = found
        await send({"type": "http.response.start", "status": status, "headers": sent})
        await send({"type": "http.response.body", "body": content})

    return answer


@pytest.mark.parametrize("path", ("/predict", "/models/fraud/predict"))
@pytest.mark.parametrize("body", BODIES)
def test_every_body_is_answered_alike(sealed: SealedModel, body: str, path: str) -> None:
    door = open_door(sealed)
    real, declared = both(door, path, BODIES[body], **JSON)
    assert real == declared


@pytest.mark.parametrize("headers", HEADERS)
def test_every_header_is_taken_alike(sealed: SealedModel, headers: str) -> None:
    door = open_door(sealed)
    real, declared = both(door, "/predict", GOOD, **HEADERS[headers])
    assert real == declared


@pytest.mark.parametrize("key", ("", "wrong", "reader-key", "caller-key", "fraud-key"))
@pytest.mark.parametrize("default", ("", "fraud"))
@pytest.mark.parametrize("path", ("/predict", "/models/churn/predict", "/models/none/predict"))
def test_every_key_and_model_is_answered_alike(
    sealed: SealedModel, churn: SealedModel, key: str, default: str, path: str
) -> None:
    keys = {
        "reader-key": caller("reader", "read"),
        "caller-key": caller("caller", "predict"),
        "fraud-key": caller("fraud-team", "predict", models=["fraud"]),
    }
    door = open_door(sealed, churn, default=default, keyring=ring(keys))
    row = CHURN_ROW if "churn" in path else FRAUD_ROW
    real, declared = both(door, path, json.dumps(row).encode(), **JSON, **({"x_api_key": key} if key else {}))
    for _, headers, *_ in (real, declared):
        headers.pop("connection", None)  # this client sends in pieces: it may be refused, and left, before the last
    assert real == declared


def test_what_cannot_be_recorded_is_refused_alike(sealed: SealedModel) -> None:
    sink = Kept()
    sink.full = True
    real, declared = both(open_door(sealed, sink=sink), "/predict", GOOD, **JSON)
    assert real == declared
    assert real[0] == 503


def test_an_engine_that_fails_answers_alike(sealed: SealedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    door = open_door(sealed)

    def broken(_: object) -> None:
        raise ZeroDivisionError("secret of the engine")

    monkeypatch.setattr(door.hot("/predict"), "_score", broken)
    real, declared = both(door, "/predict", GOOD, **JSON)
    assert real == declared
    assert real[0] == 500
    assert "secret" not in real[2]
