"""Features in a running service: the same in every dialect, and recorded as they were used."""

import json
import socket
from functools import partial
from pathlib import Path

import pytest

from scoreline.features.sqlite import SqliteStore
from service import SealedModel, Service, serving, wait_until
from stored import DEFAULTS, rows_of, seal_stored

from .serving import ROW, N, expected, features_of, sound, with_sqlite


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> SealedModel:
    return seal_stored(tmp_path_factory.mktemp("risk"))


def test_every_dialect_answers_with_the_features_of_whom_it_is_about(stored: SealedModel, tmp_path: Path) -> None:
    people = [3, 17, 55]
    wanted = expected(stored, *({**ROW, **features_of(at)} for at in people), {**ROW, **DEFAULTS})
    told = [{**ROW, "customer": f"c{at}"} for at in people] + [{**ROW, "customer": "nobody"}]
    names = [row["customer"] for row in told]
    with with_sqlite(stored, tmp_path) as service:
        (one, *_) = [service.post(row).json() for row in told]
        assert one["risk"] == wanted[0]
        assert one["defaulted"] == []
        assert "degraded" not in one
        own = service.post(told).json()["predictions"]
        assert [row["risk"] for row in own] == wanted
        assert [row["defaulted"] for row in own] == [[], [], [], ["visits", "ratio"]]
        kserve = service.post({"instances": told}, "/v1/models/risk:predict").json()
        assert kserve["predictions"] == wanted
        mlflow = service.post({"dataframe_records": told}, "/invocations").json()
        assert mlflow["predictions"] == wanted
        tensors = [
            {"name": "amount", "datatype": "FP64", "shape": [4], "data": [ROW["amount"]] * 4},
            {"name": "customer", "datatype": "BYTES", "shape": [4], "data": names},
        ]
        for path in ("/v2/models/risk/infer", "/v2/models/risk/versions/1/infer"):
            answer = service.post({"inputs": tensors}, path).json()
            assert answer["outputs"][0]["data"] == wanted
        timing = service.post(told[0]).headers["server-timing"]
        assert "features;dur=" in timing
        recorded = [decision for decisions in service.recorded() for decision in decisions]
    assert len(recorded) == 4 + 5 * 4 + 1
    used = [dict(decision.features) for decision in recorded[:4]]
    assert used == [{**ROW, **features_of(at)} for at in people] + [{**ROW, **DEFAULTS}]
    assert [decision.defaulted for decision in recorded[:4]] == [(), (), (), ("visits", "ratio")]


def test_a_caller_may_not_send_what_comes_from_the_store(stored: SealedModel, tmp_path: Path) -> None:
    with with_sqlite(stored, tmp_path) as service:
        answer = service.post({**ROW, "customer": "c1", "visits": 3})
    assert answer.status_code == 422
    assert answer.json()["errors"] == [
        {"row": 0, "field": "visits", "problem": "comes from the feature store: leave it out"}
    ]


def test_without_anything_loaded_it_answers_from_defaults_and_heals_when_it_is(
    stored: SealedModel, tmp_path: Path
) -> None:
    with serving(stored, folder=tmp_path) as service:
        answer = service.post({**ROW, "customer": "c7"}).json()
        assert answer["degraded"] == answer["defaulted"] == ["visits", "ratio"]
        assert answer["risk"] == expected(stored, {**ROW, **DEFAULTS})[0]
        store = SqliteStore(service.state_dir / "features.db")
        for view, rows in rows_of(N).items():
            store.put(view, rows)
        healed = wait_until(sound(service), "the store is asked again")
        assert healed["risk"] == expected(stored, {**ROW, **features_of(7)})[0]
        wait_until(partial(are_told_apart, service), "the answers with defaults are counted apart")


def are_told_apart(service: Service) -> bool:
    return any(0 < tally["degraded"] < tally["decisions"] for tally in service.admin("/status").json()["decisions"])


def test_requests_one_behind_the_other_are_answered_in_their_order(stored: SealedModel, tmp_path: Path) -> None:
    """Pipelined on one connection, those with many rows among them."""
    with with_sqlite(stored, tmp_path) as service:
        bodies = [[{**ROW, "customer": f"c{at}"} for at in range(1 if turn % 2 else 40)] for turn in range(20)]
        raw = b"".join(request(json.dumps(body).encode(), f"turn-{turn}") for turn, body in enumerate(bodies))
        with socket.create_connection(("127.0.0.1", service.port), timeout=20) as connection:
            connection.sendall(raw)
            received = b""
            while received.count(b"x-request-id: turn-") < len(bodies):
                received += connection.recv(1 << 16)
        ids = [part.split(b"\r\n")[0] for part in received.split(b"x-request-id: ")[1:]]
    assert ids == [b"turn-%d" % turn for turn in range(len(bodies))]


def request(body: bytes, name: str) -> bytes:
    head = f"POST /predict HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\nx-request-id: {name}\r\n"
    return head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body
