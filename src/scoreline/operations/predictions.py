"""One recorded decision as people see it: features by name and value, what is sensitive masked."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from scoreline.core import ids
from scoreline.core.decision import Decisions
from scoreline.core.errors import BundleError, NotFound
from scoreline.core.manifest import Manifest
from scoreline.core.ports import Record
from scoreline.core.schema import Scalar
from scoreline.core.shown import shown
from scoreline.operations.bundles import manifest_of
from scoreline.operations.maturity import LatestActual, Manifests, actual_of, utc
from scoreline.records.outcomes import Known
from scoreline.replay.grouped import mismatch


@dataclass(frozen=True, slots=True)
class Flags:
    """Fields that took their default, and fields that did because no store answered."""

    defaulted: tuple[str, ...]
    degraded: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Prediction:
    """A recorded decision. Features are as used, missing ones null; those in `masked` are null too, and not shown.

    `time` is in UTC. Without the bundle nothing says what may be shown: all features are masked. `actual` is what is
    known to have happened; null: nothing is, or the database of outcomes cannot be asked now.
    """

    id: str
    time: str
    model: str
    version: str
    digest: str
    engine: str
    role: str
    epoch: int
    caller: str
    request_id: str
    features: Mapping[str, Scalar | None]
    masked: tuple[str, ...]
    margins: Mapping[str, float | None]
    scores: Mapping[str, float | None]
    outcome: str | None
    flags: Flags
    actual: LatestActual | None


def find(
    record: Record, decision_id: str, caller: str | None = None, may_use: Callable[[str], bool] = lambda _: True
) -> Decisions:
    """The decision with this id, of this caller (None: of any) and a model it may use; else raises NotFound."""
    found = record.get(ids.parse(decision_id))
    if found is None or (caller is not None and found.context.caller != caller) or not may_use(found.author.model):
        raise NotFound("there is no such decision: its id is the prediction_id of an answer")
    return found


def prediction(found: Decisions, state_dir: Path, known: Known | None = None, now_ns: int = 0) -> Prediction:
    """The decision as people see it, with what is known of it by now."""
    (decision,) = found
    author, context = decision.author, decision.context
    names = author.classes or (author.output,)
    features, masked = _features(found, _manifest(found, state_dir))
    return Prediction(
        id=decision.id,
        time=utc(context.time_ns),
        model=author.model,
        version=author.version,
        digest=author.digest,
        engine=author.engine,
        role=author.role,
        epoch=author.epoch,
        caller=context.caller,
        request_id=context.request_id,
        features=features,
        masked=masked,
        margins=dict(zip(names, map(_number, decision.margins), strict=False)),
        scores=dict(zip(names, map(_number, decision.scores), strict=False)),
        outcome=decision.outcome,
        flags=Flags(decision.defaulted, decision.degraded),
        actual=actual_of(known, matured=Manifests(state_dir).is_matured(author, context.time_ns, now_ns)),
    )


def _manifest(found: Decisions, state_dir: Path) -> Manifest | None:
    try:
        manifest = manifest_of(state_dir, found.author.digest)
    except (NotFound, BundleError):
        return None
    return None if mismatch(found, manifest) else manifest


def _features(found: Decisions, manifest: Manifest | None) -> tuple[dict[str, Scalar | None], tuple[str, ...]]:
    if manifest is None:
        return dict.fromkeys(found.author.fields), found.author.fields
    fields = manifest.schema.fields
    values = found.values[0].tolist()
    shown_values = {
        field.name: None if field.sensitive or math.isinf(value) else shown(field, value)
        for field, value in zip(fields, values, strict=True)
    }
    return shown_values, tuple(field.name for field in fields if field.sensitive)


def _number(value: float) -> float | None:
    """JSON has no NaN and no infinity: a record that was altered may."""
    return value if math.isfinite(value) else None
