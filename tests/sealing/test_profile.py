"""The profile: what numpy finds in the reference rows, by hand."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from models import frame, keys, opened, small_model
from scoreline.core.batch import Context
from scoreline.core.errors import SealRefused
from scoreline.core.policy import ThresholdPolicy
from scoreline.core.rows import read_rows
from scoreline.core.schema import Field, Schema
from scoreline.core.scorer import Scorer
from scoreline.engines.load import load_engine
from scoreline.sealing import seal
from scoreline.sealing.daily import Days
from scoreline.sealing.profile import make_profile


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
        assert found["cuts"] == found["deciles"]
        assert found["above"] == [float((present > decile).mean()) for decile in found["deciles"]]
    words = rows["k"].value_counts()
    assert profile["fields"]["k"]["missing"] == rows["k"].isna().mean()
    assert profile["fields"]["k"]["counts"] == [int(words[word]) for word in ("red", "green", "blue")]
    score = Scorer(bundle.manifest, load_engine(bundle))
    given = [
        {name: None if value != value else value for name, value in row.items()} for row in rows.to_dict("records")
    ]
    decisions = score(read_rows(bundle.manifest.schema, given, Context(0)))
    scores = decisions.scores[:, 0]
    assert profile["scores"]["score"]["mean"] == pytest.approx(scores.mean(), rel=1e-12)
    assert profile["scores"]["score"]["deciles"] == pytest.approx(np.quantile(scores, np.arange(1, 10) / 10), rel=1e-12)
    assert profile["scores"]["score"]["uncertainty"] == pytest.approx((scores * (1 - scores)).mean(), rel=1e-12)
    by_word = [scores[(rows["k"] == word).to_numpy()].mean() for word in ("red", "green", "blue")]
    by_word.append(scores[rows["k"].isna().to_numpy()].mean())
    assert profile["fields"]["k"]["mean_scores"] == pytest.approx(by_word, rel=1e-12)
    edges = [-np.inf, *profile["fields"]["a"]["deciles"], np.inf]
    a = rows["a"].to_numpy()
    by_bin = [scores[(a > low) & (a <= high)].mean() for low, high in pairwise(edges)]
    assert profile["fields"]["a"]["mean_scores"][:10] == pytest.approx(by_bin, rel=1e-12)
    assert "daily" not in profile["fields"]["a"]
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


def test_a_field_that_the_reference_does_not_have_is_missing_and_has_no_numbers(tmp_path: Path) -> None:
    schema = {"a": {"type": "number", "nullable": True, "default": 3.0}}
    seal(small_model()[0], **options(tmp_path, reference=frame().drop(columns="a"), schema=schema))
    profile = json.loads(opened(tmp_path / "m-1").files["profile.json"])
    assert profile["fields"]["a"] == {"missing": 1.0}


def test_numbers_that_repeat_have_the_shares_they_have() -> None:
    column = np.array([0.0] * 55 + [1.0] * 30 + [2.0] * 15)
    schema = Schema((Field("n", "integer"),))
    scores = (column / 4)[:, None]
    made = make_profile(schema, column[:, None], scores, ("p",), ThresholdPolicy(), Days(), are_probabilities=True)
    assert made["fields"]["n"]["deciles"] == pytest.approx([0, 0, 0, 0, 0, 1, 1, 1, 2])
    below_0, below_1 = np.nextafter([0.0, 1.0], -np.inf)
    assert made["fields"]["n"]["cuts"] == [below_0, 0.0, below_1, 1.0, 2.0]
    assert made["fields"]["n"]["above"] == pytest.approx([1.0, 0.45, 0.45, 0.15, 0.0])
    assert made["fields"]["n"]["mean_scores"] == [None, 0.0, None, 0.25, 0.5, None, None]


def with_days(n_days: int, per_day: int, wave: float) -> pd.DataFrame:
    """Rows whose `a` goes up and down from day to day."""
    rng = np.random.default_rng(4)
    rows = pd.concat([frame().sample(per_day, replace=True, random_state=day) for day in range(n_days)])
    days = np.repeat(np.arange(n_days), per_day)
    moved = rows["a"].to_numpy() + wave * np.sin(days)
    return rows.assign(a=moved, at=pd.Timestamp("2026-03-01") + pd.to_timedelta(days * 24 + rng.random(len(days)), "h"))


@pytest.mark.parametrize("form", ("timestamp", "text", "text with zone", "date", "zone"))
def test_with_times_the_profile_says_how_far_days_lie_apart(tmp_path: Path, form: str) -> None:
    rows = with_days(20, 150, 0.5)
    if form.startswith("text"):
        rows["at"] = rows["at"].dt.strftime("%Y-%m-%dT%H:%M:%S" + "Z" * (form != "text"))
    elif form == "date":
        rows["at"] = rows["at"].dt.date
    elif form == "zone":
        rows["at"] = rows["at"].dt.tz_localize("UTC")
    seal(small_model()[0], **options(tmp_path, reference=rows, time_column="at"))
    profile = json.loads(opened(tmp_path / "m-1").files["profile.json"])
    column, days = rows["a"].to_numpy(), np.repeat(np.arange(20), 150)
    cut = profile["fields"]["a"]["deciles"][4]

    def logit(chosen: Any) -> float:
        share = ((chosen > cut).sum() + 0.5) / (len(chosen) + 1)
        return float(np.log(share / (1 - share)))

    present = ~np.isnan(column)
    away = [abs(logit(column[(days == day) & present]) - logit(column[present])) for day in range(20)]
    assert profile["fields"]["a"]["daily"]["shares"][4] == pytest.approx(np.quantile(away, 0.99))
    assert set(profile["scores"]["score"]["daily"]) == {"mean", "shares"}
    assert len(profile["fields"]["a"]["daily"]["shares"]) == 9


@pytest.mark.parametrize(
    ("change", "why"),
    (
        ({"time_column": "nowhere"}, "has no column 'nowhere'"),
        ({"time_column": "word"}, "does not hold times"),
        ({"time_column": "gap"}, "rows without a time"),
        ({"time_column": "once"}, "1 days of the reference have 100 rows; 7 are needed"),
    ),
)
def test_times_that_say_nothing_are_refused(tmp_path: Path, change: dict[str, str], why: str) -> None:
    rows = with_days(3, 150, 0.0).assign(word="yesterday", once=pd.Timestamp("2026-03-01"))
    rows["gap"] = rows["at"].where(rows["at"].dt.day > 1)
    with pytest.raises(SealRefused, match=why):
        seal(small_model()[0], **options(tmp_path, reference=rows, **change))
    assert not (tmp_path / "m-1").exists()


def test_of_booleans_the_share_of_what_is_true_is_all_there_is() -> None:
    column = np.array([0.0] * 3 + [1.0] * 7)
    schema, scores = Schema((Field("b", "boolean"),)), np.linspace(0, 0.9, 10)[:, None]
    made = make_profile(schema, column[:, None], scores, ("p",), ThresholdPolicy(), Days(), are_probabilities=True)
    assert (made["fields"]["b"]["cuts"], made["fields"]["b"]["above"]) == ([0.0], [0.7])
    assert made["fields"]["b"]["mean_scores"] == [pytest.approx(0.1), pytest.approx(0.6), None]
