"""scikit-learn's pipelines on raw columns: what is sealed scores as the pipeline does, or it is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_selection import SelectKBest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    RobustScaler,
    StandardScaler,
)
from sklearn.svm import SVC

from models import Array, keys, opened, same_bits
from scoreline.core.batch import Context
from scoreline.core.errors import RowsRefused, SealRefused
from scoreline.core.rows import read_rows
from scoreline.core.scorer import Scorer
from scoreline.engines.load import load_engine
from scoreline.sealing import seal
from scoreline.sealing.seal import Sealed
from sklearn_models import ENDINGS, RANGES, raw_rows, small_pipeline


def seal_here(folder: Path, model: object, rows: object, **options: Any) -> Sealed:
    settled = {"name": "m", "output": "score", "reference": rows, "key": keys(folder)[0], "out": folder / "m-1"}
    return seal(model, **{**settled, **options})


def served(folder: Path) -> tuple[Scorer, Any]:
    bundle = opened(folder / "m-1")
    return Scorer(bundle.manifest, load_engine(bundle)), bundle.manifest.schema


def as_sent(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as a caller sends them, raw words and null where something is missing."""
    return [
        {name: None if pd.isna(value) else value for name, value in row.items()}
        for row in rows.astype(object).to_dict("records")
    ]


def scores(folder: Path, rows: pd.DataFrame) -> Array:
    score, schema = served(folder)
    return score(read_rows(schema, as_sent(rows[list(schema.names)]), Context(0))).scores


def trainers(model: Any, rows: pd.DataFrame) -> Array:
    if not hasattr(model, "predict_proba"):
        return np.asarray(model.predict(rows), dtype=np.float64).reshape(len(rows), 1)
    found = model.predict_proba(rows)
    return np.asarray(found[:, 1:] if found.shape[1] == 2 else found, dtype=np.float64)


@pytest.mark.parametrize(
    ("kind", "sparse"),
    [(kind, sparse) for kind in ENDINGS for sparse in (False, True) if kind[:4] != "Hist" or not sparse],
)
def test_raw_rows_have_the_pipelines_own_scores(tmp_path: Path, kind: str, sparse: bool) -> None:
    model, rows = small_pipeline(kind, sparse=sparse)
    sealed = seal_here(tmp_path, model, rows, schema=RANGES)
    fresh = raw_rows(300, seed=5)
    fresh.loc[:20, "colour"] = "never seen"
    found, wanted = scores(tmp_path, fresh), trainers(model, fresh)
    assert np.abs(found - wanted).max() <= 1e-6 * max(1.0, np.abs(wanted).max())
    if sealed.manifest.classes:
        assert np.array_equal(found.argmax(axis=1), wanted.argmax(axis=1))
    library = sealed.manifest.lineage["library"].split()[0]
    assert sealed.parity.exact == (library in ("xgboost", "lightgbm"))
    assert [spec.kind for spec in sealed.manifest.engines] == {
        "xgboost": ["onnx", "xgboost"], "lightgbm": ["lightgbm"], "scikit-learn": ["onnx"]
    }[library]  # fmt: skip


@pytest.mark.parametrize(
    "kind", ["LogisticRegression classes", "RandomForestRegressor", "XGBClassifier", "LGBMClassifier"]
)
def test_a_row_has_the_same_bits_alone_and_in_every_batch(tmp_path: Path, kind: str) -> None:
    model, rows = small_pipeline(kind)
    seal_here(tmp_path, model, rows, schema=RANGES)
    _, schema = served(tmp_path)
    batch = read_rows(schema, as_sent(raw_rows(300, seed=5)), Context(0)).values
    engine = load_engine(opened(tmp_path / "m-1"))
    together = engine.predict(batch)
    assert same_bits(np.concatenate([engine.predict(batch[row : row + 1]) for row in range(300)]), together)
    for size in (2, 3, 7, 63, 64, 65, 128, 299):
        assert same_bits(engine.predict(np.asfortranarray(batch[1 : size + 1])), together[1 : size + 1])


@pytest.fixture(scope="module", params=["LogisticRegression", "RandomForestClassifier", "XGBClassifier"])
def sealed_once(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    folder = tmp_path_factory.mktemp("law")
    model, rows = small_pipeline(request.param)
    seal_here(folder, model, rows, schema={**RANGES, "size": {"nullable": True}})
    return model, folder


@settings(max_examples=60, deadline=None)
@given(
    a=st.none() | st.floats(-1e6, 1e6),
    b=st.floats(0, 1e6),
    colour=st.sampled_from(["red", "green", "größer", "Red", "", "nan", "None"]),
    size=st.sampled_from(["small", "large", None]),
    zone=st.sampled_from([3, 7, 12, 4]),
)
def test_any_row_has_the_pipelines_own_score(sealed_once: tuple[Any, Path], **row: Any) -> None:
    model, folder = sealed_once
    raw = pd.DataFrame([row]).astype({"a": float, "b": float, "size": object})
    raw["size"] = raw["size"].where(raw["size"].notna(), np.nan)
    assert scores(folder, raw) == pytest.approx(trainers(model, raw), rel=1e-6, abs=1e-6)


def words_only(encoder: Any, words: list[Any], estimator: Any | None = None) -> tuple[Any, pd.DataFrame]:
    """A pipeline on one category and one number, whose label depends on the word's place in the list."""
    rng = np.random.default_rng(1)
    codes = rng.integers(0, len(words), 300)
    kind = object if any(isinstance(word, str) for word in words) else int
    rows = pd.DataFrame({"n": rng.normal(size=300), "w": pd.Series([words[code] for code in codes], dtype=kind)})
    step = ColumnTransformer([("w", encoder, ["w"])], remainder="passthrough")
    return make_pipeline(step, estimator or LogisticRegression()).fit(rows, codes % 2), rows


@pytest.mark.parametrize(
    ("encoder", "unseen"),
    [
        (OneHotEncoder(handle_unknown="ignore"), "missing"),
        (OneHotEncoder(handle_unknown="error"), "refuse"),
        (OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=0.26), "missing"),
        (OneHotEncoder(handle_unknown="ignore", drop="first"), "missing"),
        (OneHotEncoder(drop="if_binary"), "refuse"),
        (OneHotEncoder(categories=[["c", "a", "b", "d", "e"]], handle_unknown="ignore"), "missing"),
        (OrdinalEncoder(), "refuse"),
        (OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), "missing"),
        (make_pipeline(SimpleImputer(strategy="constant", fill_value="none"), OneHotEncoder()), "refuse"),
        (make_pipeline(SimpleImputer(strategy="most_frequent"), OrdinalEncoder()), "refuse"),
    ],
    ids=lambda given: str(given).replace("\n", ""),
)
def test_words_never_seen_are_what_they_are_to_the_pipeline_or_refused(
    tmp_path: Path, encoder: Any, unseen: str
) -> None:
    model, rows = words_only(encoder, ["a", "b", "c", "d"])
    sealed = seal_here(tmp_path, model, rows)
    field = sealed.manifest.schema.fields[1]
    assert (field.type, field.unseen) == ("category", unseen)
    asked = pd.DataFrame({"n": [0.5] * 4, "w": ["a", "b", "c", "d"]})
    assert scores(tmp_path, asked) == pytest.approx(trainers(model, asked), abs=1e-12)
    strange = pd.DataFrame({"n": [0.5], "w": ["violet"]})
    if unseen == "refuse":
        with pytest.raises(RowsRefused):
            scores(tmp_path, strange)
    else:
        assert scores(tmp_path, strange) == pytest.approx(trainers(model, strange), abs=1e-12)


@pytest.mark.parametrize("mark", [None, np.nan], ids=str)
@pytest.mark.parametrize(
    "encoder",
    [
        OneHotEncoder(handle_unknown="ignore"),
        OneHotEncoder(),
        OneHotEncoder(drop="first"),
        OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-2, encoded_missing_value=-1),
    ],
    ids=lambda given: str(given).replace("\n", ""),
)
def test_missing_is_the_mark_the_encoder_was_fitted_with(tmp_path: Path, encoder: Any, mark: Any) -> None:
    model, rows = words_only(encoder, ["a", "b", mark, "d"])
    sealed = seal_here(tmp_path, model, rows)
    assert sealed.manifest.schema.fields[1].nullable
    asked = pd.DataFrame({"n": [0.5, 0.5], "w": pd.Series(["a", mark], dtype=object)})
    assert scores(tmp_path, asked) == pytest.approx(trainers(model, asked), abs=1e-12)
    assert sealed.manifest.schema.fields[1].unseen == "refuse"  # it is not what a missing word is


@pytest.mark.parametrize("mark", [None, np.nan], ids=str)
def test_missing_words_are_imputed_by_the_mark_the_imputer_knows(tmp_path: Path, mark: Any) -> None:
    imputer = SimpleImputer(missing_values=mark, strategy="most_frequent")
    model, rows = words_only(make_pipeline(imputer, OneHotEncoder()), ["a", "b", mark, "d"])
    seal_here(tmp_path, model, rows)
    asked = pd.DataFrame({"n": [0.5, 0.5], "w": pd.Series(["a", mark], dtype=object)})
    assert scores(tmp_path, asked) == pytest.approx(trainers(model, asked), abs=1e-12)


def test_whole_numbers_that_are_encoded_are_categories(tmp_path: Path) -> None:
    model, rows = words_only(OneHotEncoder(), [30, -10, 20])
    sealed = seal_here(tmp_path, model, rows)
    assert sealed.manifest.schema.fields[1].categories == (-10, 20, 30)
    asked = pd.DataFrame({"n": [0.5] * 3, "w": [20, 30, -10]})
    assert scores(tmp_path, asked) == pytest.approx(trainers(model, asked), abs=1e-12)


@pytest.mark.parametrize("how", ["drop", "passthrough", "positions", "without names", "bare", "search", "scaled"])
def test_every_way_to_choose_columns(tmp_path: Path, how: str) -> None:
    rows = raw_rows()[["b", "zone"]].astype(float).assign(c=lambda part: part["b"] * 3 - 1)
    target = rows["b"] * 2 + rows["zone"]
    given: Any = rows
    model: Any = make_pipeline(ColumnTransformer([("b", MaxAbsScaler(), ["b"])], remainder="passthrough"), Ridge())
    if how == "drop":
        model = make_pipeline(ColumnTransformer([("b", "passthrough", ["b"]), ("c", "drop", ["c"])]), Ridge())
    elif how == "positions":
        model = make_pipeline(
            ColumnTransformer([("b", RobustScaler(), [0, 2]), ("z", MinMaxScaler(), slice(1, 2))]), Ridge()
        )
    elif how == "without names":
        given, model = rows.to_numpy(), make_pipeline(ColumnTransformer([("b", MaxAbsScaler(), [0])]), Ridge())
    elif how == "bare":
        model = Ridge()
    elif how == "search":
        model = GridSearchCV(model, {"ridge__alpha": [0.1, 1.0]}, cv=2)
    elif how == "scaled":
        model = make_pipeline(
            RobustScaler(with_centering=False), SimpleImputer(), MinMaxScaler(), "passthrough", Ridge()
        )
    model.fit(given, target)
    seal_here(tmp_path, model, rows)
    assert scores(tmp_path, rows) == pytest.approx(trainers(model, given), rel=1e-12)


def test_columns_that_do_not_reach_the_estimator_are_no_fields(tmp_path: Path) -> None:
    """A customer's number and a text that the pipeline drops need not be sent, whatever they hold."""
    rows = raw_rows().assign(customer=[f"no {number}" for number in range(400)])[["customer", "colour", "b", "size"]]
    encoders = [("size", OneHotEncoder(drop="first", min_frequency=1000), ["size"]), ("c", OneHotEncoder(), ["colour"])]
    model = make_pipeline(ColumnTransformer([*encoders, ("b", "passthrough", ["b"])]), LogisticRegression())
    model.fit(rows, rows["b"] > 0.7)
    sealed = seal_here(tmp_path, model, rows)
    assert sealed.manifest.schema.names == ("colour", "b")
    assert scores(tmp_path, rows) == pytest.approx(trainers(model, rows), abs=1e-12)


def refusal(folder: Path, model: object, rows: object, **options: Any) -> str:
    with pytest.raises(SealRefused) as refused:
        seal_here(folder, model, rows, **options)
    assert not (folder / "m-1").exists()
    return str(refused.value)


def test_what_cannot_be_sealed_says_why(tmp_path: Path) -> None:
    rows = raw_rows()[["b"]].assign(c=1.0, d=lambda part: part["b"] ** 2)
    target = (rows["b"] > 0.7).astype(int)
    for model, said in (
        (make_pipeline(SelectKBest(k=1), Ridge()), "SelectKBest cannot be sealed inside a pipeline"),
        (SVC(), "SVC cannot be sealed"),
        (make_pipeline(MinMaxScaler(clip=True), Ridge()), "fit it without"),
        (make_pipeline(MinMaxScaler()), "neither a classifier nor a regressor"),
        (
            make_pipeline(ColumnTransformer([("b", "passthrough", ["b"])], transformer_weights={"b": 2}), Ridge()),
            "weigh",
        ),
    ):
        assert said in refusal(tmp_path, model.fit(rows, target), rows)
    assert "one class only" in refusal(tmp_path, RandomForestClassifier(2).fit(rows, target * 0), rows)
    assert "several targets" in refusal(tmp_path, Ridge().fit(rows, rows), rows)
    assert "is not fitted" in refusal(tmp_path, make_pipeline(MinMaxScaler(), Ridge()), rows)


def test_own_categories_of_histogram_boosting_are_refused(tmp_path: Path) -> None:
    rows = raw_rows()[["zone", "b"]]
    model = HistGradientBoostingClassifier(max_iter=3, categorical_features=["zone"]).fit(rows, rows["b"] > 0.7)
    assert "encode them in the pipeline" in refusal(tmp_path, model, rows)


def test_both_marks_for_missing_are_refused(tmp_path: Path) -> None:
    model, rows = words_only(OneHotEncoder(), ["a", None, np.nan, "d"])
    assert "both None and NaN" in refusal(tmp_path, model, rows)


def test_missing_where_the_pipeline_raises_is_refused_at_sealing_and_at_the_door(tmp_path: Path) -> None:
    rows = raw_rows()[["a", "b"]]
    whole = rows.dropna()
    model = Ridge().fit(whole, whole["b"])
    assert "takes no missing value in 'a'" in refusal(tmp_path, model, rows)
    assert "takes no missing value in 'b'" in refusal(tmp_path, model, whole, schema={"b": {"default": np.nan}})
    seal_here(tmp_path, model, whole)
    with pytest.raises(RowsRefused):
        scores(tmp_path, rows)


def test_a_word_never_seen_cannot_be_declared_missing_where_the_pipeline_holds_them_apart(tmp_path: Path) -> None:
    model, rows = words_only(OneHotEncoder(handle_unknown="ignore"), ["a", "b", None])
    assert "is not the same as a missing one" in refusal(tmp_path, model, rows, schema={"w": {"unseen": "missing"}})


def test_a_pipeline_that_answers_otherwise_than_its_parts_is_refused(tmp_path: Path) -> None:
    """The gate compares with the pipeline itself, whatever the reader took from its parts."""
    rows = raw_rows()[["b"]]
    model = make_pipeline(MinMaxScaler(), LogisticRegression()).fit(rows, rows["b"] > 0.7)
    own = model.predict_proba
    model.predict_proba = lambda given: own(given) + np.array([0.0, 1e-5])
    assert "from the trainer's own; at most 1e-06" in refusal(tmp_path, model, rows)
    model.predict_proba = lambda given: own(given) + np.array([0.0, 1e-9])
    edge = float(own(rows)[0, 1]) + 5e-10
    assert "have another outcome" in refusal(tmp_path, model, rows, thresholds={"review": edge})
    seal_here(tmp_path, model, rows)


def test_an_estimator_with_a_way_of_its_own_is_refused(tmp_path: Path) -> None:
    class Odd(LogisticRegression):
        """Another type, which may answer otherwise on rows that the gate does not try."""

    rows = raw_rows()[["b"]]
    model = make_pipeline(MinMaxScaler(), Odd()).fit(rows, rows["b"] > 0.7)
    assert "Odd cannot be sealed" in refusal(tmp_path, model, rows)


def test_thresholds_split_forests_scores_as_the_trainer_does(tmp_path: Path) -> None:
    """A forest's scores are multiples of 1 / trees: a threshold on one of them is where rounding would flip."""
    model, rows = small_pipeline("RandomForestClassifier")
    seal_here(tmp_path, model, rows, schema=RANGES, thresholds={"review": 0.35, "decline": 0.5})
    fresh = raw_rows(2000, seed=5)
    score, schema = served(tmp_path)
    outcomes = score(read_rows(schema, as_sent(fresh), Context(0))).outcomes
    assert np.array_equal(outcomes, np.digitize(trainers(model, fresh)[:, 0], [0.35, 0.5]))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("kind", ["RandomForestClassifier", "XGBClassifier"])
def test_what_rounds_to_float32_behind_a_scaler_needs_ranges(tmp_path: Path, kind: str) -> None:
    """The trainer's own library raises on a value that the scaler makes larger than a float32."""
    rows = raw_rows()[["b"]] / 1000
    model = make_pipeline(StandardScaler(), ENDINGS[kind]()).fit(rows, (rows["b"] > 7e-4).astype(int))
    assert "declare a range in schema.toml" in refusal(tmp_path, model, rows)
    seal_here(tmp_path, model, rows, schema={"b": {"range": [0.0, 1e6]}})
    assert scores(tmp_path, rows) == pytest.approx(trainers(model, rows), abs=1e-6)


def single_precision(kind: str) -> tuple[Any, pd.DataFrame]:
    """A pipeline fitted on float32, where its scaler computes in float32 what a request has in float64."""
    rng = np.random.default_rng(1)
    rows = pd.DataFrame({"a": rng.gamma(2, 300, 1500).round(2), "b": rng.integers(18, 80, 1500)}).astype("float32")
    labels = rng.random(1500) < 0.2 + 0.4 * (rows["a"] > 600)
    return make_pipeline(StandardScaler(), ENDINGS[kind]()).fit(rows, labels), rows


@pytest.mark.parametrize("names", (True, False), ids=("frame", "array"))
@pytest.mark.parametrize("kind", ("XGBClassifier", "RandomForestClassifier"))
def test_a_pipeline_that_computes_in_float32_is_refused(tmp_path: Path, kind: str, names: bool) -> None:
    model, rows = single_precision(kind)
    if not names:
        model.fit(rows.to_numpy(), model.predict(rows))
    rows.to_parquet(tmp_path / "rows.parquet")
    for reference in (rows, tmp_path / "rows.parquet"):
        with pytest.raises(
            SealRefused, match=r"types of the reference \(float32\): \d+ of 1500 rows .* fit it on float64"
        ):
            seal_here(tmp_path, model, reference, schema={name: {"range": [0, 1e6]} for name in "ab"})
    again = model.fit(rows.astype("float64"), model.predict(rows))
    seal_here(tmp_path, again, rows.astype("float64"), schema={name: {"range": [0, 1e6]} for name in "ab"})
    found = scores(tmp_path, rows)
    assert np.abs(found - trainers(again, rows.astype("float64"))).max() <= 1e-6


@pytest.mark.parametrize("kind", ("int32", "uint8", "Int64", "Int32", "UInt8", "boolean", "bool", "Float64"))
def test_whole_numbers_of_any_type_have_the_pipelines_own_scores(tmp_path: Path, kind: str) -> None:
    rows = single_precision("XGBClassifier")[1].round().clip(0, 1 if kind.startswith("bool") else 200)
    model = make_pipeline(StandardScaler(), ENDINGS["XGBClassifier"]())
    typed = rows.astype(dict.fromkeys(rows, kind))
    model.fit(typed, rows["a"] > rows["a"].median() - (rows["b"] > 40))
    seal_here(tmp_path, model, typed)
    found, wanted = scores(tmp_path, typed), trainers(model, typed)
    assert np.abs(found - wanted).max() <= 1e-6


def test_a_float32_reference_is_taken_where_nothing_computes_with_it(tmp_path: Path) -> None:
    _, rows = single_precision("XGBClassifier")
    model = ENDINGS["RandomForestClassifier"]().fit(rows, rows["a"] > 600)
    seal_here(tmp_path, model, rows)
    assert np.abs(scores(tmp_path, rows) - trainers(model, rows)).max() <= 1e-6


@pytest.mark.parametrize("end", ("RandomForestClassifier", "XGBClassifier", "LogisticRegression"))
@pytest.mark.parametrize(
    "encoder", (OneHotEncoder(), OneHotEncoder(drop="first"), OrdinalEncoder(), OneHotEncoder(handle_unknown="ignore"))
)
def test_booleans_in_an_encoder_stay_booleans(tmp_path: Path, encoder: Any, end: str) -> None:
    rows = raw_rows(300).assign(flag=np.random.default_rng(3).random(300) < 0.3)[["b", "flag", "colour"]]
    columns = ColumnTransformer([("words", encoder, ["flag", "colour"])], remainder="passthrough")
    model = make_pipeline(columns, ENDINGS[end]()).fit(rows, (rows["b"] > 1) ^ rows["flag"])
    sealed = seal_here(tmp_path, model, rows, schema={"b": RANGES["b"]})
    assert sealed.manifest.schema.fields[1].type == "boolean"
    assert np.abs(scores(tmp_path, rows) - trainers(model, rows)).max() <= 1e-6


def test_booleans_of_which_only_one_was_seen_are_refused(tmp_path: Path) -> None:
    rows = raw_rows(300).assign(flag=True)[["b", "flag"]]
    columns = ColumnTransformer([("flags", OneHotEncoder(), ["flag"])], remainder="passthrough")
    model = make_pipeline(columns, ENDINGS["XGBClassifier"]()).fit(rows, rows["b"] > 1)
    with pytest.raises(SealRefused, match="cast them to text"):
        seal_here(tmp_path, model, rows, schema={"b": RANGES["b"]})
