"""Sealed XGBoost models against XGBoost itself, on rows the seal has never seen."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xgboost

from models import (
    OBJECTIVES,
    WORDS,
    Array,
    codes,
    frame,
    keys,
    library_margins,
    library_scores,
    opened,
    same_bits,
    sealed_bundle,
    small_model,
    targets,
    train,
    ulps,
)
from scoreline.core.errors import NotFound, SealRefused
from scoreline.core.link import LINKS
from scoreline.engines.load import load_engine
from scoreline.sealing import seal
from scoreline.sealing.seal import Sealed


def seal_here(folder: Path, model: object, reference: object, **options: Any) -> Sealed:
    return seal(
        model, name="m", output="score", reference=reference, key=keys(folder)[0], out=folder / "m-1", **options
    )


def margins_of(folder: Path, values: Array) -> Array:
    """What the sealed engine answers in bulk; each row alone must have the same bits."""
    engine = load_engine(opened(folder / "m-1"))
    together = engine.predict(values)
    alone = np.concatenate([engine.predict(values[row : row + 1]) for row in range(0, len(values), 7)])
    assert same_bits(alone, together[::7])
    return together


def scores_of(folder: Path, values: Array) -> Array:
    return LINKS[opened(folder / "m-1").manifest.link](margins_of(folder, values))


def fresh(n_rows: int = 400, *, categories: bool = False) -> Array:
    """Coded rows unlike the reference: another seed, wider, and a third of all values missing."""
    values = codes(frame(n_rows, seed=99, categories=categories))
    rng = np.random.default_rng(99)
    values[:, :3] *= rng.choice([1.0, 1.0, 3.0, 1e-30, 1e30], (n_rows, 3))
    values[rng.random(values.shape) < 0.33] = np.nan
    return values


# Every objective, every booster ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("categories", [False, True], ids=["numbers", "categories"])
@pytest.mark.parametrize("kind", ["gbtree", "dart", "gblinear"])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_margins_have_the_trainers_bits_and_scores_lie_within_4_ulp(
    tmp_path: Path, objective: str, kind: str, categories: bool
) -> None:
    if kind == "gblinear" and categories:
        with pytest.raises(xgboost.core.XGBoostError, match="doesn't support categorical"):
            small_model(objective, categories=True, booster=kind)
        return
    parameters = {"rate_drop": 0.3} if kind == "dart" else {}
    booster, rows = small_model(objective, categories=categories, booster=kind, **parameters)
    seal_here(tmp_path, booster, rows)
    values = fresh(categories=categories)
    if kind == "gblinear":
        values = np.clip(values, -1e4, 1e4)  # its margins are sums of these
    margins = margins_of(tmp_path, values)
    assert same_bits(margins, library_margins(booster, values))
    scores, theirs = scores_of(tmp_path, values), library_scores(booster, values)
    if objective == "multi:softmax":
        assert (scores.argmax(axis=1) == theirs[:, 0]).all()
    else:
        assert ulps(scores, theirs) <= 4


@pytest.mark.parametrize("categories", [False, True], ids=["numbers", "categories"])
@pytest.mark.parametrize("kind", ["gbtree", "dart", "gblinear"])
def test_lineage_says_why_single_rows_have_no_engine_of_their_own(tmp_path: Path, kind: str, categories: bool) -> None:
    if kind == "gblinear" and categories:
        return
    booster, rows = small_model(categories=categories, booster=kind)
    sealed = seal_here(tmp_path, booster, rows)
    kinds = [engine.kind for engine in sealed.manifest.engines]
    if kind == "gbtree" and not categories:
        assert kinds == ["onnx", "xgboost"]
        assert sealed.manifest.lineage["twin"] == "onnx"
        assert set(sealed.manifest.files) == {"model.onnx", "model.ubj", "profile.json", "golden.json"}
    else:
        assert kinds == ["xgboost"]
        assert set(sealed.manifest.files) == {"model.ubj", "profile.json", "golden.json"}
        reasons = {"dart": "DART weighs", "gblinear": "no trees", "gbtree": "categorical splits"}
        assert reasons[kind] in sealed.manifest.lineage["twin"]
        assert sealed.twin_reason == sealed.manifest.lineage["twin"]


def test_category_that_no_tree_splits_on_still_has_a_twin(tmp_path: Path) -> None:
    rows = frame(categories=True)
    rows["k"] = pd.Categorical(["red"] * len(rows), categories=WORDS)
    booster = train(rows)
    sealed = seal_here(tmp_path, booster, rows)
    assert [engine.kind for engine in sealed.manifest.engines] == ["onnx", "xgboost"]
    values = fresh(categories=True)
    assert same_bits(margins_of(tmp_path, values), library_margins(booster, values))


@pytest.mark.parametrize(
    ("objective", "parameters"),
    [
        ("binary:logistic", {"scale_pos_weight": 7.0}),
        ("binary:logistic", {"base_score": 0.03}),
        ("binary:logistic", {"num_parallel_tree": 4, "subsample": 0.5}),
        ("reg:squarederror", {"base_score": -123456.789}),
        ("reg:squarederror", {"base_score": 1e-30}),
        ("reg:tweedie", {"tweedie_variance_power": 1.2, "base_score": 3.0}),
        ("count:poisson", {"max_delta_step": 0.0, "base_score": 0.01}),
        ("multi:softprob", {"base_score": [0.1, 0.2, 0.7]}),
        ("multi:softprob", {"num_parallel_tree": 3, "subsample": 0.5}),
        ("multi:softprob", {"multi_strategy": "multi_output_tree"}),
        ("binary:logistic", {"max_depth": 0, "max_leaves": 9, "grow_policy": "lossguide"}),
        ("binary:logistic", {"tree_method": "exact"}),
        ("binary:logistic", {"tree_method": "approx", "max_bin": 8}),
        ("binary:logistic", {"booster": "dart", "normalize_type": "forest", "rate_drop": 0.5, "one_drop": 1}),
        ("multi:softprob", {"booster": "dart", "rate_drop": 0.5, "num_parallel_tree": 2}),
        ("reg:squarederror", {"booster": "gblinear", "updater": "coord_descent", "feature_selector": "greedy"}),
        ("binary:logistic", {"reg_lambda": 1000.0, "eta": 0.001}),
        ("binary:logistic", {"monotone_constraints": "(1,0,-1)"}),
    ],
    ids=lambda given: given if isinstance(given, str) else ",".join(given),
)
def test_parameters_of_training_do_not_change_what_holds(
    tmp_path: Path, objective: str, parameters: dict[str, Any]
) -> None:
    booster, rows = small_model(objective, **parameters)
    seal_here(tmp_path, booster, rows)
    values = fresh()
    if parameters.get("booster") == "gblinear":
        values = np.clip(values, -1e4, 1e4)
    assert same_bits(margins_of(tmp_path, values), library_margins(booster, values))
    assert ulps(scores_of(tmp_path, values), library_scores(booster, values)) <= 4


def test_vector_leaves_are_counted_and_have_no_twin(tmp_path: Path) -> None:
    booster, rows = small_model("multi:softprob", multi_strategy="multi_output_tree")
    sealed = seal_here(tmp_path, booster, rows)
    assert sealed.manifest.lineage["trees"] == 8
    assert sealed.twin_reason == "trees with vector leaves"


def test_model_sure_of_its_classes_is_sealed(tmp_path: Path) -> None:
    booster, rows = small_model("multi:softprob", rounds=150, max_depth=6)
    seal_here(tmp_path, booster, rows)
    values = fresh(3000)
    margins = margins_of(tmp_path, values)
    assert np.ptp(margins, axis=1).max() > 8
    assert ulps(scores_of(tmp_path, values), library_scores(booster, values)) <= 4


def test_model_of_no_rounds_answers_its_base_score(tmp_path: Path) -> None:
    booster, rows = small_model(rounds=0, base_score=0.25)
    seal_here(tmp_path, booster, rows)
    assert scores_of(tmp_path, fresh())[:, 0] == pytest.approx(0.25)


# Where models come from -----------------------------------------------------------------------------------------------


def classifier(rows: pd.DataFrame) -> xgboost.XGBClassifier:
    return xgboost.XGBClassifier(n_estimators=6, max_depth=3, n_jobs=1).fit(rows, targets("binary:logistic", rows))


@pytest.mark.parametrize("suffix", [".ubj", ".json"])
@pytest.mark.parametrize("as_text", [False, True], ids=["Path", "str"])
def test_files_booster_and_estimator_make_the_same_bundle(tmp_path: Path, suffix: str, as_text: bool) -> None:
    rows = frame()
    estimator = classifier(rows)
    file = tmp_path / f"trained{suffix}"
    estimator.save_model(file)
    values = fresh()
    wanted = library_margins(estimator.get_booster(), values)
    found = {}
    for source in (str(file) if as_text else file, estimator, estimator.get_booster()):
        folder = tmp_path / type(source).__name__
        folder.mkdir()
        sealed = seal_here(folder, source, rows)
        assert same_bits(margins_of(folder, values), wanted)
        found[sealed.manifest.lineage["source"]] = sealed.manifest.files["model.onnx"]
    assert set(found) == {f"trained{suffix}", "XGBClassifier", "Booster"}
    assert len(set(found.values())) == 1


@pytest.mark.parametrize(
    "estimator",
    [xgboost.XGBClassifier, xgboost.XGBRFClassifier, xgboost.XGBRegressor, xgboost.XGBRFRegressor],
)
def test_estimators_score_as_their_own_predict(tmp_path: Path, estimator: Callable[..., Any]) -> None:
    rows = frame()
    fitted = estimator(n_estimators=6, max_depth=3, n_jobs=1).fit(rows, targets("binary:logistic", rows))
    seal_here(tmp_path, fitted, rows)
    asked = frame(200, seed=5)
    theirs = fitted.predict_proba(asked)[:, 1] if hasattr(fitted, "predict_proba") else fitted.predict(asked)
    assert ulps(scores_of(tmp_path, codes(asked))[:, 0], theirs) <= 4


def test_classes_of_an_estimator_score_as_its_own_predict_proba(tmp_path: Path) -> None:
    rows = frame()
    fitted = xgboost.XGBClassifier(n_estimators=20, n_jobs=1).fit(rows, targets("multi:softprob", rows))
    sealed = seal_here(tmp_path, fitted, rows, classes=["low", "mid", "high"])
    assert sealed.manifest.classes == ("low", "mid", "high")
    asked = frame(300, seed=5)
    assert ulps(scores_of(tmp_path, codes(asked)), fitted.predict_proba(asked)) <= 4


def test_model_trained_without_names_takes_those_of_the_reference(tmp_path: Path) -> None:
    rows = frame()
    matrix = xgboost.DMatrix(rows.to_numpy(), targets("binary:logistic", rows))
    booster = xgboost.train({"objective": "binary:logistic", "nthread": 1}, matrix, 5)
    sealed = seal_here(tmp_path, booster, rows)
    assert sealed.manifest.schema.names == ("a", "b", "c")


def test_model_trained_without_names_needs_a_reference_of_its_features_alone(tmp_path: Path) -> None:
    rows = frame()
    matrix = xgboost.DMatrix(rows.to_numpy(), targets("binary:logistic", rows))
    booster = xgboost.train({"objective": "binary:logistic", "nthread": 1}, matrix, 5)
    assert "has 4 columns for its 3 features" in refusal(tmp_path, booster, rows.assign(label=1.0))


def test_sealing_leaves_the_model_as_it_was(tmp_path: Path) -> None:
    rows = frame()
    booster = train(rows, nthread=2)
    booster.set_attr(best_iteration="3", note="mine")
    before = (bytes(booster.save_raw("ubj")), booster.attributes(), booster.save_config())
    seal_here(tmp_path, booster, rows)
    assert (bytes(booster.save_raw("ubj")), booster.attributes(), booster.save_config()) == before


def test_custom_objective_is_sealed_as_the_library_itself_predicts_it(tmp_path: Path) -> None:
    """XGBoost forgets an objective of one's own: what is left answers margins, from file as from the estimator."""
    rows = frame()
    labels = targets("reg:squarederror", rows)

    def squares(predicted: Array, matrix: xgboost.DMatrix) -> tuple[Array, Array]:
        return predicted - matrix.get_label(), np.ones_like(predicted)

    booster = xgboost.train({"nthread": 1}, xgboost.DMatrix(rows, labels), 5, obj=squares)
    seal_here(tmp_path, booster, rows)
    values = fresh()
    assert same_bits(scores_of(tmp_path, values), library_scores(booster, values).astype(np.float64))


# Early stopping -------------------------------------------------------------------------------------------------------


def stopped_early(**parameters: Any) -> xgboost.XGBClassifier:
    """A classifier whose best iteration lies well before its last."""
    rows = frame(600)
    labels = targets(parameters.pop("labels", "binary:logistic"), rows)
    labels[::4] = labels[::-4]
    estimator = xgboost.XGBClassifier(
        n_estimators=60,
        early_stopping_rounds=10,
        learning_rate=0.6,
        max_depth=5,
        n_jobs=1,
        random_state=0,
        **parameters,
    )
    estimator.fit(rows[:300], labels[:300], eval_set=[(rows[300:], labels[300:])], verbose=False)
    assert estimator.best_iteration + 1 < estimator.get_booster().num_boosted_rounds()
    return estimator


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"labels": "multi:softprob"},
        {"num_parallel_tree": 3, "subsample": 0.7},
        {"labels": "multi:softprob", "num_parallel_tree": 2, "subsample": 0.7},
        {"booster": "dart", "rate_drop": 0.2},
    ],
    ids=lambda given: ",".join(given) or "plain",
)
def test_early_stopping_keeps_the_best_iteration(tmp_path: Path, parameters: dict[str, Any]) -> None:
    estimator = stopped_early(**parameters)
    asked = frame(300, seed=5)
    sealed = seal_here(tmp_path, estimator, frame())
    kept = estimator.best_iteration + 1
    assert sealed.manifest.lineage["iterations"] == f"best ({kept})"
    matrix = xgboost.DMatrix(asked)
    wanted = estimator.get_booster().predict(matrix, output_margin=True, iteration_range=(0, kept))
    assert same_bits(margins_of(tmp_path, codes(asked)), wanted.astype(np.float64).reshape(300, -1))
    scores = scores_of(tmp_path, codes(asked))
    theirs = estimator.predict_proba(asked)
    assert ulps(scores, theirs if scores.shape[1] > 1 else theirs[:, 1:]) <= 4


def test_all_iterations_are_kept_when_asked_for(tmp_path: Path) -> None:
    estimator = stopped_early()
    booster = estimator.get_booster()
    sealed = seal_here(tmp_path, estimator, frame(), iterations="all")
    assert sealed.manifest.lineage["iterations"] == "all"
    assert sealed.manifest.lineage["trees"] == booster.num_boosted_rounds()
    values = fresh()
    wanted = booster.predict(xgboost.DMatrix(values, feature_names=["a", "b", "c"]), output_margin=True)
    assert same_bits(margins_of(tmp_path, values), wanted.astype(np.float64)[:, None])


def test_best_iteration_is_kept_from_a_file_too(tmp_path: Path) -> None:
    estimator = stopped_early()
    estimator.save_model(tmp_path / "model.ubj")
    sealed = seal_here(tmp_path, tmp_path / "model.ubj", frame())
    assert sealed.manifest.lineage["trees"] == estimator.best_iteration + 1


def test_early_stopping_of_a_linear_model_keeps_its_weights(tmp_path: Path) -> None:
    """A linear booster has no iterations to go back to: XGBoost's own predict uses the last weights too."""
    rows = frame(600).fillna(0.0)
    labels = targets("binary:logistic", rows)
    estimator = xgboost.XGBClassifier(booster="gblinear", n_estimators=50, early_stopping_rounds=2, n_jobs=1)
    estimator.fit(rows[:300], labels[:300], eval_set=[(rows[300:], labels[300:])], verbose=False)
    ranges = {name: {"range": [-1e6, 1e6]} for name in rows}
    seal_here(tmp_path, estimator, rows, schema=ranges)
    asked = frame(200, seed=5).fillna(0.0)
    assert ulps(scores_of(tmp_path, codes(asked))[:, 0], estimator.predict_proba(asked)[:, 1]) <= 4


# Refusals -------------------------------------------------------------------------------------------------------------


def refusal(tmp_path: Path, model: object, reference: object = None) -> str:
    """The reason a model is not sealed, once nothing is found to be left behind."""
    before = sorted(tmp_path.iterdir())
    with pytest.raises(SealRefused) as refused:
        seal_here(tmp_path, model, frame() if reference is None else reference)
    assert sorted(tmp_path.iterdir()) in (before, sorted({*before, *keys(tmp_path)}))
    return str(refused.value)


@pytest.mark.parametrize(
    ("objective", "parameters"),
    [
        ("rank:pairwise", {}),
        ("rank:ndcg", {}),
        ("survival:cox", {}),
        ("binary:hinge", {}),
        ("reg:quantileerror", {"quantile_alpha": 0.5}),
    ],
)
def test_objective_without_a_known_link_is_refused_by_name(
    tmp_path: Path, objective: str, parameters: dict[str, Any]
) -> None:
    rows = frame()
    labels = targets("binary:logistic", rows)
    booster = xgboost.train({"objective": objective, "nthread": 1, **parameters}, xgboost.DMatrix(rows, labels), 3)
    reason = refusal(tmp_path, booster)
    assert f"objective '{objective}' is not supported" in reason
    assert "binary:logistic" in reason


@pytest.mark.parametrize("strategy", ["one_output_per_tree", "multi_output_tree"])
def test_two_targets_are_refused(tmp_path: Path, strategy: str) -> None:
    rows = frame()
    labels = np.column_stack([rows["c"], -rows["c"]])
    matrix = xgboost.DMatrix(rows, labels)
    booster = xgboost.train({"nthread": 1, "multi_strategy": strategy}, matrix, 3)
    assert refusal(tmp_path, booster) == "the model has 2 targets; seal one model per target"


def test_other_mark_for_missing_values_is_refused(tmp_path: Path) -> None:
    rows = frame().fillna(-999.0)
    estimator = xgboost.XGBClassifier(n_estimators=3, missing=-999.0).fit(rows, targets("binary:logistic", rows))
    assert "another mark for missing values than NaN" in refusal(tmp_path, estimator)


def test_estimator_that_is_not_fitted_is_refused(tmp_path: Path) -> None:
    assert "is not fitted" in refusal(tmp_path, xgboost.XGBClassifier())


@pytest.mark.parametrize("name", ["model.pkl", "model.joblib", "model.bin", "model", "model.UBJ.pickle"])
def test_nothing_is_unpickled(tmp_path: Path, name: str) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (pytest.fail, ("it was unpickled",))

    import pickle

    (tmp_path / name).write_bytes(pickle.dumps(Bomb()))
    assert "nothing is unpickled" in refusal(tmp_path, tmp_path / name)


@pytest.mark.parametrize("model", [5, None, object(), {"learner": {}}, b"bytes"], ids=lambda one: type(one).__name__)
def test_what_is_no_model_is_refused(tmp_path: Path, model: object) -> None:
    assert "nor a path to one" in refusal(tmp_path, model)


@pytest.mark.parametrize("suffix", [".ubj", ".json"])
@pytest.mark.parametrize("raw", [b"garbage", b"{}", b'{"learner": 1}', b"{L"], ids=repr)
def test_file_that_is_no_model_is_refused(tmp_path: Path, suffix: str, raw: bytes) -> None:
    (tmp_path / f"model{suffix}").write_bytes(raw)
    assert "is not a model that xgboost" in refusal(tmp_path, tmp_path / f"model{suffix}")


@pytest.mark.parametrize("suffix", [".ubj", ".json"])
def test_empty_file_is_refused_rather_than_ending_the_process(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"model{suffix}").touch()
    assert refusal(tmp_path, tmp_path / f"model{suffix}") == f"model{suffix} is empty"


@pytest.mark.parametrize("share", [0.01, 0.5, 0.999])
@pytest.mark.parametrize("suffix", [".ubj", ".json"])
def test_half_a_file_is_refused(tmp_path: Path, suffix: str, share: float) -> None:
    booster, _ = small_model()
    raw = bytes(booster.save_raw(suffix[1:]))
    for named in (suffix, ".json"):  # whatever it is called, it is read by what it holds
        (tmp_path / f"model{named}").write_bytes(raw[: int(len(raw) * share)])
        assert "is not a model that xgboost" in refusal(tmp_path, tmp_path / f"model{named}")
    assert "is not a model that xgboost" in refusal(tmp_path, tmp_path / f"model{suffix}")


def test_file_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no model file at"):
        seal_here(tmp_path, tmp_path / "none.ubj", frame())


def test_margins_beyond_float32_at_the_ends_of_the_ranges_ask_for_a_range(tmp_path: Path) -> None:
    rows = frame().fillna(0.0) / 1000
    booster = train(rows, "reg:squarederror", booster="gblinear", eta=1.0, rounds=50)
    weights = json.loads(booster.save_raw("json"))["learner"]["gradient_booster"]["model"]["weights"]
    assert max(map(abs, weights)) > 2
    assert "declare a range in schema.toml" in refusal(tmp_path, booster, rows)
    ranges = {name: {"range": [-1e6, 1e6]} for name in rows}
    assert seal_here(tmp_path, booster, rows, schema=ranges).manifest.name == "m"


def test_bundle_sealed_through_the_shared_helper_opens(tmp_path: Path) -> None:
    assert opened(sealed_bundle(tmp_path)).manifest.version == "1"
