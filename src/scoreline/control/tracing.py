"""Traces of requests, sent by OTLP: the steward makes them from the record that it reads anyway.

Whose caller says so is traced, and a share of the others; never more than so many in a second, and what the receiver
does not take is dropped. A steward that dies sends the last seconds once more.
"""

import random
import threading
import time
from collections.abc import Callable

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags, Tracer

import scoreline
from scoreline.core.decision import Decisions
from scoreline.operations.spans import Traced, traced


class Tracing:
    """Takes decisions as they are read; `share` of those whose caller does not say are traced."""

    def __init__(self, url: str, share: float, most_per_s: int, now_s: Callable[[], float] = time.monotonic) -> None:
        resource = Resource.create({"service.name": "scoreline", "service.version": scoreline.__version__})
        self._provider = TracerProvider(sampler=ALWAYS_ON, resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=url)))
        self._tracer: Tracer = self._provider.get_tracer("scoreline", scoreline.__version__)
        self._share = share
        self._most_per_s = most_per_s
        self._now_s = now_s
        self._second, self._sent = 0, 0

    def take(self, item: object) -> None:
        """Traces a request, if it is to be."""
        found = traced(item) if isinstance(item, Decisions) and self._may_be(item) else None
        if found is not None and self._is_wanted(found) and self._has_room():
            self._send(found)

    def finish(self, patience_s: float) -> None:
        """Sends what waits, as far as there is time; a receiver that hangs holds nobody."""
        last = threading.Thread(target=self._provider.shutdown, name="traces", daemon=True)
        last.start()
        last.join(patience_s)

    def _may_be(self, decisions: Decisions) -> bool:
        """Without looking closer: most have no caller that traces, and no share is asked for."""
        return bool(self._share or decisions.context.parent)

    def _is_wanted(self, found: Traced) -> bool:
        return random.random() < self._share if found.wanted is None else found.wanted

    def _has_room(self) -> bool:
        second = int(self._now_s())
        if second != self._second:
            self._second, self._sent = second, 0
        self._sent += 1
        return self._sent <= self._most_per_s

    def _send(self, found: Traced) -> None:
        whole = self._tracer.start_span(
            found.whole.name,
            _parent(found),
            kind=SpanKind.SERVER,
            attributes=found.attributes,
            start_time=found.whole.start_ns,
        )
        inside = trace.set_span_in_context(whole)
        for part in found.parts:
            self._tracer.start_span(part.name, inside, start_time=part.start_ns).end(part.end_ns)
        whole.end(found.whole.end_ns)


def _parent(found: Traced) -> Context:
    if not found.parent:
        return Context()
    given = SpanContext(int(found.trace, 16), int(found.parent, 16), is_remote=True, trace_flags=TraceFlags(1))
    return trace.set_span_in_context(NonRecordingSpan(given), Context())
