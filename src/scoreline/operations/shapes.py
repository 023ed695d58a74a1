"""How the scores of a version are counted for its metrics, by its sealed bundle."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from scoreline.core.bundle import PROFILE, Bundle
from scoreline.core.errors import ScorelineError
from scoreline.core.link import PROBABILITY_LINKS
from scoreline.core.manifest import read_json
from scoreline.operations.bundles import bundle_of
from scoreline.records.tally import NO_SHAPE, Shape

# Of scores that are probabilities: finer where rare things are.
PROBABILITIES: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
_NINTH: Final = 8
log = logging.getLogger("scoreline.operations.shapes")


def shape_of(state_dir: Path, digest: str) -> Shape:
    """The bounds of the histogram of a version's scores, and what a high score is; none of a bundle that is gone."""
    try:
        return shape(bundle_of(state_dir, digest))
    except ScorelineError as error:
        log.warning("the scores of a version are not counted by their size: %s", error)
        return NO_SHAPE


def shape(bundle: Bundle) -> Shape:
    """Fixed bounds for probabilities, else the deciles of the reference.

    A score is high above the highest threshold of the policy, else above the ninth decile of the reference; of models
    with several classes none is.
    """
    manifest = bundle.manifest
    found: Mapping[str, Any] = read_json(PROFILE, bundle.files[PROFILE])
    (first, *others) = found["scores"].values()
    bounds = PROBABILITIES if others or _are_probabilities(bundle) else tuple(sorted(set(first["deciles"])))
    if others:
        return Shape(bounds)
    thresholds = manifest.policy.thresholds
    if thresholds:
        expected = found["outcomes"].get(manifest.policy.outcomes[-1])
        return Shape(bounds, thresholds[-1], expected)
    return Shape(bounds, first["deciles"][_NINTH], 1 - (_NINTH + 1) / 10)


def _are_probabilities(bundle: Bundle) -> bool:
    """By the link, or where a graph makes them itself, by where they lie on the reference."""
    if bundle.manifest.link in PROBABILITY_LINKS:
        return True
    (first,) = read_json(PROFILE, bundle.files[PROFILE])["scores"].values()
    return bool(first["least"] >= 0 and first["greatest"] <= 1)
