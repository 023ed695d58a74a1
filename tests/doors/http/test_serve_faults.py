"""`scoreline serve` when something dies, ends or is full: real processes, killed, and every answer counted."""

import json
import os
import signal
import socket
import struct
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest

from load import Client, failures_of, ids_of, load
from models import edit, keys, sealed_bundle
from service import FRAUD_ROW, SealedModel, Service, run_scoreline, serving, start_serving, wait_until


def assert_recorded_once(service: Service, answered: list[str]) -> None:
    """Every answer a client had is in the record, and nothing stands there twice."""
    recorded = Counter(service.recorded_ids())
    assert answered
    assert [found for found in answered if recorded[found] != 1] == []
    assert max(recorded.values()) == 1


def wait_for_answers(clients: list[Client], n_more: int) -> None:
    goal = sum(len(client.answers) for client in clients) + n_more
    wait_until(lambda: sum(len(client.answers) for client in clients) >= goal, f"{n_more} more answers came")


@pytest.mark.parametrize("run", range(3))
def test_a_drain_under_load_fails_no_request(sealed: SealedModel, tmp_path: Path, run: int) -> None:
    with serving(sealed, folder=tmp_path, workers=2, SCORELINE_SERVER__DRAIN_DELAY_MS="500") as service:
        with load(service.port, keep_alive=16, reconnecting=4) as clients:
            wait_for_answers(clients, 300)
            assert service.stop() == 0
            for client in clients:
                client.join(30)
        assert failures_of(clients) == []
        assert all(client.refused for client in clients)
        assert_recorded_once(service, ids_of(clients))


@pytest.mark.parametrize("sig", (signal.SIGTERM, signal.SIGINT))
def test_a_signal_to_all_processes_at_once_drains_as_well(
    sealed: SealedModel, tmp_path: Path, sig: signal.Signals
) -> None:
    with serving(sealed, folder=tmp_path, workers=2, SCORELINE_SERVER__DRAIN_DELAY_MS="500") as service:
        with load(service.port, keep_alive=8, reconnecting=2) as clients:
            wait_for_answers(clients, 200)
            os.killpg(service.process.pid, sig)
            assert service.exit_code() == 0
            for client in clients:
                client.join(30)
        assert failures_of(clients) == []
        assert_recorded_once(service, ids_of(clients))


def test_while_draining_it_answers_and_says_it_is_not_ready(sealed: SealedModel, tmp_path: Path) -> None:
    with serving(sealed, folder=tmp_path, SCORELINE_SERVER__DRAIN_DELAY_MS="1500") as service:
        assert service.get("/healthz/ready").status_code == 200
        service.process.terminate()
        wait_until(lambda: service.get("/healthz/ready").status_code == 503, "readiness is false")
        assert service.get("/healthz/live").status_code == 200
        assert service.get("/healthz/ready").headers["content-type"] == "application/problem+json"
        answer = service.post(FRAUD_ROW)
        assert (answer.status_code, answer.headers["connection"]) == (200, "close")
        assert service.exit_code() == 0


def test_a_request_under_way_is_answered_before_the_end(sealed: SealedModel, tmp_path: Path) -> None:
    with serving(sealed, folder=tmp_path) as service:
        body = b'{"amount": 12}'
        with socket.create_connection(("127.0.0.1", service.port), timeout=20) as connection:
            connection.sendall(b"POST /predict HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % len(body))
            connection.sendall(body[:5])
            time.sleep(0.2)
            service.process.terminate()
            time.sleep(0.5)
            connection.sendall(body[5:])
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        assert service.exit_code() == 0


def test_an_idle_connection_may_still_ask_while_the_service_drains(sealed: SealedModel, tmp_path: Path) -> None:
    request = b'POST /predict HTTP/1.1\r\nhost: localhost\r\ncontent-length: 14\r\n\r\n{"amount": 12}'
    with (
        serving(sealed, folder=tmp_path) as service,
        socket.create_connection(("127.0.0.1", service.port), timeout=20) as connection,
    ):
        connection.sendall(request)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        service.process.terminate()
        time.sleep(0.6)
        connection.sendall(request)
        answer = connection.recv(65536)
        assert answer.startswith(b"HTTP/1.1 200") and b"connection: close" in answer
        assert service.exit_code() == 0


def test_a_client_that_never_finishes_does_not_hold_the_drain_for_ever(sealed: SealedModel, tmp_path: Path) -> None:
    with (
        serving(sealed, folder=tmp_path, SCORELINE_SERVER__DRAIN_MS="500") as service,
        socket.create_connection(("127.0.0.1", service.port), timeout=20) as connection,
    ):
        connection.sendall(b"POST /predict HTTP/1.1\r\nhost: localhost\r\ncontent-length: 14\r\n\r\n{")
        time.sleep(0.2)
        service.process.terminate()
        assert service.exit_code() == 0
        assert "is killed" not in service.log


def test_a_killed_worker_is_replaced_and_costs_its_own_connections_only(sealed: SealedModel, tmp_path: Path) -> None:
    with serving(sealed, folder=tmp_path, workers=2) as service:
        before = {worker.pid for worker in service.workers()}
        with load(service.port, keep_alive=8, reconnecting=2) as clients:
            wait_for_answers(clients, 200)
            victim = max(service.workers(), key=lambda worker: len(worker.net_connections()))
            victim.suspend()
            its_ports = {found.raddr.port for found in victim.net_connections() if found.raddr}
            victim.kill()
            wait_until(lambda: len({worker.pid for worker in service.workers()} - before) == 1, "it is replaced")
            wait_for_answers(clients, 400)
        assert {port for port, _ in failures_of(clients)} <= its_ports
        assert all(Counter(client.failures).most_common(1)[0][1] == 1 for client in clients if client.failures)
        assert_recorded_once(service, ids_of(clients))
        assert f"worker {victim.pid} ended with code -9" in service.log


def test_the_only_worker_killed_is_replaced_and_who_comes_meanwhile_waits(sealed: SealedModel, tmp_path: Path) -> None:
    with serving(sealed, folder=tmp_path) as service:
        for _ in range(3):
            (worker,) = service.workers()
            worker.kill()
            assert service.post(FRAUD_ROW).status_code == 200
        assert len(service.recorded_ids()) == 3


def test_a_killed_steward_is_replaced_and_counts_everything_again(sealed: SealedModel, tmp_path: Path) -> None:
    with serving(sealed, folder=tmp_path) as service:
        assert service.post([FRAUD_ROW] * 7).status_code == 200
        first = service.steward()
        assert first is not None
        first.kill()
        assert service.post(FRAUD_ROW).status_code == 200
        second = wait_until(service.steward, "the steward is replaced")
        assert second.pid != first.pid

        def decided() -> int:
            return sum(tally["decisions"] for tally in service.admin("/status").json()["decisions"])

        wait_until(lambda: decided() == 8, "the new steward has read the spool")


def test_with_the_supervisor_killed_its_children_end(sealed: SealedModel, tmp_path: Path) -> None:
    with serving(sealed, folder=tmp_path, workers=2) as service:
        children = service.children()
        assert len(children) == 4
        service.process.kill()
        _, left = psutil.wait_procs(children, timeout=15)
        assert left == []


def test_what_cannot_be_recorded_is_refused_and_later_works_again(sealed: SealedModel, tmp_path: Path) -> None:
    with serving(sealed, folder=tmp_path) as service:
        answered = _ids(service.post([FRAUD_ROW] * 2000))
        (worker,) = service.workers()
        (segment,) = (service.state_dir / "spool").iterdir()
        for room in (0, 5, 60):  # nothing, less than a frame's head, less than a frame
            worker.rlimit(psutil.RLIMIT_FSIZE, (segment.stat().st_size + room, -1))
            for _ in range(2):
                refused = service.post(FRAUD_ROW)
                assert refused.status_code == 503
                assert refused.headers["content-type"] == "application/problem+json"
                assert refused.headers["retry-after"] == "5"
                assert "fraud_probability" not in refused.text
            worker.rlimit(psutil.RLIMIT_FSIZE, (-1, -1))
            answered += _ids(service.post([FRAUD_ROW]))
        assert service.recorded_ids() == answered
        wait_until(
            lambda: service.admin("/status").json()["spool"]["lag_bytes"] == 0, "the steward has read past the refusals"
        )


def test_requests_of_one_turn_are_recorded_or_refused_each_in_its_place(sealed: SealedModel, tmp_path: Path) -> None:
    """Pipelined over one connection, with a page and a bad row among them; first with no room for the record."""
    body, bad = json.dumps(FRAUD_ROW).encode(), b'{"amount": "x"}'
    post = b"POST /predict HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n%s"
    page = b"GET /healthz/live HTTP/1.1\r\nhost: localhost\r\n\r\n"
    piece = (post % (len(body), body)) * 10 + page + post % (len(bad), bad) + (post % (len(body), body)) * 10
    with serving(sealed, folder=tmp_path) as service:
        assert service.post(FRAUD_ROW).status_code == 200
        (worker,) = service.workers()
        (segment,) = (service.state_dir / "spool").iterdir()
        for room, status in ((segment.stat().st_size + 60, 503), (-1, 200)):
            worker.rlimit(psutil.RLIMIT_FSIZE, (room, -1))
            answers = asked_raw(service.port, piece, 22)
            assert [found for found, _ in answers] == [status] * 10 + [200, 422] + [status] * 10
            assert all(b"fraud_probability" not in text for found, text in answers if found != 200)
        ids = [json.loads(text)["prediction_id"] for found, text in answers if b"fraud_probability" in text]
        assert service.recorded_ids()[1:] == ids
        assert len(ids) == 20


def asked_raw(port: int, piece: bytes, n_answers: int) -> list[tuple[int, bytes]]:
    """What is answered to bytes sent at once: status and body of each."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(piece)
        reader, found = connection.makefile("rb"), []
        for _ in range(n_answers):
            status, length = int(reader.readline().split()[1]), 0
            while (line := reader.readline()) != b"\r\n":
                name, _, value = line.partition(b":")
                length = int(value) if name.lower() == b"content-length" else length
            found.append((status, reader.read(length)))
        return found


def test_a_service_whose_disk_is_full_at_its_first_answer_recovers(sealed: SealedModel, tmp_path: Path) -> None:
    with serving(sealed, folder=tmp_path) as service:
        (worker,) = service.workers()
        worker.rlimit(psutil.RLIMIT_FSIZE, (3, -1))
        assert service.post(FRAUD_ROW).status_code == 503
        assert service.post(FRAUD_ROW).status_code == 503
        worker.rlimit(psutil.RLIMIT_FSIZE, (-1, -1))
        answer = service.post(FRAUD_ROW)
        assert answer.status_code == 200
        assert service.recorded_ids() == [answer.json()["prediction_id"]]


def test_without_room_for_the_record_it_is_not_ready_until_there_is_room_again(
    sealed: SealedModel, tmp_path: Path
) -> None:
    with serving(sealed, folder=tmp_path) as service:
        assert service.post(FRAUD_ROW).status_code == 200
        (worker,) = service.workers()
        worker.rlimit(psutil.RLIMIT_FSIZE, (3, -1))
        refused = service.post(FRAUD_ROW)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
        wait_until(lambda: service.get("/healthz/ready").status_code == 503, "it is not ready")
        assert service.get("/healthz/live").status_code == 200
        worker.rlimit(psutil.RLIMIT_FSIZE, (-1, -1))
        wait_until(lambda: service.get("/healthz/ready").status_code == 200, "it is ready again, by itself")
        assert service.post(FRAUD_ROW).status_code == 200
        assert len(service.recorded_ids()) == 2


def test_where_one_has_chosen_so_it_answers_without_a_record_and_counts(sealed: SealedModel, tmp_path: Path) -> None:
    with serving(sealed, folder=tmp_path, SCORELINE_RECORDS__ON_FULL="answer") as service:
        (worker,) = service.workers()
        worker.rlimit(psutil.RLIMIT_FSIZE, (3, -1))
        for _ in range(3):
            assert service.post([FRAUD_ROW] * 2).status_code == 200
        worker.rlimit(psutil.RLIMIT_FSIZE, (-1, -1))
        wait_until(lambda: service.get("/healthz/ready").status_code == 200, "there is room again")
        wait_until(lambda: service.admin("/status").json()["missed"] == 6, "the steward counts what was not recorded")
        assert service.recorded_ids() == []


def test_an_answer_whose_client_is_gone_before_all_of_it_left_is_marked(sealed: SealedModel, tmp_path: Path) -> None:
    body = json.dumps([FRAUD_ROW] * 5000).encode()
    request = b"POST /predict HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)

    def tally(service: Service) -> tuple[int, int]:
        (found,) = service.admin("/status").json()["decisions"] or [{"requests": 0, "unsent": 0}]
        return found["requests"], found["unsent"]

    with serving(sealed, folder=tmp_path) as service:
        with socket.socket() as leaving:  # reads nothing: at some answer the buffers of both sockets are full
            leaving.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            leaving.connect(("127.0.0.1", service.port))
            leaving.settimeout(2)
            with suppress(TimeoutError):
                leaving.sendall(request * 40)
            leaving.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        wait_until(lambda: tally(service)[1], "what never left is marked")
        decided, unsent = tally(service)
        assert 1 <= unsent < decided
        with socket.create_connection(("127.0.0.1", service.port)) as slow:  # this one reads, late
            slow.sendall(request)
            time.sleep(0.5)
            received = b""
            while received.count(b'"prediction_id"') < 5000:
                received += slow.recv(1 << 20)
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        wait_until(lambda: tally(service)[0] == decided + 1, "it is counted")
        time.sleep(0.5)
        assert tally(service)[1] == unsent


def _ids(response: httpx.Response) -> list[str]:
    assert response.status_code == 200, response.text
    return [prediction["prediction_id"] for prediction in response.json()["predictions"]]


@pytest.mark.parametrize("damage", ("flipped byte", "missing file"))
def test_a_bundle_damaged_in_the_state_folder_is_replaced_by_what_was_verified(
    sealed: SealedModel, tmp_path: Path, damage: str
) -> None:
    with serving(sealed, folder=tmp_path) as service:
        installed = service.state_dir / "bundles" / sealed.manifest.digest
        assert service.stop() == 0
    file = installed / "model.ubj"
    assert file.exists()
    if damage == "flipped byte":
        raw = bytearray(file.read_bytes())
        raw[len(raw) // 2] ^= 1
        file.write_bytes(raw)
    else:
        file.unlink()
    with serving(sealed, folder=tmp_path) as again:
        assert again.post(FRAUD_ROW).status_code == 200


def test_a_signed_bundle_that_does_not_repeat_its_golden_margins_ends_the_start_with_one_clear_line(
    tmp_path: Path,
) -> None:
    bundle = sealed_bundle(tmp_path)
    edit(bundle, "golden.json", lambda golden: golden["margins"].reverse())
    service = start_serving(SealedModel(bundle, *keys(tmp_path)), folder=tmp_path)
    assert service.exit_code() == 1
    assert service.said == ""
    assert "does not repeat the bundle's golden margins" in service.log
    assert "Traceback" not in service.log


def test_a_spool_that_cannot_be_written_ends_the_start_with_one_clear_line(sealed: SealedModel, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "spool").write_text("a file where a folder belongs")
    service = start_serving(sealed, folder=tmp_path)
    assert service.exit_code() == 1
    assert service.said == ""
    assert "spool" in service.log and "a worker ended before it could answer" in service.log
    assert "Traceback" not in service.log


def test_a_second_service_in_the_same_folder_is_refused_and_changes_nothing(
    sealed: SealedModel, churn: SealedModel, tmp_path: Path
) -> None:
    with serving(sealed, folder=tmp_path, SCORELINE_ACCESS__ADMIN_KEY="a-key-of-24-characters-x") as service:
        other = ("--trust", churn.public_key, "--state-dir", service.state_dir, "--port", "0", "--admin-port", "0")
        refused = run_scoreline("serve", churn.folder, *other, cwd=tmp_path)
        assert refused.returncode == 1
        assert "another service runs in" in refused.stderr
        assert service.post(FRAUD_ROW).status_code == 401
        assert service.post(FRAUD_ROW, x_api_key="a-key-of-24-characters-x").status_code == 200


def test_a_segment_deleted_under_a_worker_is_followed_by_a_new_one(sealed: SealedModel, tmp_path: Path) -> None:
    with serving(sealed, folder=tmp_path) as service:
        service.post(FRAUD_ROW)
        (segment,) = (service.state_dir / "spool").iterdir()
        segment.unlink()
        wait_until(
            lambda: service.post(FRAUD_ROW).status_code == 200 and service.recorded_ids(), "a new segment begins"
        )
        answer = service.post(FRAUD_ROW).json()
        assert answer["prediction_id"] in service.recorded_ids()
