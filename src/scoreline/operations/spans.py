"""A request as the spans of a trace, made from its record: nothing is traced on the way of a request.

What a door took for reading and writing is not known apart: `features` and `model` stand where they began at the
earliest. `record` is from the answer to the write that all of one turn share.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from scoreline.core import ids
from scoreline.core.decision import Decisions

_SAMPLED: Final = 0x01  # of the flags of W3C trace context


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a request; times in nanoseconds since 1970."""

    name: str
    start_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True)
class Traced:
    """A request: its own span and those of its parts; `trace` and `parent` of who asks, in hex, empty: nobody's.

    `wanted` is what the caller says of its trace; None where it says nothing.
    """

    trace: str
    parent: str
    wanted: bool | None
    whole: Span
    parts: tuple[Span, ...]
    attributes: Mapping[str, str | int]


def traced(decisions: Decisions) -> Traced | None:
    """The spans of a request; None of one that no door has timed."""
    context = decisions.context
    if not decisions.total_ns:
        return None
    parent, _, flags = context.parent.partition("-")
    begin_ns = context.time_ns - decisions.wait_ns - decisions.auth_ns
    whole = Span("predict", begin_ns, begin_ns + decisions.total_ns)
    author = decisions.author
    attributes: dict[str, str | int] = {
        "scoreline.model": author.model,
        "scoreline.version": author.version,
        "scoreline.role": author.role,
        "scoreline.prediction_id": ids.text(decisions.base),
        "scoreline.rows": len(decisions),
        "scoreline.degraded": len(decisions.degraded),
    }
    if context.request_id:
        attributes["scoreline.request_id"] = context.request_id
    wanted = bool(int(flags, 16) & _SAMPLED) if flags else None
    return Traced(context.trace, parent, wanted, whole, tuple(_parts(decisions, whole)), attributes)


def _parts(decisions: Decisions, whole: Span) -> Iterator[Span]:
    taken_ns = whole.start_ns + decisions.wait_ns
    read_ns = decisions.context.time_ns
    looked_up_ns = read_ns + decisions.features_ns
    yield Span("wait", whole.start_ns, taken_ns)
    yield Span("auth", taken_ns, read_ns)
    if decisions.features_ns:
        yield Span("features", read_ns, looked_up_ns)
    yield Span("model", looked_up_ns, looked_up_ns + decisions.model_ns)
    if decisions.written_ns:
        yield Span("record", whole.end_ns, max(whole.end_ns, decisions.written_ns))
