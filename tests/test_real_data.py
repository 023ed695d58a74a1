"""The main job on real input: train with categories, seal, serve, score a file; every door with the trainer's bits."""

import json
from pathlib import Path

import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost

from real_data import (
    MotorModel,
    claim_pipeline,
    motor_policies,
    raw_policies,
    sealed_motor_model,
    synthetic_policies,
)
from scoreline.core.batch import Context
from scoreline.core.bundle import read_bundle
from scoreline.core.link import LINKS
from scoreline.core.rows import read_rows
from scoreline.core.scorer import Scorer
from scoreline.engines.load import load_engine
from scoreline.sealing import seal
from scoreline.sealing.parity import ulp_distance
from scoreline.signing import TrustStore, generate_keys
from service import SealedModel, run_scoreline, serving

CHUNK = 1000
SERVED = 5001


@pytest.fixture(scope="module")
def motor(tmp_path_factory: pytest.TempPathFactory) -> MotorModel:
    return sealed_motor_model(tmp_path_factory.mktemp("motor"))


@pytest.fixture(scope="module")
def margins(motor: MotorModel) -> np.ndarray:
    """What the trainer's own library says of every policy."""
    booster = motor.estimator.get_booster()
    return booster.predict(xgboost.DMatrix(motor.rows, enable_categorical=True), output_margin=True)


def values_of(rows: pd.DataFrame) -> np.ndarray:
    columns = [
        rows[name].cat.codes if isinstance(rows[name].dtype, pd.CategoricalDtype) else rows[name] for name in rows
    ]
    return np.column_stack([np.asarray(column, dtype=np.float64) for column in columns])


def expected_scores(margins: np.ndarray) -> np.ndarray:
    return LINKS["sigmoid"](margins.astype(np.float64).reshape(-1, 1))[:, 0]


def test_sealed_margins_equal_the_trainers_library_bit_for_bit_and_scores_lie_within_4_ulp(
    motor: MotorModel, margins: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        print(f"\n{motor.data}, {len(motor.rows):,} policies")
    bundle = read_bundle(motor.bundle, TrustStore.from_files([motor.trust]))
    found = load_engine(bundle).predict(values_of(motor.rows))[:, 0]
    assert np.array_equal(found.astype(np.float32).view(np.int32), margins.view(np.int32))
    theirs = motor.estimator.predict_proba(motor.rows)[:, 1]
    assert ulp_distance(expected_scores(margins), theirs.astype(np.float64)).max() <= 4


def test_a_lightgbm_model_of_the_same_policies_is_sealed_with_the_librarys_own_bits(
    motor: MotorModel, tmp_path: Path
) -> None:
    model = lightgbm.LGBMClassifier(n_estimators=60, verbosity=-1, n_jobs=2)
    model.fit(motor.rows, motor_policies()[0]["ClaimOcc"])
    generate_keys(tmp_path / "signing.key", tmp_path / "signing.pub")
    out = tmp_path / "motor-lightgbm-1"
    seal(model, name="motor", output="p", reference=motor.rows, key=tmp_path / "signing.key", out=out)
    bundle = read_bundle(out, TrustStore.from_files([tmp_path / "signing.pub"]))
    found = load_engine(bundle).predict(values_of(motor.rows))[:, 0]
    theirs = np.asarray(model.booster_.predict(motor.rows, raw_score=True), dtype=np.float64)
    assert found.tobytes() == theirs.tobytes()
    scores = LINKS["sigmoid"](found.reshape(-1, 1))[:, 0]
    assert ulp_distance(scores, model.predict_proba(motor.rows)[:, 1]).max() <= 4


@pytest.mark.parametrize("ending", ["linear", "forest", "xgboost", "lightgbm"])
def test_a_pipeline_on_the_raw_columns_scores_every_policy_as_the_trainer_does(
    motor: MotorModel, tmp_path: Path, ending: str
) -> None:
    """Words are texts, as files and callers have them; the scores are compared on all policies, outcomes too.

    Over HTTP every answer to 5,000 of them is the score found without a door.
    """
    rows = raw_policies(motor.rows)
    model = claim_pipeline(ending).fit(rows, motor_policies()[0]["ClaimOcc"])
    generate_keys(tmp_path / "signing.key", tmp_path / "signing.pub")
    out = tmp_path / "motor-1"
    ranges = {"Exposure": {"range": [0.0, 1.0]}, "VehValue": {"range": [0.0, 1000.0]}}
    seal(
        model,
        name="motor",
        output="p",
        reference=rows,
        schema=ranges,
        thresholds={"review": 0.1},
        key=tmp_path / "signing.key",
        out=out,
    )
    bundle = read_bundle(out, TrustStore.from_files([tmp_path / "signing.pub"]))
    score = Scorer(bundle.manifest, load_engine(bundle))
    found = score(read_rows(bundle.manifest.schema, rows.to_dict("records"), Context(0)))
    theirs = model.predict_proba(rows)[:, 1]
    assert np.abs(found.scores[:, 0] - theirs).max() <= 1e-6
    assert np.array_equal(np.asarray(found.outcomes), theirs >= 0.1)
    for number in range(0, len(rows), 997):
        (alone,) = score(read_rows(bundle.manifest.schema, [rows.iloc[number].to_dict()], Context(0)))
        assert alone.margins == tuple(found.margins[number])
    sent = rows.head(SERVED).to_dict("records")
    with serving(SealedModel(out, out, tmp_path / "signing.pub"), folder=tmp_path / "served") as service:
        answers = service.post(sent[:-1]).json()["predictions"] + [service.post(sent[-1]).json()]
    assert [answer["p"] for answer in answers] == found.scores[:SERVED, 0].tolist()
    assert [answer["outcome"] == "review" for answer in answers] == (theirs[:SERVED] >= 0.1).tolist()


def test_served_over_http_every_policy_has_the_score_of_its_margin_and_is_recorded_with_it(
    motor: MotorModel, margins: np.ndarray, tmp_path: Path
) -> None:
    expected = expected_scores(margins)
    rows = json.loads(motor.rows.to_json(orient="records", double_precision=15))
    with serving(SealedModel(motor.bundle, motor.bundle, motor.trust), folder=tmp_path) as service:
        for number in range(200):
            assert service.post(rows[number]).json()["claim_probability"] == expected[number]
        for start in range(0, len(rows), CHUNK):
            predictions = service.post(rows[start : start + CHUNK]).json()["predictions"]
            found = [prediction["claim_probability"] for prediction in predictions]
            assert found == expected[start : start + CHUNK].tolist()
    recorded = np.concatenate([decisions.margins[:, 0] for decisions in service.recorded()])
    assert np.array_equal(recorded, np.concatenate([margins[:200], margins]).astype(np.float64))


def test_scored_as_a_file_every_policy_has_the_score_of_its_margin(
    motor: MotorModel, margins: np.ndarray, tmp_path: Path
) -> None:
    motor.rows.assign(policy=np.arange(len(motor.rows))).to_parquet(tmp_path / "policies.parquet")
    done = run_scoreline(
        "batch", motor.bundle, "policies.parquet", "scores.parquet", "--trust", motor.trust, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    scores = pd.read_parquet(tmp_path / "scores.parquet")
    assert scores["policy"].tolist() == list(range(len(motor.rows)))
    assert np.array_equal(scores["claim_probability"], expected_scores(margins))
    assert ((scores["outcome"] == "review") == (scores["claim_probability"] >= 0.1)).all()


def test_the_stand_in_has_the_columns_and_types_of_the_real_data(motor: MotorModel) -> None:
    stand_in = synthetic_policies(100)
    for name in motor.rows:
        assert stand_in[name].dtype.name == motor.rows[name].dtype.name
        if isinstance(motor.rows[name].dtype, pd.CategoricalDtype):
            assert set(stand_in[name].cat.categories) == set(motor.rows[name].cat.categories)
