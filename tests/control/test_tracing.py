"""Traces of a live service, as a collector that speaks OTLP gets them."""

import gzip
import socket
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import UUID

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from scoreline.core.batch import Context
from scoreline.operations.spans import traced
from service import FRAUD_ROW, SealedModel, serving, wait_until
from somedecisions import author_of, decisions_of

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
NOW_NS = 1_795_000_000_000_000_000


@contextmanager
def collector() -> Iterator[tuple[str, list[Any]]]:
    """A receiver of OTLP over HTTP: its URL, and the spans it got."""
    spans: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["content-length"]))
            for of in ExportTraceServiceRequest.FromString(_unpacked(raw, self.headers)).resource_spans:
                spans.extend(span for scope in of.scope_spans for span in scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1/traces", spans
    finally:
        server.shutdown()
        server.server_close()


def _unpacked(raw: bytes, headers: Any) -> bytes:
    return gzip.decompress(raw) if headers.get("content-encoding") == "gzip" else raw


def test_whose_caller_traces_is_a_span_of_its_trace_with_its_parts(sealed: SealedModel, tmp_path: Path) -> None:
    with (
        collector() as (url, spans),
        serving(sealed, folder=tmp_path, workers=2, SCORELINE_TRACE__OTLP=url) as service,
    ):
        asked = service.post([FRAUD_ROW] * 3, traceparent=f"00-{TRACE}-{PARENT}-01", x_request_id="r-1").json()
        service.post(FRAUD_ROW, traceparent=f"00-{TRACE[::-1]}-{PARENT}-00")
        service.post(FRAUD_ROW)
        wait_until(lambda: len(spans) >= 5, "the collector has the trace")
        assert service.stop() == 0
    assert {span.trace_id.hex() for span in spans} == {TRACE}, "the others ask for none"
    (whole,) = [span for span in spans if span.name == "predict"]
    parts = {span.name: span for span in spans if span is not whole}
    assert parts.keys() == {"wait", "auth", "model", "record"}
    assert whole.parent_span_id.hex() == PARENT
    assert all(part.parent_span_id == whole.span_id for part in parts.values())
    attributes = {found.key: found.value for found in whole.attributes}
    assert attributes["scoreline.prediction_id"].string_value == asked["predictions"][0]["prediction_id"]
    assert attributes["scoreline.request_id"].string_value == "r-1"
    assert (attributes["scoreline.model"].string_value, attributes["scoreline.rows"].int_value) == ("fraud", 3)
    for name, part in parts.items():
        assert part.start_time_unix_nano <= part.end_time_unix_nano
        assert name == "record" or part.end_time_unix_nano <= whole.end_time_unix_nano
    assert parts["record"].start_time_unix_nano == whole.end_time_unix_nano


def test_a_share_of_those_whose_caller_does_not_say_and_no_more_than_the_limit(
    sealed: SealedModel, tmp_path: Path
) -> None:
    own = {"SCORELINE_TRACE__SHARE": "1", "SCORELINE_TRACE__MOST_PER_S": "1"}
    with (
        collector() as (url, spans),
        serving(sealed, folder=tmp_path, SCORELINE_TRACE__OTLP=url, **own) as service,
    ):
        for _ in range(50):
            service.post(FRAUD_ROW)
        assert service.stop() == 0
    n_traced = sum(span.name == "predict" for span in spans)
    assert 1 <= n_traced < 50
    assert len({span.trace_id for span in spans}) == n_traced, "each is a trace of its own"


def test_a_collector_that_is_not_there_costs_no_answer(sealed: SealedModel, tmp_path: Path) -> None:
    with serving(sealed, folder=tmp_path, SCORELINE_TRACE__OTLP="http://127.0.0.1:9/v1/traces") as service:
        assert {service.post(FRAUD_ROW, traceparent=f"00-{TRACE}-{PARENT}-01").status_code for _ in range(20)} == {200}
        assert service.stop() == 0
        assert len(service.recorded_ids()) == 20


def test_the_parts_of_a_request_lie_within_it_and_in_their_order() -> None:
    context = Context(NOW_NS, "r", "shop", TRACE, parent=f"{PARENT}-01")
    times = {"wait_ns": 5, "auth_ns": 7, "features_ns": 11, "model_ns": 13, "total_ns": 50, "written_ns": NOW_NS + 60}
    found = traced(decisions_of(author_of(), 1, context=context, **times))
    assert found is not None
    assert [(part.name, part.start_ns - NOW_NS, part.end_ns - NOW_NS) for part in (found.whole, *found.parts)] == [
        ("predict", -12, 38),
        ("wait", -12, -7),
        ("auth", -7, 0),
        ("features", 0, 11),
        ("model", 11, 24),
        ("record", 38, 60),
    ]
    assert (found.trace, found.parent, found.wanted) == (TRACE, PARENT, True)
    assert "amount" not in str(found.attributes)
    assert traced(decisions_of(author_of(), 1)) is None, "no door has timed it"


def test_a_collector_that_hangs_holds_nobody_at_the_end(sealed: SealedModel, tmp_path: Path) -> None:
    """What was answered is shipped before the service ends."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1/traces"
        with serving(sealed, folder=tmp_path, SCORELINE_TRACE__OTLP=url, SCORELINE_TRACE__SHARE="1") as service:
            asked = {service.post(FRAUD_ROW).json()["prediction_id"] for _ in range(20)}
            assert service.stop() == 0
            assert "did not end in time" not in service.log
    assert shipped(service.state_dir) == asked


def shipped(state_dir: Path) -> set[str]:
    with closing(sqlite3.connect(state_dir / "scoreline.db")) as connection:
        return {str(UUID(bytes=bytes(raw))) for (raw,) in connection.execute("select id from decisions")}
