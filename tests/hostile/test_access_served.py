"""A real service that knows an admin key, keys and an issuer: forged tokens, doubled headers, other callers' decisions,
the bad inputs again with and without a key; and nothing that is secret in anything it writes.
"""

import json
import time
from collections.abc import Iterator
from typing import NamedTuple

import httpx
import pytest
from bad_inputs import CASES, NEVER, ROW, TARGETS
from sockets import exchange, request

from scoreline.control.admitting import AGAIN_S
from service import FRAUD_ROW, SealedModel, Service, serving, wait_until
from someissuer import AUDIENCE, ISSUER, Issuer, claims, issuing, part

ADMIN = "the-admin-key-of-this-service-and-no-other"
WRONG = "scoreline_wrong-key-that-is-a-secret-elsewhere"
DECLINED = (401, 403)
BODY = json.dumps({key: json.loads(text) for key, text in ROW.items()}).encode()


class Known(NamedTuple):
    """A service, its issuer, keys by name, and every secret that was sent to it."""

    service: Service
    issuer: Issuer
    keys: dict[str, str]
    sent: list[str]

    def bearer(self, token: str) -> dict[str, str]:
        if len(token) > 20:  # shorter ones stand in any file
            self.sent.append(token)
        return {"authorization": f"Bearer {token}"}

    def status(self, token: str, path: str = "/predict") -> int:
        return self.service.post(FRAUD_ROW, path, **self.bearer(token)).status_code


@pytest.fixture(scope="module")
def known(sealed: SealedModel, churn: SealedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Known]:
    folder = tmp_path_factory.mktemp("access")
    with issuing() as issuer:
        how = {
            "SCORELINE_ACCESS__ADMIN_KEY": ADMIN,
            "SCORELINE_OAUTH__ISSUER": ISSUER,
            "SCORELINE_OAUTH__AUDIENCE": AUDIENCE,
            "SCORELINE_OAUTH__JWKS_URL": issuer.url,
            "SCORELINE_SERVER__KEEP_ALIVE_S": "1",
        }
        with serving(sealed, churn, folder=folder, arguments=("--default", "fraud"), **how) as service:
            made: dict[str, str] = {}
            for name, scopes in (("shop", ["predict", "read", "feedback"]), ("bank", ["predict", "read", "feedback"])):
                asked = {"name": name, "scopes": scopes, "models": ["fraud"]}
                made[name] = act(service, "/keys", asked).json()["key"]
            for key in made.values():
                wait_until(lambda key=key: service.post(FRAUD_ROW, x_api_key=key).status_code == 200, "the key counts")
            found = Known(service, issuer, made, [ADMIN, WRONG, *made.values()])
            wait_until(lambda: found.status(issuer.token()) == 200, "the issuer's keys are here")
            workers = {worker.pid for worker in service.workers()}
            yield found
            assert {worker.pid for worker in service.workers()} == workers
            assert "Traceback" not in service.log
            told = [file for file in folder.rglob("*") if file.is_file()]
            for secret in found.sent:
                holds = [file.name for file in told if secret.encode() in file.read_bytes()]
                assert holds == [], f"{secret[:12]}... stands in {holds}"


def act(service: Service, path: str, body: object = None, key: str = ADMIN, **headers: str) -> httpx.Response:
    content = json.dumps(body or {}).encode()
    return httpx.post(service.admin_url + path, content=content, headers={"x-api-key": key} | headers, timeout=20)


def test_tokens_and_keys_are_taken_side_by_side(known: Known) -> None:
    for kid in known.issuer.private:
        assert known.status(known.issuer.token(kid)) == 200
    assert known.service.post(FRAUD_ROW, x_api_key=known.keys["shop"]).status_code == 200
    assert known.service.post(FRAUD_ROW, x_api_key=ADMIN).status_code == 200
    reading = known.bearer(known.issuer.token(scope="scoreline:read"))
    assert known.service.get("/models", **reading).status_code == 200
    assert known.service.post(FRAUD_ROW, **reading).status_code == 403
    assert known.service.admin("/status", **reading).status_code == 403
    as_admin = known.bearer(known.issuer.token(scope="scoreline:admin"))
    assert known.service.admin("/status", **as_admin).status_code == 200
    callers = {decisions.context.caller for decisions in known.service.recorded()}
    assert callers == {"oauth:shop", "shop", "bank", "admin"}


def test_what_is_forged_gets_in_on_neither_plane(known: Known) -> None:
    issuer, forger = known.issuer, Issuer()
    forged = [
        f"{part({'alg': 'none', 'kid': 'es'})}.{part(claims(scope='scoreline:admin'))}.",
        forger.token("es", scope="scoreline:admin"),
        forger.token("es", header={"jku": "http://127.0.0.1:1/", "x5u": "http://127.0.0.1:1/"}),
        issuer.token(iss="https://elsewhere.example/"),
        issuer.token(aud="elsewhere"),
        issuer.token(exp=1),
        issuer.token(nbf=4_000_000_000),
        issuer.token(iat=4_000_000_000),
        issuer.signed({"alg": "ES256", "kid": "another"}, claims()),
        issuer.token(more="x" * 20_000),
        "a.b.c",
        "..",
    ]
    for token in forged:
        headers = known.bearer(token)
        for answer in (known.service.post(FRAUD_ROW, **headers), known.service.admin("/status", **headers)):
            assert answer.status_code == 401, token[:40]
            assert answer.headers["content-type"] == "application/problem+json"
            assert token not in answer.text
    huge = known.service.post(FRAUD_ROW, authorization="Bearer " + "A" * 70_000 + ".A.A")
    assert huge.status_code == 431


def test_a_new_key_of_the_issuers_is_fetched_when_it_is_first_seen_and_no_faster(known: Known) -> None:
    """What nobody has published costs the issuer one answer each 10 s, however often it is sent."""
    issuer = known.issuer
    before, new = issuer.private, {"es-2": Issuer().private["es"]}
    token = Issuer(new).token("es-2")
    assert known.status(token) == 401
    issuer.private = before | new
    wait_until(lambda: known.status(token) == 200, "the new key is here", 60)
    asked, since_s = issuer.asked, time.monotonic()
    for number in range(50):
        assert known.status(issuer.signed({"alg": "ES256", "kid": f"nobody-{number}"}, claims())) == 401
    assert issuer.asked - asked <= 1 + (time.monotonic() - since_s) / AGAIN_S
    issuer.private = before

    def unknown_again() -> bool:
        known.status(issuer.signed({"alg": "ES256", "kid": "anything"}, claims()))
        return known.status(token) == 401

    wait_until(unknown_again, "a key that is published no more counts no more", 60)


def test_another_callers_decision_is_not_there(known: Known) -> None:
    service = known.service
    made = service.post(FRAUD_ROW, x_api_key=known.keys["shop"]).json()["prediction_id"]
    by_token = service.post(FRAUD_ROW, **known.bearer(known.issuer.token(sub="shop"))).json()["prediction_id"]
    for kind in ("", "/replay", "/explanation"):
        path = f"/predictions/{made}{kind}"
        wait_until(
            lambda path=path: service.admin(path, x_api_key=known.keys["shop"]).status_code == 200, "it is there"
        )
        never = service.admin(f"/predictions/{made[:-1]}e{kind}", x_api_key=known.keys["bank"])
        others = service.admin(path, x_api_key=known.keys["bank"])
        assert (others.status_code, others.json()) == (404, never.json())
        assert service.admin(path, **known.bearer(known.issuer.token(sub="shop"))).status_code == 404
        assert service.admin(f"/predictions/{by_token}{kind}", x_api_key=known.keys["shop"]).status_code == 404


def test_outcomes_are_taken_of_a_keys_own_models_only(known: Known, sealed: SealedModel) -> None:
    service = known.service
    row = {"tenure": 3.0, "premium": 310.5, "claims": 1.0}
    of_churn = service.post(row, "/models/churn/predict", x_api_key=ADMIN).json()["prediction_id"]
    of_fraud = service.post(FRAUD_ROW, x_api_key=ADMIN).json()["prediction_id"]
    event = {"entity": "c-1", "event_time": "2026-11-01T00:00:00Z", "value": 1}

    def report(*rows: object, key: str = known.keys["shop"]) -> int:
        return act(service, "/outcomes", list(rows), key).status_code

    def mine() -> bool:
        return report({"prediction_id": of_fraud, "value": 1}) == 200

    wait_until(mine, "the decision is shipped")
    wait_until(lambda: report({"prediction_id": of_churn, "value": 1}, key=ADMIN) == 200, "so is the other")
    assert report({"prediction_id": of_churn, "value": 1}) == 422
    assert report({"prediction_id": of_fraud, "value": 1}, {"prediction_id": of_churn, "value": 0}) == 422
    assert report({"prediction_id": of_churn[:-1] + "e", "value": 1}) == 422
    assert report({"model": "fraud", **event}) == 200
    assert report({"model": "churn", **event}) == 422


HEAD = b"x-api-key: " + ADMIN.encode()
AMBIGUOUS = {
    "two keys": (HEAD, HEAD),
    "a wrong key and a key": (b"x-api-key: " + WRONG.encode(), HEAD),
    "a key and a wrong key": (HEAD, b"x-api-key: " + WRONG.encode()),
    "two authorizations": (b"authorization: Bearer " + ADMIN.encode(), b"Authorization: Basic YTpi"),
    "a key and an authorization": (HEAD, b"authorization: Bearer " + ADMIN.encode()),
    "two types": (HEAD, b"content-type: text/csv"),
    "two encodings": (HEAD, b"content-encoding: identity", b"content-encoding: gzip"),
    "two hosts": (HEAD, b"host: evil.example"),
    "a key in a folded line": (b"x-a: b\r\n x-api-key: " + ADMIN.encode(),),
    "a key with a blank in its name": (b"x-api-key : " + ADMIN.encode(),),
    "a key behind a bare line feed": (b"x-a: b\nx-api-key: " + ADMIN.encode(),),
    "a key behind a zero": (b"x-a: b\0x-api-key: " + ADMIN.encode(),),
}


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_headers_that_could_be_read_two_ways_open_nothing(known: Known, name: str) -> None:
    (answer, *_) = exchange(known.service.port, request(BODY, *AMBIGUOUS[name], close=True))
    assert answer.status in (400, 401)
    assert ADMIN not in answer.text


def test_a_key_in_a_trailer_opens_nothing(known: Known) -> None:
    chunks = b"%x\r\n%s\r\n0\r\n%s\r\n\r\n" % (len(BODY), BODY, HEAD)
    (answer, *_) = exchange(known.service.port, request(chunks, b"transfer-encoding: chunked", close=True))
    assert answer.status == 401


def test_a_request_within_the_body_of_another_is_its_body(known: Known) -> None:
    inside = request(BODY, HEAD)
    (answer,) = exchange(known.service.port, request(inside, close=True))
    assert answer.status == 401
    with_both = request(b"0\r\n\r\n" + inside, b"content-length: 5", b"transfer-encoding: chunked")
    assert [found.status for found in exchange(known.service.port, with_both)] == [400]


def test_keys_are_guessed_in_vain(known: Known) -> None:
    key = known.keys["shop"]
    guesses = [key[:-1], key + "A", key[:-1] + ("A" if key[-1] != "A" else "B"), key.lower(), f"{key} x", key * 2, "é"]
    answers = [
        httpx.post(known.service.url + "/predict", content=BODY, headers={b"x-api-key": guess.encode("latin-1")})
        for guess in guesses
    ]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.text for answer in answers}) == 1


def test_the_bad_inputs_are_answered_alike_with_a_key_and_not_at_all_without(known: Known) -> None:
    """The table of `test_bad_inputs` once more: first 401 whatever was sent, then what is wrong with it."""
    sent = [
        (case, target) for case in CASES for target in TARGETS if case.name not in target.skips and target.takes(case)
    ]
    for case, target in sent:
        for key, wanted in ((WRONG, 401), (known.keys["shop"], case.status)):
            answer = target.send(known.service.url, case.members, x_api_key=key)
            assert answer.status_code == wanted, (case.name, target.name, answer.text[:200])
            assert [word for word in NEVER if word in answer.text] == []
    assert len(sent) > 200
