"""Clients that take their time, or more than their share, on the real service: they are ended, the others are not."""

import json
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from burst import Answered, answers, burst, connected, read_answer, request

from service import COMMAND, FRAUD_ROW, SealedModel, serving, wait_until

HEAD = b"POST /predict HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"


def ended(found: socket.socket) -> bool:
    """Waits until the service has closed a connection, after whatever else it says."""
    while found.recv(65_536):
        pass
    return True


@pytest.mark.parametrize(
    ("sent", "setting"),
    (
        (HEAD, {"SCORELINE_SERVER__HEAD_MS": "300"}),
        (HEAD + b"content-length: 100\r\n\r\n{", {"SCORELINE_SERVER__BODY_MS": "300"}),
        (HEAD + b"transfer-encoding: chunked\r\n\r\n1\r\n{\r\n", {"SCORELINE_SERVER__BODY_MS": "300"}),
        (HEAD + b"content-length: 300000\r\n\r\n" + b" " * 200_000, {"SCORELINE_SERVER__BODY_MS": "300"}),
    ),
    ids=("a head", "a body", "a body in chunks", "the end of a body whose beginning came at once"),
)
def test_what_does_not_come_in_time_is_answered_408_and_closed(
    sealed: SealedModel, tmp_path: Path, sent: bytes, setting: dict[str, str]
) -> None:
    with serving(sealed, folder=tmp_path, **setting) as service, connected(service.port, 1) as (client,):
        client.sendall(sent)
        answer = read_answer(client)
        assert answer is not None
        assert (answer.status, answer.body["type"]) == (408, "/errors/too-slow")
        assert ended(client)
        assert service.post(FRAUD_ROW).status_code == 200


def test_a_client_that_sends_a_byte_now_and_then_is_ended_all_the_same(sealed: SealedModel, tmp_path: Path) -> None:
    settings = {"SCORELINE_SERVER__HEAD_MS": "1000", "SCORELINE_SERVER__KEEP_ALIVE_S": "60"}
    with serving(sealed, folder=tmp_path, **settings) as service, connected(service.port, 1) as (client,):
        client.sendall(HEAD + b"x-slow: ")
        client.settimeout(0.05)

        def is_ended() -> bool:
            try:
                client.sendall(b"s")
                return b"408" in client.recv(65_536)
            except TimeoutError:
                return False

        wait_until(is_ended, "it is ended")


def test_a_body_that_comes_steadily_may_take_its_time(sealed: SealedModel, tmp_path: Path) -> None:
    """Longer than `body_ms`, which is how far it may be behind."""
    body = json.dumps(FRAUD_ROW).encode()
    settings = {"SCORELINE_SERVER__BODY_MS": "1000", "SCORELINE_SERVER__BODY_MIN_BYTES": "1"}
    with serving(sealed, folder=tmp_path, **settings) as service, connected(service.port, 1) as (client,):
        client.sendall(HEAD + b"transfer-encoding: chunked\r\n\r\n")
        until_s = time.monotonic() + 3
        while time.monotonic() < until_s:
            client.sendall(b"1\r\n \r\n")
            assert service.get("/healthz/live").status_code == 200
        client.sendall(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
        answer = read_answer(client)
    assert answer is not None and answer.status == 200


def test_who_is_silent_is_closed_after_a_while_and_who_was_never_heard_too(sealed: SealedModel, tmp_path: Path) -> None:
    settings = {"SCORELINE_SERVER__KEEP_ALIVE_S": "1"}
    with serving(sealed, folder=tmp_path, **settings) as service, connected(service.port, 2) as (heard, silent):
        heard.sendall(request(row=FRAUD_ROW))
        answer = read_answer(heard)
        assert answer is not None and answer.status == 200
        assert ended(heard) and ended(silent)


def test_who_does_not_read_its_answers_is_cut_and_keeps_no_memory(sealed: SealedModel, tmp_path: Path) -> None:
    rows = json.dumps([FRAUD_ROW] * 1000).encode()
    with serving(sealed, folder=tmp_path, SCORELINE_SERVER__UNREAD_MS="500") as service:
        (worker,) = service.workers()
        with connected(service.port, 1) as (client,):
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.settimeout(30)
            sent = HEAD + b"content-length: %d\r\n\r\n%s" % (len(rows), rows)
            with pytest.raises(OSError, match=r"reset|pipe"):
                while True:
                    client.sendall(sent)
        assert worker.memory_info().rss < 400 << 20
        assert service.post(FRAUD_ROW).status_code == 200


def test_where_all_places_are_taken_the_silent_make_room(sealed: SealedModel, tmp_path: Path) -> None:
    settings = {"SCORELINE_SERVER__MAX_CONNECTIONS": "8", "SCORELINE_SERVER__KEEP_ALIVE_S": "600"}
    with serving(sealed, folder=tmp_path, **settings) as service, connected(service.port, 30) as silent:
        with httpx.Client(base_url=service.url) as client:
            for _ in range(50):
                assert client.post("/predict", json=FRAUD_ROW).status_code == 200
        for found in silent[:20]:
            assert ended(found)


@pytest.mark.parametrize("files", ("-Sn 100", "-n 400"), ids=("that may be more", "that may not be more"))
def test_where_a_process_may_have_few_files_the_silent_make_room_all_the_same(
    sealed: SealedModel, tmp_path: Path, files: str
) -> None:
    """1,024 is what a shell or systemd gives, less than `max_connections` by default."""
    program = ("sh", "-c", f'ulimit {files} && exec "$0" "$@"', COMMAND)
    settings = {"SCORELINE_SERVER__KEEP_ALIVE_S": "600"}
    with serving(sealed, folder=tmp_path, program=program, **settings) as service, connected(service.port, 450):
        for _ in range(20):
            assert service.post(FRAUD_ROW).status_code == 200
        assert service.get("/healthz/ready").status_code == 200


def test_where_nobody_is_silent_a_guest_learns_that_the_service_is_well_and_nothing_else(
    sealed: SealedModel, tmp_path: Path
) -> None:
    settings = {"SCORELINE_SERVER__MAX_CONNECTIONS": "4", "SCORELINE_SERVER__BODY_MS": "600000"}
    with serving(sealed, folder=tmp_path, **settings) as service, connected(service.port, 4) as busy:
        for found in busy:
            found.sendall(HEAD + b"content-length: 100\r\n\r\n{")

        def guests() -> set[tuple[int, int, str]]:
            told = burst(service.port, [request("/healthz/live"), request(row=FRAUD_ROW)])
            return {(answer.number, answer.status, answer.headers.get("connection", "")) for answer in told}

        wait_until(lambda: guests() == {(0, 200, "close"), (1, 503, "close")}, "all places are taken")
        (told,) = burst(service.port, [request(row=FRAUD_ROW)])
        assert told.body["type"] == "/errors/overloaded"
        assert told.headers["retry-after"] == "1"
        busy[0].close()
        wait_until(lambda: service.post(FRAUD_ROW).status_code == 200, "there is a place again")
        assert service.admin("/status").status_code == 200


def large(n_bytes: int) -> tuple[bytes, bytes]:
    """A request whose body has so many bytes, and the last of them by itself."""
    body = json.dumps(FRAUD_ROW).encode()[:-1] + b" " * n_bytes + b"}"
    return HEAD + b"content-length: %d\r\n\r\n" % len(body) + body[:-1], body[-1:]


def test_large_bodies_are_read_as_there_is_room_for_them_and_all_of_them_are_answered(
    sealed: SealedModel, tmp_path: Path
) -> None:
    """60 of 4 MiB that all come at once and end late, where there is room for 8 MiB; small ones need none of it."""
    settings = {"SCORELINE_SERVER__MAX_BODIES_BYTES": str(8 << 20), "SCORELINE_SERVER__BODY_MS": "600000"}
    most, last = large(4 << 20)
    with serving(sealed, folder=tmp_path, **settings) as service, connected(service.port, 60) as clients:
        (worker,) = service.workers()
        assert service.post(FRAUD_ROW).status_code == 200
        before = worker.memory_info().rss
        to_go = threading.Event()

        def send(client: socket.socket) -> None:
            client.sendall(most)
            to_go.wait(60)
            client.sendall(last)

        senders = [threading.Thread(target=send, args=(client,)) for client in clients]
        for sender in senders:
            sender.start()
        sent_since_s = time.monotonic()
        while time.monotonic() - sent_since_s < 3:
            assert service.post(FRAUD_ROW).status_code == 200
            assert worker.memory_info().rss - before < 80 << 20
        to_go.set()
        assert [answer.status for answer in answers(clients)] == [200] * 60
        for sender in senders:
            sender.join(60)
        assert worker.memory_info().rss - before < 80 << 20


def test_a_body_for_which_there_is_no_room_for_long_is_told_to_come_again(sealed: SealedModel, tmp_path: Path) -> None:
    """Whoever began first is read: it sends as much as it must, and never ends."""
    settings = {"SCORELINE_SERVER__MAX_BODIES_BYTES": str(1 << 20), "SCORELINE_SERVER__BODY_MS": "1000"}
    most, last = large(4 << 20)
    with serving(sealed, folder=tmp_path, **settings) as service, connected(service.port, 2) as (first, second):
        first.settimeout(60)
        first.sendall(most[: 2 << 20])
        second.sendall(most)
        rest = memoryview(most)[2 << 20 :]
        told: list[Answered] = []

        def has_told() -> bool:
            nonlocal rest
            first.sendall(rest[:4096])
            rest = rest[4096:]
            second.settimeout(0.2)
            with suppress(TimeoutError):
                told.append(read_answer(second))  # type: ignore[arg-type]
            return bool(told)

        wait_until(has_told, "the second is told")
        assert (told[0].status, told[0].body["type"]) == (503, "/errors/overloaded")
        assert told[0].headers["retry-after"] == "1"
        first.sendall(bytes(rest) + last)
        answer = read_answer(first)
        assert answer is not None and answer.status == 200


@pytest.mark.parametrize("how", (b"expect: 100-continue\r\ncontent-length: 100", b"transfer-encoding: chunked"))
def test_a_guest_gets_no_prediction_however_its_body_is_to_come(
    sealed: SealedModel, tmp_path: Path, how: bytes
) -> None:
    settings = {"SCORELINE_SERVER__MAX_CONNECTIONS": "4", "SCORELINE_SERVER__BODY_MS": "600000"}
    with serving(sealed, folder=tmp_path, **settings) as service, connected(service.port, 4) as busy:
        for found in busy:
            found.sendall(HEAD + b"content-length: 100\r\n\r\n{")

        def is_full() -> bool:
            (told,) = burst(service.port, [request(row=FRAUD_ROW)])
            return told.status == 503

        wait_until(is_full, "all places are taken")
        with connected(service.port, 1) as (guest,):
            guest.settimeout(10)
            guest.sendall(HEAD + how + b"\r\n\r\n")
            answer = read_answer(guest)
        assert answer is not None
        assert (answer.status, answer.body["type"]) == (503, "/errors/overloaded")


def test_one_address_has_so_many_connections_and_no_more(sealed: SealedModel, tmp_path: Path) -> None:
    settings = {"SCORELINE_SERVER__MAX_PEER_CONNECTIONS": "3"}
    with serving(sealed, folder=tmp_path, **settings) as service, connected(service.port, 3) as sockets:
        for found in sockets:
            found.sendall(request(row=FRAUD_ROW))
        assert [answer.status for answer in answers(sockets)] == [200] * 3
        with connected(service.port, 1) as (fourth,), suppress(ConnectionResetError):
            assert ended(fourth)


def test_a_client_that_sends_ten_thousand_requests_ahead_is_read_as_it_is_answered(
    sealed: SealedModel, tmp_path: Path
) -> None:
    n = 10_000
    with serving(sealed, folder=tmp_path) as service, connected(service.port, 1) as (client,):
        (worker,) = service.workers()
        before = worker.memory_info().rss
        client.settimeout(60)
        client.setblocking(False)
        sent, said = memoryview(request("/healthz/live") * n), 0

        def go_on() -> bool:
            nonlocal sent, said
            try:
                while sent:
                    sent = sent[client.send(sent) :]
            except BlockingIOError:
                pass
            try:
                while True:
                    said += client.recv(65_536).count(b"HTTP/1.1 200")
            except BlockingIOError:
                return said == n

        wait_until(go_on, "all are answered", 60)
        assert worker.memory_info().rss - before < 48 << 20


@pytest.mark.parametrize("sent", (b"no HTTP at all\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"), ids=("no HTTP", "no host"))
def test_who_sends_what_is_no_http_cannot_fill_the_log(sealed: SealedModel, tmp_path: Path, sent: bytes) -> None:
    with serving(sealed, folder=tmp_path) as service:
        before = len(service.log.splitlines())
        for _ in range(200):
            with connected(service.port, 1) as (client,):
                client.sendall(sent)
                answer = read_answer(client)
                assert answer is not None and answer.status == 400
        assert len(service.log.splitlines()) - before < 100
