"""XGBoost through its C interface: the bits of its Python package, without it."""

import gc
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import xgboost

from models import codes, frame, library_margins, same_bits, small_model, train
from scoreline.core.errors import EngineFailed, NotFound
from scoreline.engines import packaged
from scoreline.engines import xgboost as engine_file
from scoreline.engines.xgboost import XGBoostEngine


def engine_of(booster: xgboost.Booster, n_outputs: int = 1) -> XGBoostEngine:
    return XGBoostEngine(bytes(booster.save_raw("ubj")), booster.num_features(), n_outputs)


BOOSTERS = [{"booster": "gbtree"}, {"booster": "dart", "rate_drop": 0.3}, {"booster": "gblinear"}]


@pytest.mark.parametrize("parameters", BOOSTERS, ids=lambda given: given["booster"])
def test_layout_of_the_rows_in_memory_does_not_matter(parameters: dict[str, Any]) -> None:
    booster, _ = small_model(**parameters)
    engine = engine_of(booster)
    values = codes(frame(200, seed=5))
    wanted = library_margins(booster, values)
    wide = np.zeros((400, 7))
    wide[::2, ::3] = values
    assert same_bits(engine.predict(np.ascontiguousarray(values)), wanted)
    assert same_bits(engine.predict(np.asfortranarray(values)), wanted)
    assert same_bits(engine.predict(wide[::2, ::3]), wanted)
    read_only = values.copy()
    read_only.flags.writeable = False
    assert same_bits(engine.predict(read_only), wanted)


@pytest.mark.parametrize("parameters", BOOSTERS, ids=lambda given: given["booster"])
def test_no_rows_have_no_margins(parameters: dict[str, Any]) -> None:
    booster, _ = small_model("multi:softprob", **parameters)
    assert engine_of(booster, 3).predict(np.empty((0, 3))).shape == (0, 3)


@pytest.mark.parametrize("parameters", BOOSTERS, ids=lambda given: given["booster"])
@pytest.mark.parametrize("width", [0, 1, 2, 4])
@pytest.mark.parametrize("n_rows", [0, 1, 5])
def test_rows_of_another_width_fail_rather_than_score(parameters: dict[str, Any], width: int, n_rows: int) -> None:
    booster, _ = small_model(**parameters)
    with pytest.raises(EngineFailed, match=r"xgboost \S+ takes rows of 3 fields"):
        engine_of(booster).predict(np.zeros((n_rows, width)))


def test_answers_are_copies_that_later_rows_do_not_change() -> None:
    booster, _ = small_model()
    engine = engine_of(booster)
    values = codes(frame(50, seed=5))
    first = engine.predict(values)
    kept = first.copy()
    engine.predict(values[::-1].copy())
    del engine
    assert same_bits(first, kept)
    assert first.dtype == np.float64


def test_two_engines_do_not_disturb_one_another() -> None:
    rows = frame()
    one, other = train(rows), train(rows, "multi:softprob", booster="dart")
    first, second = engine_of(one), engine_of(other, 3)
    values = codes(frame(50, seed=5))
    for _ in range(3):
        assert same_bits(first.predict(values), library_margins(one, values))
        assert same_bits(second.predict(values), library_margins(other, values))


def test_another_number_of_outputs_than_the_model_has_does_not_load() -> None:
    booster, _ = small_model()
    with pytest.raises(EngineFailed, match="of other sizes"):
        engine_of(booster, 3)


@pytest.mark.parametrize("raw", [b"", b"garbage", b"{}", b"{L"], ids=repr)
def test_bytes_that_are_no_model_fail_with_one_line(raw: bytes) -> None:
    with pytest.raises(EngineFailed, match="xgboost") as failed:
        XGBoostEngine(raw, 3, 1)
    assert "\n" not in str(failed.value)


def test_failure_to_load_is_no_trouble_when_collected() -> None:
    for _ in range(3):
        with pytest.raises(EngineFailed):
            XGBoostEngine(b"garbage", 3, 1)
    gc.collect()


def resident_mb() -> float:
    gc.collect()
    return float(psutil.Process().memory_info().rss / 2**20)


def test_engines_give_their_memory_back() -> None:
    """120 engines of 0.6 MB of trees, one after another: a leak of one in five would be seen."""
    rows = frame(3000)
    rows["c"] = np.random.default_rng(0).normal(size=3000)
    booster = train(rows, "reg:squarederror", rounds=150, max_depth=8)
    raw = bytes(booster.save_raw("ubj"))
    assert len(raw) > 600_000
    values = codes(rows)
    XGBoostEngine(raw, 3, 1).predict(values)
    before = resident_mb()
    for _ in range(120):
        XGBoostEngine(raw, 3, 1).predict(values[:10])
    assert resident_mb() - before < 14


@pytest.mark.parametrize("parameters", BOOSTERS, ids=lambda given: given["booster"])
def test_scoring_gives_its_memory_back(parameters: dict[str, Any]) -> None:
    """100 batches of 240 kB of float32 each: a leak of one in three would be seen."""
    booster, _ = small_model(**parameters)
    engine = engine_of(booster)
    values = np.zeros((20_000, 3))
    engine.predict(values)
    before = resident_mb()
    for _ in range(100):
        engine.predict(values)
    assert resident_mb() - before < 8


def test_name_is_the_librarys_own_version() -> None:
    assert engine_of(small_model()[0]).name == f"xgboost {xgboost.__version__}"


def test_library_that_is_not_there_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packaged.importlib.util, "find_spec", lambda name: None)
    engine_file.load_library.cache_clear()
    try:
        with pytest.raises(NotFound, match=r"install scoreline\[xgboost\]"):
            engine_file.load_library()
    finally:
        engine_file.load_library.cache_clear()
