"""Every sample model there is: what one process decided, another computes again, all of it equal."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import catboost
import pytest

from formats.test_bundle_1 import FOLDERS
from lightgbm_models import small_lightgbm
from models import OBJECTIVES, frame, keys, small_model, targets
from onnx_models import network
from recorded import decided, golden_rows, kept, spooled
from scoreline.sealing import seal
from service import run_scoreline
from sklearn_models import ENDINGS, RANGES, small_pipeline

FORMATS = Path(__file__).parents[1] / "formats"
WIDE = {name: {"range": [-1000.0, 1000.0]} for name in ("a", "b", "c")}


def small_catboost(objective: str) -> tuple[object, Any]:
    labels = targets({"Logloss": "binary:logistic", "MultiClass": "multi:softprob"}[objective], frame()).astype(int)
    settings = {"iterations": 10, "loss_function": objective, "verbose": 0, "allow_writing_files": False}
    return catboost.CatBoost(settings).fit(frame(), labels), frame()


Make = Callable[[], tuple[object, Any]]
XGBOOST: dict[str, Make] = {
    **{f"xgboost {name}": (lambda name=name: small_model(name)) for name in OBJECTIVES},
    "xgboost dart": lambda: small_model(booster="dart", rate_drop=0.3),
    "xgboost gblinear": lambda: small_model(booster="gblinear"),
    "xgboost categories": lambda: small_model(categories=True),
    "xgboost vector leaves": lambda: small_model(
        "multi:softprob", multi_strategy="multi_output_tree", tree_method="hist"
    ),
}
LIGHTGBM: dict[str, Make] = {
    **{f"lightgbm {name}": (lambda name=name: small_lightgbm(name)) for name in ("binary", "multiclass", "poisson")},
    "lightgbm categories": lambda: small_lightgbm("regression", categories=True),
    "lightgbm linear trees": lambda: small_lightgbm("regression", linear_tree=True),
}
GRAPHS: dict[str, Make] = {
    "onnx": lambda: (network(), frame().fillna(0.0)),
    "onnx classes": lambda: (network(3, columns=True), frame().fillna(0.0)),
    "catboost": lambda: small_catboost("Logloss"),
    "catboost classes": lambda: small_catboost("MultiClass"),
}
PIPELINES: dict[str, Make] = {f"sklearn {kind}": (lambda kind=kind: small_pipeline(kind)) for kind in ENDINGS}


def replayed_elsewhere(state_dir: Path) -> list[dict[str, Any]]:
    ended = run_scoreline("replay", "--all", "--json", "--state-dir", state_dir, cwd=state_dir)
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr
    return [json.loads(line) for line in ended.stdout.splitlines()]


def check(state_dir: Path, bundles: list[Path]) -> None:
    made = []
    for at, bundle in enumerate(bundles):
        kept(bundle, state_dir)
        made += decided(bundle, golden_rows(bundle), at_once=(1, 7, 64)[at % 3])
    spooled(state_dir, made)
    verdicts = replayed_elsewhere(state_dir)
    assert len(verdicts) == sum(map(len, made))
    assert Counter(verdict["result"] for verdict in verdicts) == {"equal": len(verdicts)}
    assert len({verdict["digest"] for verdict in verdicts}) == len(bundles)


def test_of_every_bundle_that_is_kept(tmp_path: Path) -> None:
    check(tmp_path, [FORMATS / folder / "fraud-1" for folder in FOLDERS.values()])


@pytest.mark.parametrize(
    "models", (XGBOOST, LIGHTGBM, GRAPHS, PIPELINES), ids=("xgboost", "lightgbm", "graphs", "sklearn")
)
def test_of_every_kind_of_model(models: dict[str, Make], tmp_path: Path) -> None:
    private, _ = keys(tmp_path)
    bundles = []
    for at, make in enumerate(models.values()):
        model, rows = make()
        schema = RANGES if "colour" in rows else WIDE
        given = {"name": f"m{at}", "output": "score", "reference": rows, "key": private, "schema": schema}
        bundles.append(seal(model, out=tmp_path / f"m{at}-1", **given).path)
    check(tmp_path / "state", bundles)
