"""References without a model: a schema, rows and scores as if one had been sealed with them."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from scoreline.core.link import Floats
from scoreline.core.manifest import EngineSpec, Manifest, canonical_json
from scoreline.core.policy import ThresholdPolicy
from scoreline.core.schema import Field, Schema
from scoreline.drift.fold import Fold
from scoreline.drift.reference import Reference
from scoreline.evidence.tolerance import Tolerance
from scoreline.sealing.daily import Days
from scoreline.sealing.profile import make_profile

FIELDS = (
    Field("amount", "number"),
    Field("age", "integer", default=40),
    Field("repeat", "boolean"),
    Field("country", "category", categories=("at", "de", "fr", "uk")),
)
POLICY = ThresholdPolicy(("approve", "decline"), (0.5,))
DEFAULT = Tolerance(0.2, 0.2, 0.01)
NO_TOLERANCE = Tolerance(0.0, 0.0, 0.0)


def some_rows(rng: np.random.Generator, n_rows: int, shift: float = 0.0) -> tuple[Floats, Floats]:
    """Values and scores: what is scored is mostly the amount; `shift` moves amounts in logits of the score."""
    drawn = rng.normal(size=n_rows) + shift
    values = np.column_stack(
        [
            np.where(rng.random(n_rows) < 0.05, np.nan, 1000 * np.exp(drawn)),
            rng.integers(18, 90, n_rows).astype(float),
            (rng.random(n_rows) < 0.2).astype(float),
            rng.choice(4, n_rows, p=[0.5, 0.3, 0.15, 0.05]).astype(float),
        ]
    )
    return values, (1 / (1 + np.exp(-(drawn - 2.6))))[:, None]


def manifest_of(
    fields: Sequence[Field] = FIELDS, link: str = "sigmoid", classes: tuple[str, ...] = (), **more: Any
) -> Manifest:
    facts: dict[str, Any] = {"name": "m", "version": "1", "output": "risk"} | more
    policy = ThresholdPolicy(classes, likeliest=True) if classes else POLICY if link == "sigmoid" else ThresholdPolicy()
    return Manifest(
        link=link,
        outputs=len(classes) or 1,
        schema=Schema(tuple(fields)),
        engines=(EngineSpec("xgboost", "model.ubj"),),
        files={"model.ubj": "0" * 64},
        classes=classes,
        policy=policy,
        **facts,
    )


def profile_of(manifest: Manifest, values: Floats, scores: Floats, days: Days | None = None) -> Any:
    """As a bundle has it: through JSON and back."""
    names = manifest.classes or (manifest.output,)
    are = manifest.are_probabilities
    made = make_profile(manifest.schema, values, scores, names, manifest.policy, days or Days(), are_probabilities=are)
    return json.loads(canonical_json(made))


def reference_of(
    values: Floats, scores: Floats, tolerance: Tolerance = DEFAULT, manifest: Manifest | None = None
) -> Reference:
    known = manifest or manifest_of()
    return Reference.of(known, profile_of(known, values, scores), tolerance)


def some_fold(n_rows: int = 5000, tolerance: Tolerance = DEFAULT, seed: int = 1) -> Fold:
    return Fold(reference_of(*some_rows(np.random.default_rng(seed), n_rows), tolerance))
