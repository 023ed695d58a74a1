"""An explanation adds up to the margin, names at most four reasons in reviewed words, and shows no sensitive value."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pytest
import xgboost

from formats.test_bundle_1 import FOLDERS
from lightgbm_models import small_lightgbm
from models import AnyVerifier, Array, codes, frame, keys, small_model
from onnx_models import NAMES, network
from recorded import decided, golden_rows
from scoreline.core import ids
from scoreline.core.bundle import Bundle, read_bundle
from scoreline.core.decision import Decisions
from scoreline.core.errors import ReplayRefused
from scoreline.engines.load import load_engine
from scoreline.replay.explain import TOLERANCE, Explanation, background_rows, explain
from scoreline.sealing import seal
from sklearn_models import RANGES, raw_rows, small_pipeline

FORMATS = Path(__file__).parents[1] / "formats"
WORDS = {
    "a": {"range": [-1000.0, 1000.0], "reason": "The a is unusual"},
    "b": {"range": [-1000.0, 1000.0], "description": "How much b there is"},
    "c": {"range": [-1000.0, 1000.0], "sensitive": True, "reason": "The c is high"},
}


def sealed_of(folder: Path, model: object, rows: Any, **options: Any) -> Path:
    private, _ = keys(folder)
    return seal(model, name="m", output="score", reference=rows, key=private, out=folder / "m-1", **options).path


def opened(path: Path) -> Bundle:
    return read_bundle(path, AnyVerifier())


def explained(path: Path, decision: Decisions, **options: Any) -> Explanation:
    bundle = opened(path)
    return explain(decision, bundle, load_engine(bundle), **options)


def check_adds_up(found: Explanation) -> None:
    total = found.base + sum(found.contributions.values())
    assert abs(total - found.margin) <= TOLERANCE * max(1.0, abs(found.margin))


@pytest.mark.parametrize("folder", FOLDERS.values())
def test_every_kind_of_bundle_is_explained(folder: str) -> None:
    path = FORMATS / folder / "fraud-1"
    for found in decided(path, golden_rows(path)[:5]):
        explanation = explained(path, found)
        check_adds_up(explanation)
        assert explanation.id == ids.text(found.base)
        assert set(explanation.contributions) == set(found.author.fields)
        own = folder in ("bundle-1", "bundle-1-lightgbm")
        assert explanation.method.name == ("treeshap" if own else "permutations")
        assert (explanation.method.seed is None) == own


MODELS: dict[str, Callable[[], tuple[object, Any]]] = {
    "gbtree": lambda: small_model(),
    "dart": lambda: small_model(booster="dart", rate_drop=0.3),
    "gblinear": lambda: small_model(booster="gblinear"),
    "classes": lambda: small_model("multi:softprob"),
    "LightGBM": lambda: small_lightgbm(),
    "LightGBM linear trees": lambda: small_lightgbm("regression", linear_tree=True),
    "LightGBM classes": lambda: small_lightgbm("multiclass"),
    "booster behind a graph": lambda: small_pipeline("XGBClassifier"),
    "classes behind a graph": lambda: small_pipeline("LGBMClassifier classes"),
    "linear": lambda: small_pipeline("LogisticRegression"),
    "forest": lambda: small_pipeline("RandomForestClassifier classes"),
    "graph as it is": lambda: (network(3, columns=True), frame().fillna(0.0)),
}


@pytest.mark.parametrize("kind", MODELS)
def test_every_kind_of_model_is_explained_on_the_class_it_decided(kind: str, tmp_path: Path) -> None:
    model, rows = MODELS[kind]()
    ranges = {name: WORDS[name] for name in WORDS} if "c" in rows else RANGES
    path = sealed_of(tmp_path, model, rows, schema=ranges)
    for found in decided(path, golden_rows(path)[:6]):
        explanation = explained(path, found)
        check_adds_up(explanation)
        decided_class = int(found.scores[0].argmax())
        assert explanation.output == (found.author.classes or ("score",))[decided_class]
        assert explanation.margin == found.margins[0, decided_class]
    method = explanation.method.name
    own = {"gblinear": "linear", "linear": "permutations", "forest": "permutations", "graph as it is": "permutations"}
    own |= {"LightGBM linear trees": "permutations"}
    assert method == own.get(kind, "treeshap")


def test_xgboosts_are_its_own_treeshap(tmp_path: Path) -> None:
    booster, rows = small_model()
    path = sealed_of(tmp_path, booster, rows)
    values = codes(rows)[:8]
    theirs = booster.predict(xgboost.DMatrix(values, feature_names=list(rows)), pred_contribs=True)
    for found, wanted in zip(decided(path, values), theirs, strict=True):
        explanation = explained(path, found)
        assert [*explanation.contributions.values(), explanation.base] == pytest.approx(wanted.tolist(), abs=1e-6)


def test_lightgbms_are_its_own_treeshap(tmp_path: Path) -> None:
    booster, rows = small_lightgbm()
    path = sealed_of(tmp_path, booster, rows)
    values = codes(rows)[:8]
    for found, wanted in zip(decided(path, values), booster.predict(values, pred_contrib=True), strict=True):
        explanation = explained(path, found)
        assert [*explanation.contributions.values(), explanation.base] == wanted.tolist()


def test_a_pipelines_reasons_are_fields_of_the_request(tmp_path: Path) -> None:
    path = sealed_of(tmp_path, *small_pipeline("LGBMClassifier"), schema=RANGES)
    (found, *_) = decided(path, golden_rows(path)[:1])
    assert list(explained(path, found).contributions) == list(raw_rows())


@pytest.fixture(scope="module")
def worded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sealed_of(tmp_path_factory.mktemp("worded"), *small_model(), schema=WORDS)


def test_reasons_are_the_fields_that_push_to_the_adverse_side_the_largest_first(worded: Path) -> None:
    for found in decided(worded, codes(frame(20, seed=3))):
        for adverse, sign in (("higher", 1), ("lower", -1)):
            explanation = explained(worded, found, adverse=adverse)
            pushing = {name: sign * added for name, added in explanation.contributions.items() if sign * added > 0}
            assert [reason.field for reason in explanation.reasons] == sorted(pushing, key=lambda name: -pushing[name])
            assert explanation.adverse == adverse


def test_reasons_speak_in_reviewed_words_or_say_that_they_do_not(worded: Path) -> None:
    said = {}
    for found in decided(worded, codes(frame(20, seed=3))):
        for reason in explained(worded, found).reasons:
            said[reason.field] = (reason.text, reason.reviewed)
            assert reason.value is None
    assert said == {
        "a": ("The a is unusual", True),
        "b": ("How much b there is", False),
        "c": ("The c is high", True),
    }


def test_values_are_shown_where_asked_for_and_never_of_sensitive_fields(worded: Path) -> None:
    for found in decided(worded, codes(frame(20, seed=3).fillna(1.0))):
        for reason in explained(worded, found, values=True).reasons:
            value = found.values[0, "abc".index(reason.field)]
            assert reason.value == (None if reason.field == "c" else value)


def test_there_are_at_most_four(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = frame().assign(**{f"x{at}": rng.normal(size=300) for at in range(6)}).fillna(0.0)
    labels = (rows.sum(axis=1) > 20).astype(float)
    booster = lightgbm.train({"objective": "binary", "verbosity": -1}, lightgbm.Dataset(rows, labels), 20)
    path = sealed_of(tmp_path, booster, rows)
    counts = {len(explained(path, found).reasons) for found in decided(path, codes(rows)[:20])}
    assert max(counts) == 4


def test_contributions_that_do_not_add_up_to_the_record_are_no_explanation(worded: Path) -> None:
    (found,) = decided(worded, codes(frame(1)))
    for margins in (found.margins + 0.001, found.margins * np.nan):
        with pytest.raises(ReplayRefused, match="do not add up"):
            explained(worded, replace(found, margins=margins))


def test_a_record_that_is_not_of_the_bundle_is_refused(worded: Path) -> None:
    (found,) = decided(worded, codes(frame(1)))
    with pytest.raises(ReplayRefused, match="other fields"):
        explained(worded, replace(found, author=replace(found.author, fields=("x", "y", "z"))))


def test_the_background_is_the_part_of_the_golden_rows_that_came_from_the_reference(tmp_path: Path) -> None:
    rows = frame().fillna(0.25)
    path = sealed_of(tmp_path, network(columns=True), rows[NAMES])
    known = {tuple(row) for row in codes(rows)}
    background = background_rows(opened(path))
    assert len(background) == 32
    assert {tuple(row) for row in background.tolist()} <= known


def test_permutations_are_the_same_whenever_they_are_asked_for(tmp_path: Path) -> None:
    path = sealed_of(tmp_path, *small_pipeline("RandomForestClassifier"), schema=RANGES)
    (found, other) = decided(path, golden_rows(path)[:1].repeat(2, axis=0))
    assert explained(path, found) == explained(path, found)
    again = explained(path, other)
    assert again.method.seed == ids.text(other.base) != ids.text(found.base)
    assert (again.method.orders, again.method.background_rows) == (32, 32)


def test_a_linear_models_permutations_are_weight_times_distance_from_the_background(tmp_path: Path) -> None:
    """A network of one layer on logits: what is known in closed form."""
    path = sealed_of(tmp_path, *linear_graph(), schema=WORDS)
    bundle = opened(path)
    background: Array = background_rows(bundle)
    (found,) = decided(path, golden_rows(path)[:1])
    explanation = explained(path, found)
    weights = np.array([0.5, -2.0, 0.25])
    wanted = weights * (found.values[0] - background.mean(axis=0))
    assert list(explanation.contributions.values()) == pytest.approx(wanted.tolist(), rel=1e-5, abs=1e-4)


def linear_graph() -> tuple[object, Any]:
    from onnx import TensorProto, helper, numpy_helper

    from onnx_models import model_of

    nodes = [helper.make_node("Gemm", ["rows", "w"], ["score"])]
    tensors = [numpy_helper.from_array(np.array([[0.5], [-2.0], [0.25]], np.float32), "w")]
    rows = helper.make_tensor_value_info("rows", TensorProto.FLOAT, [None, 3])
    score = helper.make_tensor_value_info("score", TensorProto.FLOAT, [None, 1])
    return model_of(nodes, [rows], [score], tensors), frame().fillna(0.25)
