"""Feast's HTTP feature server as its protocol is written down, for want of Feast: `POST /get-online-features`.

Transcribed from its documentation and its `GetOnlineFeaturesResponse`: a column per feature with values, statuses and
event timestamps, the join key first. What is not there is null with NOT_FOUND; what is too old is OUTSIDE_MAX_AGE.
"""

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from scoreline.core.ports import FeatureRow

NEVER = "1970-01-01T00:00:00Z"


@dataclass
class Feast:
    """What a server answers: rows by view and entity; `status` other than 200 is all it says then."""

    key: str
    port: int = 0
    status: int = 200
    ttl_ns: float = float("inf")
    now_ns: int = 1_700_000_002 * 10**9
    rows: dict[tuple[str, str], FeatureRow] = field(default_factory=dict)
    asked: list[dict[str, Any]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def put(self, view: str, rows: Sequence[FeatureRow]) -> None:
        """What materializing does: the latest row stays."""
        for row in rows:
            there = self.rows.get((view, row.entity))
            if there is None or there.time_ns <= row.time_ns:
                self.rows[view, row.entity] = row

    def answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(asked)
        assert asked["full_feature_names"] is True
        people = asked["entities"][self.key]
        results = [{"values": people, "statuses": ["PRESENT"] * len(people), "event_timestamps": [NEVER] * len(people)}]
        names = [self.key]
        for feature in asked["features"]:
            view, name = feature.split(":")
            names.append(f"{view}__{name}")
            cells = [self._cell(self.rows.get((view, str(who))), name) for who in people]
            values, statuses, times = zip(*cells, strict=True)
            results.append({"values": values, "statuses": statuses, "event_timestamps": times})
        return {"metadata": {"feature_names": names}, "results": results}

    def _cell(self, row: FeatureRow | None, name: str) -> tuple[Any, str, str]:
        if row is None or name not in row.values:
            return None, "NOT_FOUND", NEVER
        seconds, ns = divmod(row.time_ns, 10**9)
        time = f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{ns:09}Z"
        if self.now_ns - row.time_ns > self.ttl_ns:
            return row.values[name], "OUTSIDE_MAX_AGE", time
        value = row.values[name]
        return value, "NULL_VALUE" if value is None else "PRESENT", time


@contextmanager
def feast_server(key: str) -> Iterator[Feast]:
    feast = Feast(key)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            assert self.path == "/get-online-features"
            raw = json.dumps(feast.answer(asked) if feast.status == 200 else {"detail": "no"}).encode()
            self.send_response(feast.status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    feast.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield feast
    finally:
        server.shutdown()
        server.server_close()
