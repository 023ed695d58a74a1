"""The way of one prediction request, the same in every dialect: decode, score, encode."""

import re
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from scoreline.core import ids
from scoreline.core.batch import Context
from scoreline.core.decision import Decisions
from scoreline.core.ports import Score
from scoreline.core.strictjson import Body
from scoreline.doors.http.dialect import Dialect
from scoreline.doors.http.quoting import HEADER, Quoting
from scoreline.web.asgi import Answer, given_id

_TRACEPARENT: Final = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


class Endpoint:
    """The model of a name behind the prediction routes of one dialect. `quoting` reads and makes its quotes."""

    def __init__(self, model: str, dialect: Dialect, score: Score, quoting: Quoting | None = None) -> None:
        self.dialect = dialect
        self.model = model
        self._score = score
        self._quoting = quoting

    def predict(self, headers: Mapping[bytes, bytes], body: Body, caller: str) -> tuple[Answer, Decisions]:
        """Decode, score (and record), encode; raises InputError, EngineFailed or RecordRefused."""
        start_ns = time.perf_counter_ns()
        request_id = given_id(headers)
        context = Context(time.time_ns(), request_id, caller, _trace(headers))
        batch, asked = self.dialect.read(headers, body, context)
        quoting = self._quoting if HEADER in headers else None
        if quoting:
            batch = replace(batch, context=replace(context, pin=quoting.pin(headers, batch)))
        decisions = self._score(batch)
        sent, answer = self.dialect.write(decisions, asked)
        answer_id = request_id or ids.text(decisions.base)
        total_ns = time.perf_counter_ns() - start_ns
        sent += [
            (b"content-length", b"%d" % len(answer)),
            (b"x-request-id", answer_id.encode()),
            (b"server-timing", b"model;dur=%.3f, total;dur=%.3f" % (decisions.model_ns / 1e6, total_ns / 1e6)),
        ]
        if quoting:
            sent.append((HEADER, quoting.made(headers, decisions)))
        if context.trace:
            sent.append((b"traceparent", headers[b"traceparent"]))
        return (200, sent, answer), decisions


def _trace(headers: Mapping[bytes, bytes]) -> str:
    given = headers.get(b"traceparent")
    match = _TRACEPARENT.fullmatch(given) if given else None
    return match[1].decode() if match else ""
