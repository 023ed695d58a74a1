"""Probes: the rows on which engines differ, if they do."""

from pathlib import Path

import numpy as np
import pytest

from models import codes, keys, library_margins, opened, same_bits, small_model
from scoreline.core.schema import Field, Schema
from scoreline.sealing import probes, seal
from scoreline.sealing.probes import probe_rows
from scoreline.sealing.xgboost import read_xgboost


def test_probes_try_every_threshold_both_ends_missing_and_every_category(tmp_path: Path) -> None:
    booster, rows = small_model(categories=True)
    trained = read_xgboost(booster)
    seal(booster, name="m", output="score", reference=rows, key=keys(tmp_path)[0], out=tmp_path / "m-1")
    schema = opened(tmp_path / "m-1").manifest.schema
    probes = probe_rows(schema, codes(rows), trained.splits, 5)
    for position, threshold in trained.splits:
        at = np.float32(threshold)
        column = set(probes[:, position].tolist())
        assert {float(np.nextafter(at, np.float32(end))) for end in (-np.inf, at, np.inf)} <= column
    for position, field in enumerate(schema.fields):
        column = set(probes[:, position].tolist())
        wanted = range(len(field.categories)) if field.categories else (*field.bounds, 0.0, 1e-45)
        assert {float(value) for value in wanted} <= column
        assert np.isnan(probes[:, position]).any()
    assert np.isnan(probes).all(axis=1).any()


def test_probes_are_the_same_each_time_and_leave_the_reference_alone() -> None:
    booster, rows = small_model()
    trained = read_xgboost(booster)
    schema = Schema(tuple(Field(name, "number", nullable=True) for name in "abc"))
    reference = codes(rows)
    before = reference.copy()
    assert same_bits(probe_rows(schema, reference, trained.splits, 5), probe_rows(schema, reference, trained.splits, 5))
    assert same_bits(reference, before)


def test_probes_stay_within_the_declared_ranges() -> None:
    """A range is what a refusal asks for: beside it the model, a logarithm say, need not have an answer."""
    schema = Schema((Field("a", "number", minimum=0.001, maximum=5.0), Field("b", "number", minimum=0.0)))
    found = probe_rows(schema, np.ones((1, 2)), [(0, 7.0), (0, 2.0), (1, -1.0)], 5)
    shown = found[~np.isnan(found[:, 0]), 0]
    assert (shown.min(), shown.max()) == (0.001, 5.0) and 2.0 in shown
    assert np.nanmin(found[:, 1]) == 0.0 and np.nanmax(found[:, 1]) > 1e38


def test_probes_of_a_very_large_model_are_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "MAX_SPLITS", 10)
    schema = Schema((Field("a", "number"),))
    found = probe_rows(schema, np.zeros((1, 1)), [(0, float(k)) for k in range(1000)], 5)
    thresholds = {value for value in found[:, 0].tolist() if value >= 1 and value == int(value) and value < 1e6}
    assert len(thresholds) == 10


def test_probes_of_a_linear_model_are_its_least_and_greatest_rows() -> None:
    """Every field at the end of its range that its weight points to: where sums are longest."""
    schema = Schema((Field("a", "number", minimum=-2.0, maximum=3.0), Field("b", "number", minimum=0.0, maximum=7.0)))
    found = {tuple(row) for row in probe_rows(schema, np.zeros((1, 2)), [], 5, [[1.5, -2.0]]).tolist()}
    assert {(3.0, 0.0), (-2.0, 7.0)} <= found
    booster, _ = small_model("multi:softprob", booster="gblinear")
    slopes = np.array(read_xgboost(booster).slopes)
    assert slopes.shape == (3, 3)
    base, up = (library_margins(booster, np.full((1, 3), value)) for value in (0.0, 1.0))
    assert (up - base)[0] == pytest.approx(slopes.sum(axis=1), abs=1e-5)
