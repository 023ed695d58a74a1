"""Drift in words: what has changed of a subject, as `Reference.words` has it."""

from collections.abc import Mapping
from typing import Any

from scoreline.drift.reference import MEAN, MISSING


def changed(subject: str, kind: str, what: object, direction: str) -> str:
    """A sentence without its end, as `amount is above 5000 more often`."""
    is_up = direction == "up"
    often = "more often" if is_up else "less often"
    if kind == "score" and what == MEAN:
        return f"{subject} is {'higher' if is_up else 'lower'} on average"
    if isinstance(what, float):
        return f"{subject} is above {what:.6g} {often}"
    return f"{subject} is {'missing' if what == MISSING else repr(what)} {often}"


def leading(evidence: Mapping[str, Any]) -> str:
    """What an alarm rests on most, and the other subjects by their effect on the score."""
    first = evidence["leading"]
    others = [each["subject"] for each in evidence["subjects"] if each["subject"] != first["subject"]]
    also = f"; also {', '.join(others)}" if others else ""
    return changed(first["subject"], first["kind"], first["what"], first["direction"]) + also
