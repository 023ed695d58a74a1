"""How the scores of a version are counted for its metrics, by its sealed bundle."""

import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from scoreline.core.errors import ScorelineError
from scoreline.core.manifest import Manifest
from scoreline.operations.bundles import profile_of
from scoreline.records.tally import NO_SHAPE, Shape

# Of scores that are probabilities: finer where rare things are.
PROBABILITIES: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
_NINTH: Final = 8
log = logging.getLogger("scoreline.operations.shapes")


def shape_of(state_dir: Path, digest: str) -> Shape:
    """The bounds of the histogram of a version's scores, and what a high score is; none of a bundle that is gone."""
    try:
        return shape(*profile_of(state_dir, digest))
    except ScorelineError as error:
        log.warning("the scores of a version are not counted by their size: %s", error)
        return NO_SHAPE


def shape(manifest: Manifest, profile: Mapping[str, Any]) -> Shape:
    """Fixed bounds for probabilities, else the deciles of the reference.

    A score is high above the highest threshold of the policy, else at or beyond the ninth decile of the reference; of
    models with several classes none is.
    """
    (first, *others) = profile["scores"].values()
    bounds = PROBABILITIES if "uncertainty" in first else tuple(sorted(set(first["deciles"])))
    if others:
        return Shape(bounds)
    thresholds = manifest.policy.thresholds
    if thresholds:
        expected = profile["outcomes"].get(manifest.policy.outcomes[-1])
        return Shape(bounds, thresholds[-1], expected)
    return Shape(bounds, *_high(first))


def _high(scores: Mapping[str, Any]) -> tuple[float, float | None]:
    """From where on a score is high, and how many are in the reference, which older bundles do not say.

    The share above a cut is that of all beyond it; a cut that nothing lies above shows nothing.
    """
    shares = dict(zip(scores.get("cuts", ()), scores.get("above", ()), strict=True))
    cut = max((cut for cut, share in shares.items() if share > 0), default=None)
    return (scores["deciles"][_NINTH], None) if cut is None else (math.nextafter(cut, math.inf), shares[cut])
