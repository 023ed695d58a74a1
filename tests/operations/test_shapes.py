"""How scores are counted follows from the reference, and the share of high ones there is exact."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drift.somereference import manifest_of, profile_of, some_rows
from scoreline.core.link import Floats
from scoreline.core.manifest import Manifest
from scoreline.core.policy import ThresholdPolicy
from scoreline.operations.shapes import PROBABILITIES, shape
from scoreline.records.tally import NO_SHAPE, Shape

N_ROWS = 4000
BARE = ThresholdPolicy()
FORMATS = Path(__file__).parents[1] / "formats"


def shaped(manifest: Manifest, scores: Floats) -> Shape:
    values, _ = some_rows(np.random.default_rng(3), len(scores))
    return shape(manifest, profile_of(manifest, values, scores))


@pytest.mark.parametrize("decimals", (1, 2, 16))
def test_the_expected_share_of_high_scores_is_that_of_the_reference_however_often_they_repeat(decimals: int) -> None:
    scores = np.random.default_rng(1).gamma(2, 30, (N_ROWS, 1)).round(decimals - 1)
    scores[:1000] = scores.max()
    found = shaped(manifest_of(link="identity"), scores)
    assert found.high is not None
    assert found.expected == (scores >= found.high).mean() >= 0.1


def test_a_threshold_says_what_is_high() -> None:
    _, scores = some_rows(np.random.default_rng(3), N_ROWS)
    found = shaped(manifest_of(), scores)
    assert (found.bounds, found.high, found.expected) == (PROBABILITIES, 0.5, (scores >= 0.5).mean())


@pytest.mark.parametrize(
    ("thresholds", "most", "are"), (((0.5,), 1.0, True), ((0.5,), 1.5, False), ((2.0,), 1.0, False), ((), 1.0, False))
)
def test_a_graph_answers_probabilities_where_thresholds_and_reference_say_so(
    thresholds: tuple[float, ...], most: float, *, are: bool
) -> None:
    policy = ThresholdPolicy(("low", "high"), thresholds) if thresholds else BARE
    manifest = replace(manifest_of(link="identity"), policy=policy)
    scores = np.linspace(0, most, N_ROWS)[:, None]
    assert (shaped(manifest, scores).bounds == PROBABILITIES) is are


def test_of_several_classes_none_is_high() -> None:
    scores = np.full((N_ROWS, 2), 0.5)
    assert shaped(manifest_of(link="softmax", classes=("a", "b")), scores) == Shape(PROBABILITIES)


@pytest.mark.parametrize("folder", sorted(path.name for path in FORMATS.iterdir() if path.is_dir()))
def test_older_bundles_are_counted_too(folder: str) -> None:
    for file in (FORMATS / folder).glob("*/profile.json"):
        manifest = manifest_of(link="identity")
        found: Any = json.loads(file.read_bytes())
        assert shape(manifest, found) != NO_SHAPE
