"""CatBoost models are sealed within 1e-6 of CatBoost's own scores, or refused with the reason."""

from pathlib import Path
from typing import Any

import catboost
import numpy as np
import pytest

from models import codes, frame, keys, opened, targets
from scoreline.core.errors import NotFound, SealRefused
from scoreline.core.link import LINKS
from scoreline.engines.load import load_engine
from scoreline.sealing import seal
from scoreline.sealing.catboost import OBJECTIVES
from scoreline.sealing.seal import Sealed

LABELS = {
    "sigmoid": "binary:logistic",
    "softmax64": "multi:softprob",
    "identity": "reg:squarederror",
    "exp": "reg:gamma",
}
SETTINGS = {
    "iterations": 40,
    "depth": 4,
    "thread_count": 1,
    "random_seed": 0,
    "verbose": 0,
    "allow_writing_files": False,
}


def trained(objective: str = "Logloss", **settings: Any) -> Any:
    rows = frame()
    loss = f"{objective}:variance_power=1.5" if objective == "Tweedie" else objective
    loss = f"{objective}:delta=1.0" if objective == "Huber" else loss
    model = catboost.CatBoost({**SETTINGS, "loss_function": loss, **settings})
    return model.fit(rows, labels(objective))


def labels(objective: str) -> np.ndarray:
    link = OBJECTIVES[objective]
    found = targets(LABELS[link], frame())
    return found.astype(int) if link in ("sigmoid", "softmax64") else found


def seal_here(folder: Path, model: object, **options: Any) -> Sealed:
    settled = {"name": "m", "output": "score", "reference": frame(), "key": keys(folder)[0], "out": folder / "m-1"}
    return seal(model, **{**settled, **options})


def scores(folder: Path, values: np.ndarray) -> np.ndarray:
    bundle = opened(folder / "m-1")
    return LINKS[bundle.manifest.link](load_engine(bundle).predict(values))


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_scores_are_catboosts_own_within_a_millionth(tmp_path: Path, objective: str) -> None:
    model = trained(objective)
    sealed = seal_here(tmp_path, model)
    kind = {"sigmoid": "Probability", "softmax64": "Probability", "exp": "Exponent"}
    values = codes(frame(400, seed=9))
    wanted = model.predict(values, prediction_type=kind.get(OBJECTIVES[objective], "RawFormulaVal")).reshape(400, -1)
    wanted = wanted[:, 1:] if wanted.shape[1] == 2 else wanted
    assert scores(tmp_path, values) == pytest.approx(wanted, rel=1e-6, abs=1e-6)
    assert sealed.parity.score_distance <= 1e-6
    assert not sealed.parity.exact
    assert sealed.manifest.lineage["objective"] == objective


def test_a_file_is_sealed_as_the_estimator_is(tmp_path: Path) -> None:
    rows = frame()
    model = catboost.CatBoostClassifier(**SETTINGS).fit(rows, labels("Logloss"))
    model.save_model(str(tmp_path / "model.cbm"))
    sealed = seal_here(tmp_path, tmp_path / "model.cbm")
    assert sealed.manifest.lineage["source"] == "model.cbm"
    values = codes(rows)
    assert scores(tmp_path, values)[:, 0] == pytest.approx(model.predict_proba(values)[:, 1], abs=1e-6)


def test_classes_have_their_own_names(tmp_path: Path) -> None:
    rows = frame()
    words = np.array(["low", "mid", "top"])[targets("multi:softprob", rows).astype(int)]
    sealed = seal_here(tmp_path, catboost.CatBoostClassifier(**SETTINGS).fit(rows, words))
    assert sealed.manifest.classes == ("low", "mid", "top")


def test_what_cannot_be_sealed_says_why(tmp_path: Path) -> None:
    rows = frame(categories=True).assign(k=lambda part: part["k"].astype(str))
    classes = labels("Logloss")
    for model, said in (
        (catboost.CatBoostClassifier(**SETTINGS, cat_features=["k"]).fit(rows, classes), "with categories has no ONNX"),
        (trained(grow_policy="Lossguide"), "SymmetricTree"),
        (catboost.CatBoost({**SETTINGS, "loss_function": "Expectile:alpha=0.3"}).fit(frame(), classes), "'Expectile'"),
        (catboost.CatBoostClassifier(**SETTINGS).fit(frame(), classes.astype(float)), "texts or integers"),
        (catboost.CatBoostClassifier(), "is not fitted"),
    ):
        with pytest.raises(SealRefused, match=said):
            seal_here(tmp_path, model)
    (tmp_path / "model.cbm").write_bytes(b"garbage")
    with pytest.raises(SealRefused, match="is not a model that catboost"):
        seal_here(tmp_path, tmp_path / "model.cbm")
    with pytest.raises(NotFound, match="no model file"):
        seal_here(tmp_path, tmp_path / "none.cbm")
