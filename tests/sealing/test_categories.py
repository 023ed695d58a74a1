"""Categories: every word becomes the code the model was trained with, or the model is not sealed."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xgboost

from models import Array, keys, library_margins, opened, same_bits
from scoreline.core.batch import Context
from scoreline.core.errors import SchemaError, SealRefused
from scoreline.core.rows import read_rows
from scoreline.engines.load import load_engine
from scoreline.sealing import seal
from scoreline.sealing.seal import Sealed

PARAMETERS = {"objective": "binary:logistic", "nthread": 1, "max_depth": 4}


def rows_of(words: list[Any], n_rows: int = 300, dtype: str | None = None) -> pd.DataFrame:
    """A number and a category whose codes are in the order of `words`."""
    rng = np.random.default_rng(3)
    found = pd.Categorical.from_codes(rng.integers(0, len(words), n_rows), pd.Index(words, dtype=dtype))
    return pd.DataFrame({"a": rng.normal(size=n_rows), "k": found})


def labels_of(rows: pd.DataFrame) -> Array:
    """Depends on the code, so that no two categories are alike to the model."""
    rng = np.random.default_rng(4)
    odds = rows["k"].cat.codes.to_numpy() % 3 - 1 + rows["a"].to_numpy()
    return (odds + rng.normal(size=len(rows)) * 0.2 > 0).astype(float)


def trained_on_frame(rows: pd.DataFrame, **parameters: Any) -> xgboost.Booster:
    matrix = xgboost.DMatrix(rows, labels_of(rows), enable_categorical=True)
    return xgboost.train({**PARAMETERS, **parameters}, matrix, 6)


def trained_on_codes(rows: pd.DataFrame) -> xgboost.Booster:
    """A model that knows `k` is categorical, but not with which words."""
    values = np.column_stack([rows["a"], rows["k"].cat.codes]).astype(float)
    matrix = xgboost.DMatrix(
        values, labels_of(rows), feature_names=["a", "k"], feature_types=["q", "c"], enable_categorical=True
    )
    return xgboost.train(PARAMETERS, matrix, 6)


def seal_here(folder: Path, model: object, reference: object, **options: Any) -> Sealed:
    return seal(
        model, name="m", output="score", reference=reference, key=keys(folder)[0], out=folder / "m-1", **options
    )


def check_words(folder: Path, booster: xgboost.Booster, words: list[Any]) -> None:
    """A caller who sends word number i gets what the library answers for code i."""
    bundle = opened(folder / "m-1")
    rows = [{"a": a, "k": word} for word in words for a in (-1.0, 0.0, 1.0)]
    batch = read_rows(bundle.manifest.schema, rows, Context(0))
    coded = np.array([[a, code] for code in range(len(words)) for a in (-1.0, 0.0, 1.0)])
    margins = load_engine(bundle).predict(batch.values)
    assert same_bits(margins, library_margins(booster, coded))
    assert len(np.unique(margins)) > 1


@pytest.mark.parametrize(
    ("words", "dtype"),
    [
        (["b", "a", "c"], None),
        (["one, two", 'say "no"', "a:b", "", " "], None),
        ([f"word {number}" for number in range(80)], None),
        (["only"], None),
        ([30, -10, 20], "int64"),
        ([7, 5, 300], "int32"),
        ([3, -1, 2], "int8"),
        ([200, 1, 3], "uint8"),
    ],
    ids=["order", "odd characters", "many", "one", "int64", "int32", "int8", "uint8"],
)
def test_every_word_is_the_code_it_was_trained_as(tmp_path: Path, words: list[Any], dtype: str | None) -> None:
    rows = rows_of(words, dtype=dtype)
    booster = trained_on_frame(rows)
    sealed = seal_here(tmp_path, booster, rows)
    field = sealed.manifest.schema.fields[1]
    assert (field.type, field.categories) == ("category", tuple(words))
    if len(words) > 1:
        check_words(tmp_path, booster, words)


@pytest.mark.parametrize("kind", ["gbtree", "dart"])
def test_sets_of_categories_are_kept(tmp_path: Path, kind: str) -> None:
    """Beyond `max_cat_to_onehot` a split is a set of categories."""
    words = [f"word {number}" for number in range(40)]
    rows = rows_of(words, 1000)
    booster = trained_on_frame(rows, max_cat_to_onehot=1, booster=kind)
    seal_here(tmp_path, booster, rows)
    check_words(tmp_path, booster, words)


BEYOND_ASCII = ["naïve", "b", "日本", "größer", "🙂 ok", "c"]


def test_words_beyond_ascii_are_taken_from_the_reference(tmp_path: Path) -> None:
    """XGBoost 3.2 keeps them cut; the reference has them whole, and what is kept tells whether it is right."""
    rows = rows_of(BEYOND_ASCII)
    booster = trained_on_frame(rows)
    sealed = seal_here(tmp_path, booster, rows)
    assert sealed.manifest.schema.fields[1].categories == tuple(BEYOND_ASCII)
    check_words(tmp_path, booster, BEYOND_ASCII)


def test_words_beyond_ascii_are_taken_from_the_schema(tmp_path: Path) -> None:
    rows = rows_of(BEYOND_ASCII)
    booster = trained_on_frame(rows)
    plain = rows.assign(k=rows["k"].astype(str))
    with pytest.raises(SealRefused, match=r"list them in schema\.toml in the order of training"):
        seal_here(tmp_path, booster, plain)
    seal_here(tmp_path, booster, plain, schema={"k": {"categories": BEYOND_ASCII}})
    check_words(tmp_path, booster, BEYOND_ASCII)


@pytest.mark.parametrize(
    "words",
    [
        BEYOND_ASCII[::-1],
        [*BEYOND_ASCII[1:], BEYOND_ASCII[0]],
        BEYOND_ASCII[:-1],
        [*BEYOND_ASCII, "d"],
        ["naïvf", *BEYOND_ASCII[1:]],
        [1, 2, 3, 4, 5, 6],
    ],
    ids=["backwards", "turned", "one less", "one more", "one changed", "numbers"],
)
def test_words_beyond_ascii_that_are_not_those_of_training_are_refused(tmp_path: Path, words: list[Any]) -> None:
    rows = rows_of(BEYOND_ASCII)
    booster = trained_on_frame(rows)
    with pytest.raises(SchemaError, match="the categories are not the model's, in the order of training"):
        seal_here(tmp_path, booster, rows, schema={"k": {"categories": words}})
    if all(isinstance(word, str) for word in words):
        other = rows.assign(k=pd.Categorical(rows["k"].astype(str), categories=words))
        with pytest.raises(SealRefused, match="the model does not keep the categories of 'k'"):
            seal_here(tmp_path, booster, other)


def test_words_beyond_ascii_that_happen_to_be_cut_between_letters_are_not_believed(tmp_path: Path) -> None:
    """ "éa" and "b" are kept as "é" and "a": words like any other, and wrong."""
    rows = rows_of(["éa", "b"])
    booster = trained_on_frame(rows)
    with pytest.raises(SealRefused, match="reference rows break the schema"):
        seal_here(tmp_path, booster, rows, schema={"k": {"categories": ["é", "a"]}})
    sealed = seal_here(tmp_path, booster, rows)
    assert sealed.manifest.schema.fields[1].categories == ("éa", "b")
    check_words(tmp_path, booster, ["éa", "b"])


@pytest.mark.parametrize("how", ["other order", "text", "fewer", "csv", "parquet"])
def test_reference_may_write_its_categories_in_any_way(tmp_path: Path, how: str) -> None:
    words = ["red", "green", "blue"]
    rows = rows_of(words)
    booster = trained_on_frame(rows)
    reference: Any = {
        "other order": rows.assign(k=rows["k"].cat.reorder_categories(["blue", "red", "green"])),
        "text": rows.assign(k=rows["k"].astype(str)),
        "fewer": rows[rows["k"] != "green"].assign(k=lambda part: part["k"].cat.remove_unused_categories()),
        "csv": tmp_path / "rows.csv",
        "parquet": tmp_path / "rows.parquet",
    }[how]
    rows.to_csv(tmp_path / "rows.csv", index=False)
    rows.to_parquet(tmp_path / "rows.parquet")
    sealed = seal_here(tmp_path, booster, reference)
    assert sealed.manifest.schema.fields[1].categories == tuple(words)
    check_words(tmp_path, booster, words)


def test_missing_category_is_missing_to_the_model(tmp_path: Path) -> None:
    rows = rows_of(["red", "green", "blue"])
    rows.loc[:60, "k"] = None
    matrix = xgboost.DMatrix(rows, labels_of(rows), enable_categorical=True)
    booster = xgboost.train(PARAMETERS, matrix, 6)
    sealed = seal_here(tmp_path, booster, rows)
    field = sealed.manifest.schema.fields[1]
    assert field.nullable
    batch = read_rows(sealed.manifest.schema, [{"a": 0.5, "k": None}], Context(0))
    margins = load_engine(opened(tmp_path / "m-1")).predict(batch.values)
    assert same_bits(margins, library_margins(booster, np.array([[0.5, np.nan]])))


def test_category_the_model_never_saw_is_refused_in_the_reference(tmp_path: Path) -> None:
    rows = rows_of(["red", "green"])
    booster = trained_on_frame(rows)
    strange = pd.DataFrame({"a": [1.0, 2.0], "k": ["red", "violet-secret"]})
    with pytest.raises(SealRefused, match="row 1, field 'k': must be one of the model's 2 categories") as refused:
        seal_here(tmp_path, booster, strange)
    assert "violet-secret" not in str(refused.value)


def test_unseen_category_can_be_declared_missing(tmp_path: Path) -> None:
    rows = rows_of(["red", "green"])
    booster = trained_on_frame(rows)
    strange = pd.DataFrame({"a": [1.0, 2.0], "k": ["red", "violet"]})
    sealed = seal_here(tmp_path, booster, strange, schema={"k": {"unseen": "missing"}})
    batch = read_rows(sealed.manifest.schema, [{"a": 0.5, "k": "violet"}], Context(0))
    margins = load_engine(opened(tmp_path / "m-1")).predict(batch.values)
    assert same_bits(margins, library_margins(booster, np.array([[0.5, np.nan]])))


def test_categories_declared_in_another_order_than_the_model_keeps_are_refused(tmp_path: Path) -> None:
    rows = rows_of(["red", "green", "blue"])
    booster = trained_on_frame(rows)
    with pytest.raises(SchemaError, match="not the model's, in the order of training"):
        seal_here(tmp_path, booster, rows, schema={"k": {"categories": ["green", "red", "blue"]}})
    seal_here(tmp_path, booster, rows, schema={"k": {"categories": ["red", "green", "blue"]}})


def test_model_of_codes_takes_its_words_from_the_schema(tmp_path: Path) -> None:
    words = ["red", "green", "blue"]
    rows = rows_of(words)
    booster = trained_on_codes(rows)
    seal_here(tmp_path, booster, rows.assign(k=rows["k"].astype(str)), schema={"k": {"categories": words}})
    check_words(tmp_path, booster, words)


def test_model_of_codes_can_speak_in_codes(tmp_path: Path) -> None:
    rows = rows_of(["red", "green", "blue"])
    booster = trained_on_codes(rows)
    coded = rows.assign(k=rows["k"].cat.codes.astype(int))
    seal_here(tmp_path, booster, coded, schema={"k": {"categories": [0, 1, 2]}})
    check_words(tmp_path, booster, [0, 1, 2])


@pytest.mark.parametrize("kind", ["text", "codes", "dictionary"])
def test_model_of_codes_without_words_is_refused(tmp_path: Path, kind: str) -> None:
    """A dictionary has words in an order, but nothing says that it is the order of training."""
    rows = rows_of(["red", "green", "blue"])
    booster = trained_on_codes(rows)
    columns = {"text": rows["k"].astype(str), "codes": rows["k"].cat.codes.astype(int), "dictionary": rows["k"]}
    plain = rows.assign(k=columns[kind])
    with pytest.raises(SealRefused, match="the model does not keep the categories of 'k'"):
        seal_here(tmp_path, booster, plain)
