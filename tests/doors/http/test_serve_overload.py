"""`scoreline serve` asked for more than it can do in time: what it admits it answers in time, the rest it tells so."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO

import httpx
from burst import Answered, answers, burst, connected, next_answer, request
from canary import Rollout, misbehaving, rolling

import canaries
from scoreline.operations.state import read_state
from service import FRAUD_ROW, SealedModel, wait_until

SLOW_ROW = {**FRAUD_ROW, "amount": canaries.SLOW}  # takes 0.2 s
# 2 s for a request that takes 0.2 s.
PATIENT = {
    "SCORELINE_LATENCY__TOTAL_MS": "2000",
    "SCORELINE_LATENCY__NETWORK_MS": "0",
    "SCORELINE_LATENCY__MODEL_MS": "1500",
    "SCORELINE_ROLLOUT__HANG_MS": "5000",
}


@contextmanager
def slow(sealed: SealedModel, folder: Path, **environment: str) -> Iterator[Rollout]:
    """A service of one worker whose champion is as slow as a row asks for."""
    with rolling(sealed, folder=folder, workers=1, **environment) as rollout:
        before = read_state(rollout.service.state_dir).models["fraud"]
        rollout.assign(replace(before, digest=rollout.install(misbehaving(sealed)), epoch=7))
        rollout.wait_until_all_have(7, 1)
        yield rollout


def by_status(found: list[Answered], status: int) -> list[Answered]:
    return [answer for answer in found if answer.status == status]


def assert_late(answer: Answered) -> None:
    assert answer.headers["retry-after"] == "1"
    assert (answer.body["type"], answer.body["status"]) == ("/errors/deadline", 503)
    assert answer.headers["x-request-id"]


def clocked(port: int, requests: list[bytes]) -> tuple[list[Answered], dict[int, float]]:
    """All of them at once: the answers in the order they came, and how many seconds each took for its client."""
    with connected(port, len(requests)) as sockets:
        sent_s = []
        for client, sent in zip(sockets, requests, strict=True):
            sent_s.append(time.monotonic())
            client.sendall(sent)
        found, took_s = [], {}
        for answer in answers(sockets):
            found.append(answer)
            took_s[answer.number] = time.monotonic() - sent_s[answer.number]
    return found, took_s


def test_beyond_capacity_what_is_admitted_is_in_time_and_recorded_and_the_rest_is_told_so_at_once(
    sealed: SealedModel, tmp_path: Path
) -> None:
    """40 requests would take 8 s, and each has 2: by the clock of its client, with as much again for a busy machine."""
    with slow(sealed, tmp_path, **PATIENT) as rollout:
        before = set(rollout.service.recorded_ids())
        first, first_s = clocked(rollout.service.port, [request(row=SLOW_ROW)] * 40)
        again, again_s = clocked(rollout.service.port, [request(row=SLOW_ROW)] * 40)
        after = burst(rollout.service.port, [request(row=FRAUD_ROW)])
    for found, took_s in ((first, first_s), (again, again_s)):
        answered, refused = by_status(found, 200), by_status(found, 503)
        assert len(answered) + len(refused) == 40
        assert 1 <= len(answered) <= 4.0 / 0.2, "no more of them can be in that time"
        for answer in refused:
            assert_late(answer)
        assert max(took_s.values()) <= 4.0
        for answer in answered:
            total_ms = float(answer.headers["server-timing"].split("total;dur=")[1])
            assert total_ms / 1e3 <= took_s[answer.number], "the service does not make itself faster than it is"
    assert again[-1].status == 200, (
        "now that it is known what each takes, who is refused is told before others are done"
    )
    assert by_status(after, 200), "the overload is over"
    told = {answer.body["prediction_id"] for found in (first, again, after) for answer in by_status(found, 200)}
    assert set(rollout.service.recorded_ids()) - before == told, "what was refused was not decided"


def test_who_was_refused_and_asks_again_at_once_waits_behind_those_who_were_not(
    sealed: SealedModel, tmp_path: Path
) -> None:
    with slow(sealed, tmp_path, **PATIENT) as rollout:
        port = rollout.service.port
        burst(port, [request(row=SLOW_ROW)] * 5)  # by which it is known what each takes
        with connected(port, 60) as (*clients, fresh):
            for found in clients:
                found.sendall(request(row=SLOW_ROW))
            first = next(answer for answer in answers(clients) if answer.status == 503)
            again = clients[first.number]
            again.sendall(request(row=SLOW_ROW))
            fresh.sendall(request(row=SLOW_ROW, x_deadline_ms="1"))  # which is told at once that it is late
            told = list(answers([again, fresh]))
    assert [answer.number for answer in told] == [1, 0], "what it sent while it rested is read after that"
    assert_late(told[0])
    assert told[1].status in (200, 503)


def test_a_request_stands_in_line_however_its_body_comes(sealed: SealedModel, tmp_path: Path) -> None:
    """Its last piece comes when the others wait already."""
    body = json.dumps(FRAUD_ROW).encode()
    head = b"POST /predict HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    with slow(sealed, tmp_path, **PATIENT) as rollout, connected(rollout.service.port, 9) as (*clients, pieces):
        pieces.sendall(head + b"transfer-encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(body), body))
        for found in clients:
            found.sendall(request(row=SLOW_ROW))
        told = answers([*clients, pieces])
        first = next(told).number
        pieces.sendall(b"0\r\n\r\n")
        order = [first, *[answer.number for answer in told]]
    assert order[-1] == 8, "who came before it is answered before it"


def test_health_and_pages_are_answered_while_predictions_wait(sealed: SealedModel, tmp_path: Path) -> None:
    with slow(sealed, tmp_path, **PATIENT) as rollout:
        port = rollout.service.port
        with connected(port, 9) as waiting:
            for found in waiting:
                found.sendall(request(row=SLOW_ROW))
            health = burst(port, [request("/healthz/live"), request("/healthz/ready")])
            waited = list(answers(waiting))
        first = [answer.number for answer in waited]
    assert [answer.status for answer in health] == [200, 200]
    assert by_status(waited, 200)
    assert len(first) == 9


def test_a_model_that_was_slow_for_a_while_is_not_locked_out(sealed: SealedModel, tmp_path: Path) -> None:
    """0.2 s are more than the 0.15 a request has: whoever asks is refused, but for some who try."""
    with slow(sealed, tmp_path, SCORELINE_LATENCY__TOTAL_MS="200") as rollout:
        port, statuses = rollout.service.port, list[int]()
        for _ in range(30):
            (answer,) = burst(port, [request(row=SLOW_ROW)])
            statuses.append(answer.status)
        assert 503 in statuses
        with httpx.Client(base_url=rollout.service.url) as client:

            def answers_again() -> bool:
                return [client.post("/predict", json=FRAUD_ROW).status_code for _ in range(20)] == [200] * 20

            wait_until(answers_again, "a fast row is answered as before", 60)


def test_a_caller_says_how_much_time_is_left(sealed: SealedModel, tmp_path: Path) -> None:
    with rolling(sealed, folder=tmp_path, workers=1) as rollout:
        before = len(rollout.service.recorded())
        asked = [request(row=FRAUD_ROW, x_deadline_ms=left) for left in ("0", "60000", "soon", "86400000")]
        late, answered, malformed, long = sorted(burst(rollout.service.port, asked), key=lambda found: found.number)
        v1 = burst(rollout.service.port, [request("/v1/models/fraud:predict", {"instances": []}, x_deadline_ms="0")])
        sent = request(row=FRAUD_ROW, x_deadline_ms="0").replace(b"\r\n\r\n", b"\r\nX-Deadline-Ms: 60000\r\n\r\n", 1)
        (twice,) = burst(rollout.service.port, [sent])
    assert_late(late)
    assert (twice.status, twice.body["type"]) == (400, "/errors/malformed"), "nobody knows which of them counts"
    assert (answered.status, malformed.status, long.status) == (200, 400, 200)
    assert "X-Deadline-Ms" in malformed.body["detail"]
    assert (v1[0].status, list(v1[0].body)) == (503, ["error"]), "in the words of its protocol"
    assert len(rollout.service.recorded()) == before + 2


def test_under_an_overload_that_lasts_memory_is_bounded_and_nothing_answered_is_lost(
    sealed: SealedModel, tmp_path: Path
) -> None:
    """Each of 50 clients sends a hundred requests without waiting for an answer: 1,000 s of work."""
    with slow(sealed, tmp_path, **PATIENT) as rollout:
        (worker,) = rollout.service.workers()
        before, ids = worker.memory_info().rss, set(rollout.service.recorded_ids())
        told: list[str] = []
        most = before
        with connected(rollout.service.port, 50) as clients:
            senders = [
                threading.Thread(target=lambda found=found: found.sendall(request(row=SLOW_ROW) * 100))
                for found in clients
            ]
            for sender in senders:
                sender.start()
            for found in clients:
                with found.makefile("rb") as file:
                    for _ in range(100):
                        told += _id_of(file)
                        most = max(most, worker.memory_info().rss)
            for sender in senders:
                sender.join(60)
        assert most - before < 64 << 20
        assert 5 <= len(told) < 50 * 100 / 4, "it went on answering, and could not answer most of them"
        assert set(rollout.service.recorded_ids()) - ids == set(told)


def _id_of(file: IO[bytes]) -> list[str]:
    """The prediction id of the next answer, none where it is a refusal."""
    answer = next_answer(file)
    assert answer is not None and answer.status in (200, 503)
    return [answer.body["prediction_id"]] if answer.status == 200 else []
