"""Drift in words: what has changed of a subject, as `Reference.words` has it."""

from collections.abc import Mapping
from typing import Any, Final

from scoreline.drift.spread import ABOVE, AT_LEAST, CATEGORY, MEAN, MISSING, TRUE

_SAYS: Final = {ABOVE: "above {:.6g}", AT_LEAST: "{:.6g} or more", CATEGORY: "{!r}", TRUE: "true", MISSING: "missing"}


def changed(subject: str, of: str, what: object, direction: str) -> str:
    """A sentence without its end, as `amount is above 5000 more often`."""
    is_up = direction == "up"
    if of == MEAN:
        return f"{subject} is {'higher' if is_up else 'lower'} on average"
    return f"{subject} is {_SAYS[of].format(what)} {'more often' if is_up else 'less often'}"


def leading(evidence: Mapping[str, Any]) -> str:
    """What an alarm rests on most, and the other subjects by their effect on the score."""
    first = evidence["leading"]
    others = [each["subject"] for each in evidence["subjects"] if each["subject"] != first["subject"]]
    also = f"; also {', '.join(others)}" if others else ""
    return changed(first["subject"], first["of"], first["what"], first["direction"]) + also
