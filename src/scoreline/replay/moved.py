"""Why two versions answer one row otherwise: the fields that add most to the one margin and not to the other."""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from scoreline.core import ids
from scoreline.core.batch import Batch
from scoreline.core.bundle import Bundle
from scoreline.core.decision import Decisions
from scoreline.core.errors import ScorelineError
from scoreline.core.fitting import fitting
from scoreline.core.ports import Engine
from scoreline.core.schema import Schema
from scoreline.core.scorer import Scorer
from scoreline.replay.explain import MOST_REASONS, explain

Opened = tuple[Bundle, Engine]
NOTHING: Final = "both margins are made of the same contributions"


@dataclass(frozen=True, slots=True)
class Shift:
    """What a field adds to the margin of one version and of the other, and the schema's words for it."""

    field: str
    text: str
    contribution: float
    other_contribution: float


@dataclass(frozen=True, slots=True)
class Moved:
    """A decision that another version moves: by which fields, the largest first, at most four; `note`: why by none."""

    id: str
    output: str
    shifts: tuple[Shift, ...]
    note: str = ""


def moved(decision: Decisions, mine: Opened, theirs: Opened) -> Moved:
    """Holds the explanations of a decision of one row and of what another version makes of it against each other.

    Of several outputs the one whose score moves furthest. Where there is no explanation, the note says why not.
    """
    (bundle, engine), (other_bundle, other_engine) = mine, theirs
    row = ids.text(decision.base)
    try:
        other = _by(decision, bundle.manifest.schema, theirs)
        output = int(np.abs(other.scores[0] - decision.scores[0]).argmax())
        here = explain(decision, bundle, engine, output=output)
        there = explain(other, other_bundle, other_engine, output=output)
    except ScorelineError as error:
        return Moved(row, "", (), str(error))
    texts = {
        field.name: field.reason or field.description or field.name
        for each in (other_bundle, bundle)
        for field in each.manifest.schema.fields
    }
    shifts = [
        Shift(name, text, here.contributions.get(name, 0.0), there.contributions.get(name, 0.0))
        for name, text in texts.items()
    ]
    shifts.sort(key=lambda shift: -abs(shift.other_contribution - shift.contribution))
    found = tuple(each for each in shifts[:MOST_REASONS] if each.other_contribution != each.contribution)
    return Moved(row, here.output, found, "" if found else NOTHING)


def _by(decision: Decisions, schema: Schema, theirs: Opened) -> Decisions:
    """What another version makes of the row, as in shadow: under the same id, which is the seed of permutations."""
    bundle, engine = theirs
    batch = Batch(decision.values, decision.context, decision.defaulted)
    fit = fitting(schema, bundle.manifest.schema)
    return replace(Scorer(bundle.manifest, engine)(fit(batch) if fit else batch), base=decision.base)
