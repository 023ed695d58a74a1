"""Everything a caller may send by mistake or in malice, to the real service.

Never a 5xx, never a wrong 200, never a value, path or trace of ours in an answer; all problems at once, by field; and
the same workers answer a good row afterwards.
"""

import gzip
import json
from collections.abc import Iterator

import httpx
import pytest
from bad_inputs import CASES, NEVER, ROW, TARGETS, Case, Target
from sockets import Raw, exchange, request

from service import SealedModel, Service, serving

GOOD = {key: json.loads(text) for key, text in ROW.items()}
BODY = json.dumps(GOOD).encode()


@pytest.fixture(scope="module")
def service(sealed: SealedModel, churn: SealedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Two models and two workers, which are the same ones at the end, with nothing unexpected in the log."""
    folder = tmp_path_factory.mktemp("hostile")
    how = {"arguments": ("--default", "fraud"), "SCORELINE_SERVER__KEEP_ALIVE_S": "1"}
    with serving(sealed, churn, folder=folder, workers=2, **how) as running:
        workers = {worker.pid for worker in running.workers()}
        yield running
        assert {worker.pid for worker in running.workers()} == workers
        assert "Traceback" not in running.log
        assert "failed" not in running.log


def expected(sealed: SealedModel, *rows: object) -> list[float]:
    return [decision.scores[0] for decision in sealed.decide(*rows)]  # type: ignore[arg-type]


def assert_harmless(text: str) -> None:
    assert [word for word in NEVER if word in text] == []


def assert_refused(answer: httpx.Response, status: int, kind: str = "") -> None:
    assert answer.status_code == status, answer.text[:300]
    assert_harmless(answer.text + str(answer.headers))
    if answer.request.method != "HEAD":
        assert answer.headers["content-type"] == "application/problem+json"
        found = answer.json()
        assert found["status"] == status
        assert found["type"] == f"/errors/{kind}" if kind else found["type"].startswith("/errors/")


def assert_raw_problem(answer: Raw) -> None:
    assert answer.headers["content-type"] == "application/problem+json"
    assert json.loads(answer.text)["status"] == answer.status
    assert_harmless(answer.text + str(answer.headers))


def assert_good(service: Service, sealed: SealedModel) -> None:
    answer = service.post(GOOD)
    assert (answer.status_code, answer.json()["fraud_probability"]) == (200, expected(sealed, GOOD)[0])


SENT = [(case, target) for case in CASES for target in TARGETS if case.name not in target.skips and target.takes(case)]


@pytest.mark.parametrize(("case", "target"), SENT, ids=lambda found: found.name)
def test_row(service: Service, sealed: SealedModel, case: Case, target: Target) -> None:
    answer = target.send(service.url, case.members)
    assert answer.status_code == case.status, answer.text[:300]
    if case.means is not None:
        rows = [GOOD] * target.rows
        rows[target.bad] = dict(case.means)
        assert target.scores(answer.json()) == expected(sealed, *rows)
        assert_harmless(answer.text)
    else:
        assert answer.headers["content-type"] == target.problem_type
        assert_harmless(answer.text)
    if case.problems is not None:
        found = target.problems(answer.json())
        assert found == {(target.bad, field, problem) for field, problem in case.problems.items()}
    assert_good(service, sealed)


BODIES = {
    "empty": (b"", 400),
    "blanks": (b" \r\n\t" * 1000, 400),
    "no rows": (b"[]", 400),
    "a row in two lists": (b"[[%s]]" % BODY, 422),
    "a list that does not end": (b"[%s," % BODY, 400),
    "100,000 open brackets": (b"[" * 100_000, 400),
    "100,000 open braces": (b'{"a":' * 100_000, 400),
    "bad UTF-8 in a value": (BODY.replace(b"fr:sud", b"secret-word\xff"), 400),
    "bad UTF-8 in a key": (BODY.replace(b"repeat", b"repe\xc3\x28t"), 400),
    "a surrogate in UTF-8": (BODY.replace(b"fr:sud", b"\xed\xa0\x80"), 400),
    "overlong UTF-8": (BODY.replace(b"fr:sud", b"\xc0\xaf"), 400),
    "UTF-16": (BODY.decode().encode("utf-16"), 400),
    "UTF-32": (BODY.decode().encode("utf-32"), 400),
    "a byte order mark": (b"\xef\xbb\xbf" + BODY, 400),
    "a zero byte": (b"\0" + BODY, 400),
    "zero bytes behind": (BODY + b"\0" * 1000, 400),
    "two rows without a list": (BODY + b"\n" + BODY, 400),
    "a row and a word": (BODY + b"secret-word", 400),
    "a form": (b"amount=4711.0625&country=secret-word", 400),
    "XML": (b"<row><amount>4711.0625</amount></row>", 400),
    "CSV": (b"amount,country\n4711.0625,secret-word\n", 400),
    "a pickle": (b"\x80\x04\x95\x1e\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x8c\x06system\x93.", 400),
    "gzip": (gzip.compress(BODY), 400),
    "10 MB of blanks around a row": (b" " * 10_000_000 + BODY, 413),
    "10 MB in one text": (b'{"amount":4711.0625,"country":"%s"}' % (b"x" * 10_000_000), 413),
    "5 MB in one text": (b'{"amount":4711.0625,"country":"%s"}' % (b"x" * 5_000_000), 422),
    "5 MB of keys": (b"{%s}" % b",".join(b'"k%d":1' % n for n in range(400_000)), 422),
    "5,001 rows": (b"[%s]" % b",".join([BODY] * 5001), 413),
    "5,000 bad rows": (b"[%s]" % b",".join([b"{}"] * 5000), 422),
    "a million numbers for rows": (b"[%s]" % b",".join([b"1"] * 1_000_000), 413),
}


@pytest.mark.parametrize("target", TARGETS[1:3], ids=lambda target: target.path)
@pytest.mark.parametrize("name", BODIES)
def test_body(service: Service, sealed: SealedModel, name: str, target: Target) -> None:
    body, status = BODIES[name]
    answer = target.post(service.url, body)
    assert_refused(answer, status)
    assert len(answer.content) < 200_000
    assert_good(service, sealed)


CONTENT_TYPES = {
    "application/json": 200,
    "application/json; charset=utf-8": 200,
    "APPLICATION/JSON": 200,
    "application/cloudevents+json": 200,
    "application/x-www-form-urlencoded": 200,
    "": 200,
    "text/plain": 415,
    "text/csv": 415,
    "text/json": 415,
    "application/xml": 415,
    "application/jsonx": 415,
    "application/octet-stream": 415,
    "multipart/form-data; boundary=x": 415,
    "image/png": 415,
    "json": 415,
    "*/*": 415,
    ";": 200,
    "x" * 10_000: 415,
}


@pytest.mark.parametrize("path", ("/predict", "/models/fraud/predict"))
@pytest.mark.parametrize("kind", [*CONTENT_TYPES, None], ids=lambda kind: str(kind)[:40])
def test_content_type(service: Service, sealed: SealedModel, path: str, kind: str | None) -> None:
    headers = {} if kind is None else {"content-type": kind}
    answer = httpx.post(service.url + path, content=BODY, headers=headers)
    if CONTENT_TYPES.get(kind or "", 200) == 200:
        assert (answer.status_code, answer.json()["fraud_probability"]) == (200, expected(sealed, GOOD)[0])
    else:
        assert_refused(answer, 415, "wrong-type")
    assert_good(service, sealed)


@pytest.mark.parametrize("path", ("/predict", "/models/fraud/predict"))
@pytest.mark.parametrize("method", ("GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "LOCK"))
def test_method(service: Service, sealed: SealedModel, method: str, path: str) -> None:
    answer = httpx.request(method, service.url + path, content=BODY, headers={"content-type": "application/json"})
    assert_refused(answer, 405, "method-not-allowed")
    assert answer.headers["allow"] == "POST"
    assert_good(service, sealed)


PATHS = (
    *("/", "/predict/", "/Predict", "/predict.json", "/predict/fraud", "/predict%00", "/predict;x", "/predict%0d%0a"),
    *("/models/none/predict", "/models//predict", "/models/fraud/predict/", "/models/FRAUD/predict"),
    *("/models/fraud/predict%20", "/models/%00/predict", "/models/%ff%fe/predict"),
    *("/models/%F0%9F%9A%97/predict", "/models/%ED%A0%80/predict", "/models/fraud%0a/predict"),
    *("/models/..%2f..%2fetc%2fpasswd/predict", "/models/fraud/explain", "/models/" + "x" * 30_000 + "/predict"),
    *("/../../etc/passwd", "/docs/assets/..%2f..%2fetc%2fpasswd", "/v3/predict", "/status", "/%", "/%zz/predict"),
)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path[:40])
def test_path(service: Service, sealed: SealedModel, path: str) -> None:
    answer = exchange(service.port, request(BODY, path=path.encode(), close=True))
    assert [found.status for found in answer] in ([404], [405]), answer
    assert_raw_problem(answer[0])
    assert_good(service, sealed)


def test_all_problems_of_all_rows_are_told_up_to_a_thousand(service: Service) -> None:
    rows = [{"amount": "abc", "colour": 1, "repeat": 2} for _ in range(500)]
    found = service.post(rows).json()["errors"]
    assert len(found) == 1000
    assert {(problem["row"], problem["field"]) for problem in found[:3]} == {
        (0, "amount"),
        (0, "colour"),
        (0, "repeat"),
    }


def test_secrets_in_headers_and_query_are_not_answered(service: Service, sealed: SealedModel) -> None:
    headers = {
        "x-api-key": "secret-word",
        "cookie": "secret-word",
        "user-agent": "secret-word",
        "x-request-id": "secret word",
    }
    answer = httpx.post(
        f"{service.url}/models/none/predict?amount=4711.0625&word=secret-word", content=BODY, headers=headers
    )
    assert_refused(answer, 404, "not-found")
    assert_harmless(str(answer.headers))


def test_nothing_of_what_was_refused_is_in_the_log(service: Service) -> None:
    service.post({**GOOD, "country": "secret-word"})
    service.post(b'{"amount":4711.0625')
    assert [word for word in ("secret-word", "4711.0625", "86753") if word in service.log] == []


CHUNKED = b"transfer-encoding: chunked"
HALF = len(BODY) // 2
# What is said of the length, what is sent, and the answers: none where a client ends before it has sent what it said.
LENGTHS: dict[str, tuple[bytes, set[tuple[int, ...]]]] = {
    "shorter than said": (request(BODY, b"content-length: %d" % (len(BODY) + 1)), {()}),
    "much shorter than said": (request(BODY, b"content-length: 8000000"), {()}),
    "nothing where a row is said": (request(b"", b"content-length: %d" % len(BODY)), {()}),
    "longer than said": (request(BODY + b"secret-word", b"content-length: %d" % len(BODY)), {(400,), (200, 400)}),
    "half a row said": (request(BODY, b"content-length: %d" % HALF), {(400,), (400, 400)}),
    "zero said": (request(BODY, b"content-length: 0"), {(400,), (400, 400)}),
    "negative": (request(BODY, b"content-length: -1"), {(400,)}),
    "with a plus": (request(BODY, b"content-length: +%d" % len(BODY)), {(400,)}),
    "hexadecimal": (request(BODY, b"content-length: 0x%x" % len(BODY)), {(400,)}),
    "a fraction": (request(BODY, b"content-length: %d.0" % len(BODY)), {(400,)}),
    "a word": (request(BODY, b"content-length: secret-word"), {(400,)}),
    "nothing said": (request(BODY, b"content-length:"), {(400,), (400, 400)}),
    "two numbers in one": (request(BODY, b"content-length: %d, %d" % (len(BODY), len(BODY))), {(400,)}),
    "two lengths": (request(BODY, b"content-length: %d" % len(BODY), b"content-length: 5"), {(400,)}),
    "the same length twice": (request(BODY, *[b"content-length: %d" % len(BODY)] * 2), {(400,)}),
    "more than 64 bits": (request(BODY, b"content-length: 99999999999999999999999"), {(400,)}),
    "a petabyte": (request(BODY, b"content-length: 1000000000000000"), {(413,)}),
    "more digits than a number has": (request(BODY, b"content-length: " + b"9" * 5000), {(400,)}),
    "a length and chunks": (request(BODY, b"content-length: %d" % len(BODY), CHUNKED), {(400,)}),
    "chunks and a length": (request(BODY, CHUNKED, b"content-length: %d" % len(BODY)), {(400,)}),
    "chunks that are none": (request(BODY, CHUNKED), {(400,)}),
    "true chunks": (request(b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY), CHUNKED), {(200,)}),
    "true chunks of a byte": (
        request(b"".join(b"1\r\n%c\r\n" % byte for byte in BODY) + b"0\r\n\r\n", CHUNKED),
        {(200,)},
    ),
    "a chunk longer than said": (request(b"%x\r\n%s\r\n0\r\n\r\n" % (HALF, BODY), CHUNKED), {(400,)}),
    "a chunk shorter than said": (request(b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY) + 9, BODY), CHUNKED), {(), (400,)}),
    "chunks without an end": (request(b"%x\r\n%s\r\n" % (len(BODY), BODY), CHUNKED), {()}),
    "a chunk of a negative size": (request(b"-5\r\n%s\r\n0\r\n\r\n" % BODY, CHUNKED), {(400,)}),
    "a chunk of more than 64 bits": (request(b"f" * 17 + b"\r\n%s\r\n0\r\n\r\n" % BODY, CHUNKED), {(400,)}),
    "a chunk of 2 GiB": (request(b"7fffffff\r\n%s\r\n0\r\n\r\n" % BODY, CHUNKED), {()}),
    "a chunk of a size that is a word": (request(b"secret-word\r\n%s\r\n0\r\n\r\n" % BODY, CHUNKED), {(400,)}),
    "an empty first chunk": (request(b"0\r\n\r\n%s" % BODY, CHUNKED), {(400,), (400, 400)}),
    "chunks in gzip": (request(BODY, b"transfer-encoding: chunked, gzip"), {(400,)}),
    "an unknown encoding": (request(BODY, b"transfer-encoding: secret-word"), {(400,)}),
    "a head and no more": (b"POST /predict HTTP/1.1\r\nhost: localhost\r\n", {()}),
    "a zero in a header": (request(BODY, b"x-a: secret\0word"), {(400,)}),
    "a header without a colon": (request(BODY, b"secret-word"), {(400,)}),
    "no HTTP": (b"secret-word 4711.0625\r\n\r\n", {(400,)}),
    "a TLS greeting": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500), {(400,)}),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {(400,)}),
    "zeros": (bytes(10_000), {(400,)}),
}


@pytest.mark.parametrize("in_pieces", (False, True), ids=("at once", "byte by byte"))
@pytest.mark.parametrize("name", LENGTHS)
def test_lying_length(service: Service, sealed: SealedModel, name: str, in_pieces: bool) -> None:
    sent, outcomes = LENGTHS[name]
    pieces = [bytes([byte]) for byte in sent[:2000]] + [sent[2000:]] if in_pieces else [sent]
    found = exchange(service.port, *pieces, half_close=() in outcomes)
    assert tuple(answer.status for answer in found) in outcomes, found
    for answer in found:
        if answer.status == 200:
            assert json.loads(answer.text)["fraud_probability"] == expected(sealed, GOOD)[0]
        else:
            assert_raw_problem(answer)
    assert_good(service, sealed)
