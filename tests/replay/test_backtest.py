"""Another version on the features as they were used: fields by name, categories by word, nothing guessed."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xgboost

from models import AnyVerifier, codes, frame, keys, targets, train
from recorded import decided
from scoreline.core.batch import Context
from scoreline.core.bundle import Bundle, read_bundle
from scoreline.core.errors import NotFound
from scoreline.core.manifest import Manifest
from scoreline.core.rows import read_rows
from scoreline.core.scorer import Scorer
from scoreline.engines.load import load_engine
from scoreline.replay.backtest import Backtest, Changes, backtest
from scoreline.sealing import seal

THRESHOLDS = {"review": 0.4, "decline": 0.7}


def sealed_of(folder: Path, rows: pd.DataFrame, version: str, **options: Any) -> Path:
    booster = train(rows, eta=0.3 + int(version) / 10)
    given = {"reference": rows, "thresholds": THRESHOLDS, "out": folder / f"m-{version}", **options}
    return seal(booster, name="m", output="score", key=keys(folder)[0], **given).path


def opened(path: Path) -> Bundle:
    return read_bundle(path, AnyVerifier())


def compared(before: Path, after: Path, rows: np.ndarray, at_once: int = 1) -> list[Backtest]:
    known = {found.digest: found for found in (opened(path).manifest for path in (before, after))}
    other = opened(after)
    return list(backtest(decided(before, rows, at_once=at_once), known.__getitem__, other, load_engine(other)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("m")


@pytest.fixture(scope="module")
def first(folder: Path) -> Path:
    return sealed_of(folder, frame(categories=True), "1")


def test_the_same_version_changes_nothing(first: Path) -> None:
    changes = Changes()
    for one in compared(first, first, codes(frame(50, seed=2, categories=True)), at_once=5):
        assert one.comparable and one.scores == one.other_scores and one.outcome == one.other_outcome
        changes.add(one)
    assert (changes.comparable, changes.moved_mean, changes.moved_most) == (50, 0.0, 0.0)
    assert all(before == after for before, after in changes.outcomes)


def test_another_version_answers_as_if_it_had_been_asked(first: Path, folder: Path) -> None:
    """Its words are coded in another order, and its fields stand in another."""
    rows = frame(categories=True)
    rows["k"] = rows["k"].cat.reorder_categories(["blue", "red", "green"])
    second = sealed_of(folder, rows[["k", "c", "b", "a"]], "2")
    asked = frame(60, seed=5, categories=True)
    found = compared(first, second, codes(asked), at_once=7)
    manifest = opened(second).manifest
    given = [
        {name: None if value != value else value for name, value in row.items()}
        for row in asked[["k", "c", "b", "a"]].to_dict("records")
    ]
    wanted = Scorer(manifest, load_engine(opened(second)))(read_rows(manifest.schema, given, Context(0)))
    assert [one.other_scores for one in found] == [{"score": score} for score in wanted.scores[:, 0].tolist()]
    assert [one.other_outcome for one in found] == [decision.outcome for decision in wanted]
    assert {(one.version, one.other_version, one.defaulted) for one in found} == {("1", "2", ())}


def test_a_field_the_record_does_not_have_takes_the_default_or_is_reported(folder: Path, first: Path) -> None:
    rows = frame().assign(d=np.linspace(0, 1, 300))
    asked = codes(frame(9, seed=5, categories=True))
    with_default = sealed_of(folder, rows, "3", schema={"d": {"default": 0.5}})
    found = compared(first, with_default, asked)
    assert all(one.comparable for one in found)
    assert {one.defaulted for one in found} == {("d",)}
    without = sealed_of(folder, rows, "4")
    found = compared(first, without, asked)
    assert {(one.comparable, one.other_scores, one.note) for one in found} == {
        (False, None, "field 'd' of the other version is required")
    }


def test_what_the_other_version_would_refuse_is_reported_row_by_row(folder: Path, first: Path) -> None:
    rows = frame(categories=True)
    rows = rows[(rows["k"] != "blue") & (rows["c"] <= 30)].assign(
        k=lambda kept: kept["k"].cat.remove_unused_categories()
    )
    narrow = sealed_of(folder, rows, "5", schema={"c": {"range": [0.0, 30.0]}})
    asked = codes(frame(200, seed=6, categories=True))
    found = compared(first, narrow, asked, at_once=9)
    refused = (asked[:, 2] > 30) | (asked[:, 3] == 2)
    assert [not one.comparable for one in found] == refused.tolist()
    assert {one.note for one in found if not one.comparable} == {
        "field 'c' of the other version must be at most 30",
        "field 'k' of the other version must be one of the model's 2 categories",
    }
    changes = Changes()
    for one in found:
        changes.add(one)
    assert changes.comparable + changes.notes.total() == 200


def test_fields_of_a_store_are_there_as_they_were_used(folder: Path, first: Path) -> None:
    stored = sealed_of(folder, frame(), "6", entity="who", schema={"c": {"source": "store", "default": 1.0}})
    asked = codes(frame(9, seed=5, categories=True))
    engine = load_engine(opened(stored))
    margins = engine.predict(np.ascontiguousarray(asked[:, :3]))
    wanted = 1 / (1 + np.exp(-margins))
    found = compared(first, stored, asked)
    assert [one.other_scores["score"] for one in found if one.other_scores] == pytest.approx(wanted[:, 0].tolist())


def test_a_type_that_changed_is_not_comparable(folder: Path, first: Path) -> None:
    rows = frame().assign(b=lambda found: found["b"] > 1)
    changed = sealed_of(folder, rows, "7")
    found = compared(first, changed, codes(frame(9, seed=5, categories=True).fillna({"b": 2.0})))
    assert {one.note for one in found} == {"field 'b' of the other version must be true or false"}


def test_without_the_recorded_manifest_nothing_is_guessed(first: Path) -> None:
    def nothing(digest: str) -> Manifest:
        raise NotFound("no bundle here")

    other = opened(first)
    found = list(backtest(decided(first, codes(frame(3, categories=True))), nothing, other, load_engine(other)))
    assert {(one.comparable, one.note) for one in found} == {
        (False, "the recorded version's manifest cannot be read: no bundle here")
    }


def test_classes_are_compared_by_name(folder: Path, tmp_path: Path) -> None:
    rows = frame()
    matrix = xgboost.DMatrix(rows, targets("multi:softprob", rows))
    booster = xgboost.train({"objective": "multi:softprob", "num_class": 3, "nthread": 1}, matrix, 4)
    for version, names in (("1", ["x", "y", "z"]), ("2", ["z", "x", "y"])):
        seal(
            booster,
            name="m",
            output="s",
            reference=rows,
            key=keys(tmp_path)[0],
            out=tmp_path / f"m-{version}",
            classes=names,
        )
    (one, *_) = compared(tmp_path / "m-1", tmp_path / "m-2", codes(rows)[:5])
    assert one.other_scores is not None and list(one.other_scores) == ["z", "x", "y"]
    assert list(one.scores.values()) == list(one.other_scores.values())
    assert Changes().moved_mean is None
