"""The way of one prediction request, the same in every dialect: decode, score, encode."""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from scoreline.core import ids
from scoreline.core.batch import Batch, Context
from scoreline.core.decision import Decisions
from scoreline.core.errors import TooLate
from scoreline.core.ports import Score
from scoreline.core.strictjson import Body
from scoreline.doors.http.deadlines import LATE, Deadlines
from scoreline.doors.http.dialect import Dialect
from scoreline.doors.http.quoting import HEADER, Quoting
from scoreline.features.ladder import Lookup
from scoreline.web.asgi import Answer, given_id

TIMING: Final = b"server-timing"
_TRACEPARENT: Final = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-((?!0{16})[0-9a-f]{16}-[0-9a-f]{2})")


# When a request was here and when it was taken up, by `time.perf_counter_ns`, and the client of its scope.
Taken = tuple[int, int, Any]


@dataclass(slots=True)
class Asked:
    """A request that is read: its rows, and what its dialect needs to answer. `start_ns` is when reading began.

    `features_ns`: how long its features took, where some were looked up.
    """

    batch: Batch
    asked: Any
    start_ns: int
    taken: Taken
    features_ns: int = 0


class Endpoint:
    """The model of a name behind the prediction routes of one dialect. `quoting` reads and makes its quotes.

    With a `lookup` what is read waits for its features before it is scored, and `predict` is not for it.
    """

    def __init__(
        self,
        model: str,
        dialect: Dialect,
        score: Score,
        deadlines: Deadlines,
        quoting: Quoting | None = None,
        lookup: Lookup | None = None,
    ) -> None:
        self.model = model
        self.dialect = dialect
        self.deadlines = deadlines
        self.lookup = lookup
        self._score = score
        self._quoting = quoting

    def predict(
        self, headers: Mapping[bytes, bytes], body: Body, caller: str, taken: Taken
    ) -> tuple[Answer, Decisions]:
        """Decode, score (and record), encode; raises InputError, TooLate, EngineFailed or RecordRefused."""
        return self.answer(headers, self.read(headers, body, caller, taken))

    def until_ns(self, headers: Mapping[bytes, bytes], taken: Taken) -> int:
        """By when the answer must leave; raises Malformed."""
        arrived_ns, _, client = taken
        return self.deadlines.until_ns(headers, arrived_ns, client)

    def read(self, headers: Mapping[bytes, bytes], body: Body, caller: str, taken: Taken) -> Asked:
        """The rows of a request; raises InputError, or TooLate where they cannot be answered in time."""
        start_ns = time.perf_counter_ns()
        until_ns = self.until_ns(headers, taken)
        if start_ns > until_ns:
            raise TooLate(LATE)
        trace, parent = _traced(headers)
        context = Context(time.time_ns(), given_id(headers), caller, trace, "", until_ns, parent)
        batch, asked = self.dialect.read(headers, body, context)
        self.deadlines.check(len(batch.values), until_ns)
        return Asked(batch, asked, start_ns, taken)

    async def ask(self, headers: Mapping[bytes, bytes], body: Body, caller: str, taken: Taken) -> Asked:
        """The rows of a request with their features; raises InputError, TooLate, FeaturesMissing."""
        found = self.read(headers, body, caller, taken)
        if self.lookup is not None:
            start_ns = time.perf_counter_ns()
            found.batch = await self.lookup.in_time(found.batch)
            now_ns = time.perf_counter_ns()
            found.features_ns = now_ns - start_ns
            if now_ns > found.batch.context.deadline_ns:
                raise TooLate(LATE)
        return found

    def answer(self, headers: Mapping[bytes, bytes], found: Asked) -> tuple[Answer, Decisions]:
        """Score (and record), encode; raises InputError, EngineFailed or RecordRefused."""
        batch, context = found.batch, found.batch.context
        quoting = self._quoting if HEADER in headers else None
        if quoting:
            batch = replace(batch, context=replace(context, pin=quoting.pin(headers, batch)))
        decisions = self._score(batch)
        sent, answer = self.dialect.write(decisions, found.asked)
        answer_id = context.request_id or ids.text(decisions.base)
        arrived_ns, taken_ns, _ = found.taken
        now_ns = time.perf_counter_ns()
        self.deadlines.expected.took(len(batch.values), now_ns - found.start_ns, now_ns)
        decisions.wait_ns, decisions.auth_ns = taken_ns - arrived_ns, found.start_ns - taken_ns
        decisions.features_ns, decisions.total_ns = found.features_ns, now_ns - arrived_ns
        sent += [
            (b"content-length", b"%d" % len(answer)),
            (b"x-request-id", answer_id.encode()),
            (TIMING, _timing(decisions)),
        ]
        if quoting:
            sent.append((HEADER, quoting.made(headers, decisions)))
        if context.trace:
            sent.append((b"traceparent", headers[b"traceparent"]))
        return (200, sent, answer), decisions


def at_last(answer: Answer, decisions: Decisions, taken: Taken) -> Answer:
    """The answer with the time it has taken by now, where more than its score was waited for."""
    status, sent, body = answer
    decisions.total_ns = time.perf_counter_ns() - taken[0]
    return status, [(name, _timing(decisions) if name == TIMING else value) for name, value in sent], body


def _timing(decisions: Decisions) -> bytes:
    """Milliseconds by part, as Server-Timing has them; of features where any were looked up."""
    features = b"features;dur=%.3f, " % (decisions.features_ns / 1e6) if decisions.features_ns else b""
    return b"wait;dur=%.3f, auth;dur=%.3f, %smodel;dur=%.3f, total;dur=%.3f" % (
        decisions.wait_ns / 1e6,
        decisions.auth_ns / 1e6,
        features,
        decisions.model_ns / 1e6,
        decisions.total_ns / 1e6,
    )


def _traced(headers: Mapping[bytes, bytes]) -> tuple[str, str]:
    """The trace that a request is part of, and the span in it with its flags; empty where it says none."""
    given = headers.get(b"traceparent")
    match = _TRACEPARENT.fullmatch(given) if given else None
    return (match[1].decode(), match[2].decode()) if match else ("", "")
