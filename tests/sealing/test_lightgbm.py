"""LightGBM models are sealed so that every margin is LightGBM's own, or refused with the reason."""

from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest

from lightgbm_models import small_lightgbm
from models import WORDS, codes, frame, keys, opened, same_bits, targets
from scoreline.core.batch import Context
from scoreline.core.errors import NotFound, SchemaError, SealRefused
from scoreline.core.rows import read_rows
from scoreline.core.scorer import Scorer
from scoreline.engines.load import load_engine
from scoreline.sealing import seal
from scoreline.sealing.lightgbm import OBJECTIVES
from scoreline.sealing.seal import Sealed


def seal_here(folder: Path, model: object, rows: object, **options: Any) -> Sealed:
    given = {"name": "m", "output": "score", "reference": rows, "key": keys(folder)[0], "out": folder / "m-1"}
    return seal(model, **{**given, **options})


def scores_of(folder: Path, rows: list[dict[str, Any]]) -> list[tuple[float, ...]]:
    bundle = opened(folder / "m-1")
    score = Scorer(bundle.manifest, load_engine(bundle))
    return [decision.scores for decision in score(read_rows(bundle.manifest.schema, rows, Context(0)))]


def plain(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as a caller sends them."""
    return [{name: None if pd.isna(value) else value for name, value in row.items()} for row in rows.to_dict("records")]


@pytest.mark.parametrize("categories", (False, True), ids=("numbers", "categories"))
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_margins_and_scores_are_those_of_the_library(tmp_path: Path, objective: str, categories: bool) -> None:
    booster, _ = small_lightgbm(objective, categories=categories)
    rows = frame(400, seed=9, categories=categories)
    sealed = seal_here(tmp_path, booster, frame(categories=categories))
    bundle = opened(tmp_path / "m-1")
    margins = load_engine(bundle).predict(codes(rows))
    assert same_bits(margins, booster.predict(rows, raw_score=True).reshape(margins.shape))
    found = np.array(scores_of(tmp_path, plain(rows)))
    assert found == pytest.approx(booster.predict(rows).reshape(found.shape), rel=1e-12)
    assert (sealed.parity.score_ulp, bundle.manifest.lineage["objective"].split()[0]) == (0, objective)


@pytest.mark.parametrize(
    "parameters",
    [
        {"boosting": "dart", "drop_rate": 0.5},
        {"linear_tree": True},
        {"use_missing": False},
        {"zero_as_missing": True},
        {"extra_trees": True},
    ],
    ids=lambda given: "-".join(map(str, given.items())),
)
def test_every_kind_of_booster_is_exact_or_refused(tmp_path: Path, parameters: dict[str, Any]) -> None:
    booster, rows = small_lightgbm("binary", **parameters)
    ranges = {name: {"range": [-1000.0, 1000.0]} for name in rows} if parameters.get("linear_tree") else {}
    seal_here(tmp_path, booster, rows, schema=ranges)
    values = codes(frame(300, seed=4))
    wanted = booster.predict(values, raw_score=True)
    assert same_bits(load_engine(opened(tmp_path / "m-1")).predict(values)[:, 0], wanted)


def test_a_text_file_is_sealed_as_the_booster_is(tmp_path: Path) -> None:
    booster, rows = small_lightgbm(categories=True)
    booster.save_model(tmp_path / "model.txt")
    sealed = seal_here(tmp_path, tmp_path / "model.txt", rows)
    assert sealed.manifest.lineage["source"] == "model.txt"
    assert sealed.manifest.schema.fields[3].categories == tuple(WORDS)
    values = codes(rows)
    assert same_bits(
        load_engine(opened(tmp_path / "m-1")).predict(values)[:, 0], booster.predict(values, raw_score=True)
    )


def early_stopped(rows: pd.DataFrame) -> lightgbm.Booster:
    data = lightgbm.Dataset(rows, targets("binary:logistic", rows))
    other = frame(200, seed=8)
    held = lightgbm.Dataset(other, targets("binary:logistic", other, seed=3), reference=data)
    settings = {"objective": "binary", "verbosity": -1, "num_threads": 1, "learning_rate": 0.5}
    stop = [lightgbm.early_stopping(5, verbose=False)]
    booster = lightgbm.train(settings, data, 300, valid_sets=[held], callbacks=stop, keep_training_booster=True)
    assert 0 < booster.best_iteration < booster.num_trees()
    return booster


@pytest.mark.parametrize("iterations", ("best", "all"))
def test_early_stopping_keeps_the_best_iteration_unless_told_otherwise(tmp_path: Path, iterations: Any) -> None:
    rows = frame()
    booster = early_stopped(rows)
    sealed = seal_here(tmp_path, booster, rows, iterations=iterations)
    kept = booster.best_iteration if iterations == "best" else -1
    values = codes(rows)
    found = load_engine(opened(tmp_path / "m-1")).predict(values)[:, 0]
    assert same_bits(found, booster.predict(values, raw_score=True, num_iteration=kept))
    assert sealed.manifest.lineage["iterations"] == (f"best ({kept})" if iterations == "best" else "all")
    assert sealed.manifest.lineage["trees"] == (kept if iterations == "best" else booster.num_trees())


def test_an_estimator_brings_the_names_of_its_classes(tmp_path: Path) -> None:
    rows = frame()
    words = np.array(["low", "middle", "top"])[targets("multi:softprob", rows).astype(int)]
    model = lightgbm.LGBMClassifier(n_estimators=5, verbosity=-1, n_jobs=1).fit(rows, words)
    sealed = seal_here(tmp_path, model, rows)
    assert sealed.manifest.classes == tuple(model.classes_) == sealed.manifest.policy.outcomes
    found = np.array(scores_of(tmp_path, plain(rows)))
    assert found == pytest.approx(model.predict_proba(rows), rel=1e-12)


def test_categories_that_are_integers_stay_integers(tmp_path: Path) -> None:
    rows = frame().assign(k=np.random.default_rng(1).integers(0, 5, 300))
    data = lightgbm.Dataset(rows, targets("binary:logistic", rows), categorical_feature=["k"])
    booster = lightgbm.train({"objective": "binary", "verbosity": -1, "num_threads": 1}, data, 5)
    sealed = seal_here(tmp_path, booster, rows)
    assert sealed.manifest.schema.fields[3].type == "integer"
    found = np.array(scores_of(tmp_path, plain(rows)))[:, 0]
    assert found == pytest.approx(booster.predict(rows), rel=1e-12)


def test_a_model_without_names_takes_those_of_the_reference(tmp_path: Path) -> None:
    rows = frame()
    data = lightgbm.Dataset(rows.to_numpy(), targets("reg:squarederror", rows))
    booster = lightgbm.train({"objective": "regression", "verbosity": -1, "num_threads": 1}, data, 3)
    assert seal_here(tmp_path, booster, rows).manifest.schema.names == ("a", "b", "c")


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"objective": "lambdarank"}, "objective 'lambdarank' is not supported"),
        ({"objective": "cross_entropy_lambda"}, "objective 'cross_entropy_lambda' is not supported"),
        ({"objective": "binary", "sigmoid": 2.0}, "with sigmoid = 1"),
        ({"objective": "regression", "reg_sqrt": True}, "without reg_sqrt"),
        ({"objective": "binary", "boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5}, "boosting = rf"),
    ],
    ids=lambda given: str(given),
)
def test_what_no_link_computes_is_refused(tmp_path: Path, parameters: dict[str, Any], reason: str) -> None:
    rows = frame()
    labels = targets("binary:logistic", rows)
    data = lightgbm.Dataset(rows, labels, group=[len(rows)] if "rank" in parameters["objective"] else None)
    booster = lightgbm.train({"verbosity": -1, "num_threads": 1, **parameters}, data, 3)
    with pytest.raises(SealRefused, match=reason):
        seal_here(tmp_path, booster, rows)


def test_a_mix_of_words_and_integers_as_categories_is_refused(tmp_path: Path) -> None:
    rows = frame(categories=True).assign(n=np.random.default_rng(1).integers(0, 5, 300))
    data = lightgbm.Dataset(rows, targets("binary:logistic", rows), categorical_feature=["k", "n"])
    booster = lightgbm.train({"objective": "binary", "verbosity": -1, "num_threads": 1}, data, 3)
    with pytest.raises(SealRefused, match="splits 2 features by category and keeps the words of 1"):
        seal_here(tmp_path, booster, rows)


def test_other_categories_than_the_models_are_refused(tmp_path: Path) -> None:
    booster, rows = small_lightgbm(categories=True)
    with pytest.raises(SchemaError, match="not the model's"):
        seal_here(tmp_path, booster, rows, schema={"k": {"categories": ["green", "red", "blue"]}})


@pytest.mark.parametrize("share", (0.0, 0.01, 0.5, 0.999))
def test_part_of_a_file_is_refused(tmp_path: Path, share: float) -> None:
    booster, rows = small_lightgbm()
    raw = booster.model_to_string().encode()
    (tmp_path / "model.txt").write_bytes(raw[: int(raw.index(b"end of parameters") * share)])
    with pytest.raises(SealRefused, match="is not a model text that lightgbm"):
        seal_here(tmp_path, tmp_path / "model.txt", rows)


@pytest.mark.parametrize(
    "raw", (b"garbage", b"tree\n", b"\xff\xfe", b"tree\nversion=v4\n\nTree=0\nend of trees\n"), ids=repr
)
def test_a_file_that_is_no_model_is_refused(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "model.txt").write_bytes(raw)
    with pytest.raises(SealRefused, match="is not a model text"):
        seal_here(tmp_path, tmp_path / "model.txt", frame())


def test_a_file_that_is_not_there_is_not_found_and_another_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no model file"):
        seal_here(tmp_path, tmp_path / "none.txt", frame())
    with pytest.raises(SealRefused, match="nothing is unpickled"):
        seal_here(tmp_path, tmp_path / "model.pkl", frame())


def test_an_estimator_that_is_not_fitted_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SealRefused, match="not a fitted LightGBM model"):
        seal_here(tmp_path, lightgbm.LGBMClassifier(), frame())


def test_a_column_with_a_space_keeps_its_name(tmp_path: Path) -> None:
    """LightGBM keeps `my_col`; callers send what the training rows had."""
    rows = frame().rename(columns={"a": "my col"})
    model = lightgbm.LGBMClassifier(n_estimators=3, verbosity=-1).fit(rows, targets("binary:logistic", frame()))
    sealed = seal(model, name="m", output="p", reference=rows, key=keys(tmp_path)[0], out=tmp_path / "m-1")
    assert sealed.manifest.schema.names == ("my col", "b", "c")
