"""Request heads on a real service: their size is limited, and an offered upgrade is ignored."""

import socket
from pathlib import Path

import pytest

from service import FRAUD_ROW, SealedModel, Service, serving

BODY = b'{"amount": 5000}'


@pytest.fixture(scope="module")
def service(sealed: SealedModel, tmp_path_factory: pytest.TempPathFactory) -> object:
    with serving(sealed, folder=tmp_path_factory.mktemp("heads")) as running:
        yield running


def exchange(service: Service, *pieces: bytes) -> bytes:
    """What the service answers to these bytes, until it closes the connection."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as connection:
        try:
            for piece in pieces:
                connection.sendall(piece)
        except OSError:
            pass  # it has closed before taking all
        found = b""
        try:
            while piece := connection.recv(65536):
                found += piece
        except ConnectionResetError:
            pass
        return found


def test_a_head_beyond_64_kib_is_answered_431_and_left(service: Service) -> None:
    lines = b"a: b\r\n" * 20_000
    found = exchange(service, b"POST /predict HTTP/1.1\r\nhost: localhost\r\n", *[lines] * 20)
    assert found.startswith(b"HTTP/1.1 431 ")
    assert b"head-too-large" in found
    assert service.post(FRAUD_ROW).status_code == 200


def test_one_endless_header_is_answered_431_and_left(service: Service) -> None:
    found = exchange(service, b"POST /predict HTTP/1.1\r\nhost: localhost\r\nx: ", *[b"y" * 30_000] * 20)
    assert found.startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("offer", (b"h2c", b"websocket"))
def test_an_offered_upgrade_is_ignored_and_the_row_scored(service: Service, offer: bytes) -> None:
    head = (
        b"POST /predict HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n"
        b"Connection: Upgrade, HTTP2-Settings, close\r\nUpgrade: %s\r\nHTTP2-Settings: AAMAAABk\r\n\r\n"
    ) % (len(BODY), offer)
    for pieces in ((head + BODY,), (head, BODY)):
        found = exchange(service, *pieces)
        assert found.startswith(b"HTTP/1.1 200 "), found
        assert b"fraud_probability" in found


def test_without_credentials_a_name_that_is_not_loopbacks_is_refused(service: Service) -> None:
    for path in ("/predict", "/models"):
        method = b"POST" if path == "/predict" else b"GET"
        request = b"%s %s HTTP/1.1\r\nhost: evil.example:%d\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
        found = exchange(service, request % (method, path.encode(), service.port))
        assert found.startswith(b"HTTP/1.1 403 "), found
    for name in ("localhost", "127.0.0.1", "[::1]"):
        request = b"GET /models HTTP/1.1\r\nhost: %s:%d\r\nconnection: close\r\n\r\n"
        assert exchange(service, request % (name.encode(), service.port)).startswith(b"HTTP/1.1 200 ")


def test_who_may_not_ask_is_told_before_the_body_is_there(sealed: SealedModel, tmp_path: Path) -> None:
    with serving(sealed, folder=tmp_path, SCORELINE_ACCESS__ADMIN_KEY="a-key-of-24-characters-x") as service:
        head = b"POST /predict HTTP/1.1\r\nhost: localhost\r\ncontent-length: 4000000\r\n\r\n"
        assert exchange(service, head, b"{").startswith(b"HTTP/1.1 401 ")


def test_health_knows_its_routes_and_says_what_it_means(service: Service) -> None:
    assert service.get("/healthz/live").json() == {"status": "live"}
    assert service.get("/healthz/ready").json() == {"status": "ready"}
    assert service.get("/healthz/nonsense").status_code == 404
    assert service.post(b"", "/healthz/live").status_code == 405
