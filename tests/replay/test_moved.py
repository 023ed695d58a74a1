"""What moves a decision between two versions is found by both of their explanations."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost

from models import AnyVerifier, frame, keys
from recorded import decided
from scoreline.core import ids
from scoreline.core.bundle import read_bundle
from scoreline.engines.load import load_engine
from scoreline.replay.explain import explain
from scoreline.replay.moved import NOTHING, Opened, moved
from scoreline.sealing import seal

WORDS = {
    "a": {"range": [-1000.0, 1000.0], "reason": "The a is unusual"},
    "b": {"range": [-1000.0, 1000.0], "description": "How much b there is"},
    "c": {"range": [-1000.0, 1000.0]},
}


def sealed(folder: Path, version: str, model: object, rows: Any, **options: Any) -> Path:
    private, _ = keys(folder)
    given = {"name": "m", "version": version, "output": "score", "reference": rows, "key": private} | options
    return seal(model, out=folder / f"m-{version}", **given).path


def opened(path: Path) -> Opened:
    bundle = read_bundle(path, AnyVerifier())
    return bundle, load_engine(bundle)


def of_one_field(folder: Path, version: str, field: str) -> Path:
    """A model that looks at one field only."""
    rows = frame(400)[["a", "b", "c"]]
    label = (rows[field] > rows[field].median()).astype(int)
    model = xgboost.XGBClassifier(n_estimators=5, max_depth=2).fit(rows, label)
    return sealed(folder, version, model, rows, schema=WORDS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("moved")


@pytest.fixture(scope="module")
def paths(folder: Path) -> tuple[Path, Path]:
    return of_one_field(folder, "1", "a"), of_one_field(folder, "2", "c")


def test_what_only_one_of_two_versions_looks_at_moves_the_decision(paths: tuple[Path, Path]) -> None:
    mine, theirs = map(opened, paths)
    for decision in decided(paths[0], frame(20, seed=7)[["a", "b", "c"]].to_numpy(float)):
        found = moved(decision, mine, theirs)
        assert (found.id, found.output, found.note) == (ids.text(decision.base), "score", "")
        assert {each.field for each in found.shifts} == {"a", "c"}
        of = {each.field: each for each in found.shifts}
        assert of["c"].contribution == 0 == of["a"].other_contribution
        assert of["a"].contribution == explain(decision, *mine).contributions["a"]
        assert (of["a"].text, of["c"].text) == ("The a is unusual", "c")
        sizes = [abs(each.other_contribution - each.contribution) for each in found.shifts]
        assert sizes == sorted(sizes, reverse=True)


def test_a_version_moves_nothing_of_its_own(paths: tuple[Path, Path]) -> None:
    mine = opened(paths[0])
    (decision,) = decided(paths[0], np.array([[1.0, 2.0, 3.0]]))
    assert moved(decision, mine, mine).note == NOTHING


def test_of_several_outputs_the_one_that_moves_furthest_is_told(folder: Path) -> None:
    rows, paths = frame(400)[["a", "b", "c"]], []
    for field in ("a", "c"):
        label = np.argsort(np.argsort(rows[field])) * 3 // len(rows)
        model = xgboost.XGBClassifier(n_estimators=5, max_depth=2).fit(rows, label)
        paths.append(sealed(folder, f"of-{field}", model, rows, schema=WORDS, classes=["low", "middle", "high"]))
    mine, theirs = map(opened, paths)
    values = rows.to_numpy(float)[:50]
    outputs = []
    for decision, other in zip(decided(paths[0], values), decided(paths[1], values), strict=True):
        outputs.append(moved(decision, mine, theirs).output)
        furthest = int(np.abs(other.scores[0] - decision.scores[0]).argmax())
        assert outputs[-1] == ("low", "middle", "high")[furthest]
    assert len(set(outputs)) > 1


def test_what_cannot_be_explained_says_why(paths: tuple[Path, Path]) -> None:
    mine, theirs = map(opened, paths)
    (decision,) = decided(paths[0], np.array([[1.0, 2.0, 3.0]]))
    found = moved(replace(decision, margins=decision.margins + 1), mine, theirs)
    assert not found.shifts and "do not add up" in found.note
