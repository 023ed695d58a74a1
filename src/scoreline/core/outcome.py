"""What really happened, as a caller reports it: for a prediction by its id, or by whom it was about and when.

An outcome says what was known at `observed_at`; a later one of the same target corrects it. Where the caller does not
say when, it is the moment of its receipt.
"""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from scoreline.core.entities import ENTITY_PROBLEM, MAX_LENGTH, entity_of
from scoreline.core.errors import MAX_PROBLEMS, Problem, RowsRefused
from scoreline.core.manifest import NAME
from scoreline.core.schema import FLOAT32_MAX, printable

BY_ID: Final = frozenset(("prediction_id", "value", "observed_at"))
BY_ENTITY: Final = frozenset(("model", "entity", "event_time", "value", "observed_at"))
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_NS: Final = 2**63 - 1
TIME_PROBLEM: Final = "must be a time with its zone, as 2026-11-24T10:00:00Z, from 1970 to 2262"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One report. Either `prediction` is the 16 bytes of an id, or `model`, `entity` and `event_ns` say what it is of.

    `value` is a number, or the name of a class. Times are nanoseconds since 1970; `observed_ns` None: not said.
    """

    value: float | str
    prediction: bytes = b""
    model: str = ""
    entity: str = ""
    event_ns: int = 0
    observed_ns: int | None = None


def read_outcomes(rows: Sequence[object]) -> list[Outcome]:
    """The outcomes of decoded JSON objects, in order; raises RowsRefused with the first 1,000 problems of all rows."""
    found: list[Outcome] = []
    problems: list[Problem] = []
    for number, given in enumerate(rows):
        outcome, wrong = _read(given)
        problems += (Problem(number, field, problem) for field, problem in wrong)
        if len(problems) >= MAX_PROBLEMS:
            break
        if outcome is not None:
            found.append(outcome)
    if problems:
        raise RowsRefused(problems[:MAX_PROBLEMS], "what an outcome is")
    return found


def time_ns_of(value: object) -> int | None:
    """Nanoseconds since 1970 of a time in RFC 3339, or of a datetime with its zone; None where it is neither."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, datetime) or value.tzinfo is None:
        return None
    since = value - _EPOCH
    found = ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1000
    return found if 0 <= found <= _LAST_NS else None


def _read(given: object) -> tuple[Outcome | None, list[tuple[str, str]]]:
    """An outcome, or what is wrong with it, by field."""
    if not isinstance(given, Mapping):
        return None, [("", "must be an object")]
    known = BY_ID if "prediction_id" in given else BY_ENTITY
    wrong = [(printable(name), "is not known here") for name in given if name not in known]
    wrong += [(name, "is required") for name in sorted(known - {"observed_at"} - given.keys())]
    read: dict[str, Any] = {}
    for name in sorted(known & given.keys()):
        if name == "observed_at" and given[name] is None:
            continue
        attribute, reader, problem = _FIELDS[name]
        read[attribute] = reader(given[name])
        if read[attribute] is None:
            wrong.append((name, problem))
    return (None, wrong) if wrong else (Outcome(**read), [])


def _prediction(value: object) -> bytes | None:
    try:
        return uuid.UUID(value).bytes if isinstance(value, str) and len(value) == 36 else None
    except ValueError:
        return None


def _model(value: object) -> str | None:
    return value if isinstance(value, str) and NAME.fullmatch(value) else None


def _value(value: object) -> float | str | None:
    if isinstance(value, str):
        return value if 1 <= len(value) <= MAX_LENGTH and value.isprintable() else None
    return float(value) if isinstance(value, int | float) and abs(value) <= FLOAT32_MAX else None


_FIELDS: Final[Mapping[str, tuple[str, Callable[[object], object], str]]] = {
    "prediction_id": ("prediction", _prediction, "must be the id of a prediction"),
    "model": ("model", _model, "must be the name of a model"),
    "entity": ("entity", lambda value: entity_of(value) or None, ENTITY_PROBLEM),
    "event_time": ("event_ns", time_ns_of, TIME_PROBLEM),
    "observed_at": ("observed_ns", time_ns_of, TIME_PROBLEM),
    "value": ("value", _value, "must be a number, true or false, or the name of a class"),
}
