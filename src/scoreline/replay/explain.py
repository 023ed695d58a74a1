"""Explaining: what each field added to the margin of one decision, and the principal reasons in reviewed words.

Boosters explain themselves (TreeSHAP; a linear booster by weight times value). Every other model is explained by
permutations, whose seed is the decision's own id: the same decision is explained the same, whenever it is asked.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from scoreline.core import ids
from scoreline.core.bundle import Bundle
from scoreline.core.decision import Decisions
from scoreline.core.errors import EngineFailed, ReplayRefused
from scoreline.core.link import Floats
from scoreline.core.ports import Engine
from scoreline.core.schema import Field, Scalar
from scoreline.core.shown import shown
from scoreline.replay.grouped import mismatch
from scoreline.replay.permutations import orders, permuted_contributions

Adverse = Literal["higher", "lower"]
TOLERANCE: Final = 1e-5
MOST_REASONS: Final = 4


@dataclass(frozen=True, slots=True)
class Method:
    """How contributions were found: by the library itself, or by permutations of fields over background rows.

    `seed` is what orders were drawn by, null where nothing was drawn.
    """

    name: Literal["treeshap", "linear", "permutations"]
    engine: str
    orders: int | None = None
    background_rows: int | None = None
    seed: str | None = None


@dataclass(frozen=True, slots=True)
class Reason:
    """A field that pushed towards the adverse side, by how much, and the schema's words for it.

    `reviewed` is false where the schema has no `reason` and its description or name stands in. `value` is there only
    where it was asked for, and never of a sensitive field.
    """

    field: str
    text: str
    reviewed: bool
    contribution: float
    value: Scalar | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """What made the margin of a decision: base value and contributions add up to it within 1e-5.

    `output` is the score's name, or the decided class; `reasons` are at most four, the largest first.
    """

    id: str
    model: str
    version: str
    digest: str
    output: str
    margin: float
    base: float
    contributions: Mapping[str, float]
    adverse: Adverse
    reasons: tuple[Reason, ...]
    method: Method


def explain(
    decision: Decisions,
    bundle: Bundle,
    engine: Engine,
    *,
    adverse: Adverse = "higher",
    values: bool = False,
    output: int | None = None,
) -> Explanation:
    """Explains a decision of one row on the margin; raises ReplayRefused or EngineFailed.

    `adverse`: whether a higher or a lower margin is the worse one for whom the decision is about. `values`: whether
    reasons carry the fields' values. `output`: which score is explained; None: that of the decided class. The tolerance
    is of the margin, or of 1 if that is more.
    """
    wrong = mismatch(decision, bundle.manifest)
    if wrong:
        raise ReplayRefused(wrong)
    every, method = _contributions(decision, bundle, engine)
    output = int(decision.scores[0].argmax()) if output is None else output
    found, margin = every[output], float(decision.margins[0, output])
    if not abs(float(found.sum()) - margin) <= TOLERANCE * max(1.0, abs(margin)):
        raise ReplayRefused("the contributions do not add up to the recorded margin: see what its replay says")
    fields = bundle.manifest.schema.fields
    sign = 1.0 if adverse == "higher" else -1.0
    largest = sorted(range(len(fields)), key=lambda position: -sign * found[position])[:MOST_REASONS]
    shown_values = decision.values[0].tolist() if values else None
    author = decision.author
    return Explanation(
        id=ids.text(decision.base),
        model=author.model,
        version=author.version,
        digest=author.digest,
        output=(author.classes or (author.output,))[output],
        margin=margin,
        base=float(found[-1]),
        contributions={field.name: float(found[position]) for position, field in enumerate(fields)},
        adverse=adverse,
        reasons=tuple(
            _reason(fields[position], float(found[position]), shown_values[position] if shown_values else None)
            for position in largest
            if sign * found[position] > 0
        ),
        method=method,
    )


def _contributions(decision: Decisions, bundle: Bundle, engine: Engine) -> tuple[Floats, Method]:
    """Float64 (n_outputs, n_fields + 1), and how they were found."""
    by_library = engine.contributions(decision.values)
    if by_library is not None:
        is_linear = bundle.manifest.lineage.get("booster") == "gblinear"
        return _finite(by_library[0]), Method("linear" if is_linear else "treeshap", engine.name)
    background = background_rows(bundle)
    taken = orders(decision.values.shape[1], len(background), decision.base)
    found = permuted_contributions(engine, decision.values[0], background, taken)
    return _finite(found), Method("permutations", engine.name, len(taken), len(background), ids.text(decision.base))


def background_rows(bundle: Bundle) -> Floats:
    """The first half of the golden rows, which sealing draws from the reference; the second half are probes."""
    golden = bundle.golden.values
    return golden[: max(1, len(golden) // 2)]


def _finite(found: Floats) -> Floats:
    if not np.isfinite(found).all():
        raise EngineFailed("the engine answered a contribution that is not finite")
    return found


def _reason(field: Field, contribution: float, number: float | None) -> Reason:
    value = None if number is None or field.sensitive else shown(field, number)
    return Reason(field.name, field.reason or field.description or field.name, bool(field.reason), contribution, value)
