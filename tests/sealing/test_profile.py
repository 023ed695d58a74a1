"""The profile: what numpy finds in the reference rows, by hand."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models import frame, keys, opened, small_model
from scoreline.core.batch import Context
from scoreline.core.rows import read_rows
from scoreline.core.scorer import Scorer
from scoreline.engines.load import load_engine
from scoreline.sealing import seal


def options(folder: Path, **changed: Any) -> dict[str, Any]:
    given = {"name": "m", "output": "score", "reference": frame(), "key": keys(folder)[0], "out": folder / "m-1"}
    return {**given, **changed}


def test_profile_is_what_numpy_finds_in_the_reference(tmp_path: Path) -> None:
    booster, rows = small_model(categories=True)
    seal(booster, **options(tmp_path, reference=rows, thresholds={"review": 0.4, "decline": 0.6}))
    bundle = opened(tmp_path / "m-1")
    profile = json.loads(bundle.files["profile.json"])
    assert profile["rows"] == 300
    for name in ("a", "b", "c"):
        column = rows[name].to_numpy()
        present = column[~np.isnan(column)]
        found = profile["fields"][name]
        assert found["missing"] == np.isnan(column).mean()
        assert (found["least"], found["greatest"]) == (present.min(), present.max())
        assert found["mean"] == pytest.approx(present.mean(), rel=1e-12)
        assert found["deviation"] == pytest.approx(present.std(), rel=1e-12)
        assert found["deciles"] == pytest.approx([np.percentile(present, 10 * k) for k in range(1, 10)], rel=1e-12)
    words = rows["k"].value_counts()
    assert profile["fields"]["k"] == {
        "missing": rows["k"].isna().mean(),
        "counts": [int(words[word]) for word in ("red", "green", "blue")],
    }
    score = Scorer(bundle.manifest, load_engine(bundle))
    given = [
        {name: None if value != value else value for name, value in row.items()} for row in rows.to_dict("records")
    ]
    decisions = score(read_rows(bundle.manifest.schema, given, Context(0)))
    scores = decisions.scores[:, 0]
    assert profile["scores"]["score"]["mean"] == pytest.approx(scores.mean(), rel=1e-12)
    assert profile["scores"]["score"]["deciles"] == pytest.approx(np.quantile(scores, np.arange(1, 10) / 10), rel=1e-12)
    outcomes = [decision.outcome for decision in decisions]
    for outcome in ("approve", "review", "decline"):
        assert profile["outcomes"][outcome] == pytest.approx(outcomes.count(outcome) / 300, rel=1e-12)


def test_profile_of_a_field_that_is_always_missing(tmp_path: Path) -> None:
    seal(small_model()[0], **options(tmp_path, reference=frame().assign(a=np.nan)))
    profile = json.loads(opened(tmp_path / "m-1").files["profile.json"])
    assert profile["fields"]["a"] == {"missing": 1.0}


def test_profile_of_classes_has_a_score_per_class(tmp_path: Path) -> None:
    seal(small_model("multi:softprob")[0], **options(tmp_path, classes=["low", "mid", "high"]))
    profile = json.loads(opened(tmp_path / "m-1").files["profile.json"])
    assert set(profile["scores"]) == set(profile["outcomes"]) == {"low", "mid", "high"}
    assert sum(profile["outcomes"].values()) == pytest.approx(1)
    assert sum(found["mean"] for found in profile["scores"].values()) == pytest.approx(1)
