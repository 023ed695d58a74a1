"""A pipeline is sealed with the field that each of its booster's columns is made of."""

from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pytest
import xgboost
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from models import keys, opened
from scoreline.core.bundle import Bundle
from scoreline.engines.load import load_engine
from scoreline.engines.onnx import OnnxEngine
from scoreline.sealing import seal
from sklearn_models import RANGES, raw_rows, small_pipeline


def sealed_of(folder: Path, model: object, rows: Any, **options: Any) -> Bundle:
    given = {"name": "m", "output": "score", "reference": rows, "key": keys(folder)[0], "out": folder / "m-1"}
    seal(model, **{**given, **options})
    return opened(folder / "m-1")


def check_sources(bundle: Bundle) -> None:
    """Changing one field of a row changes none of the columns but those that are made of it."""
    library = bundle.manifest.engines[-1]
    fields = bundle.manifest.schema.fields
    prepare = OnnxEngine(bundle.files[library.prepare], len(fields))
    assert len(library.sources) == prepare.n_outputs
    rows = bundle.golden.values[:32]
    before = prepare.predict(rows)
    moved = set()
    for position in range(len(fields)):
        for shift in (1, 7):
            changed = rows.copy()
            changed[:, position] = np.roll(changed[:, position], shift)
            after = prepare.predict(changed)
            differing = np.flatnonzero(((before != after) & ~(np.isnan(before) & np.isnan(after))).any(axis=0))
            assert {library.sources[column] for column in differing} <= {position}
            moved |= set(differing)
    assert len(moved) > len(library.sources) // 2


@pytest.mark.parametrize("kind", ("XGBClassifier", "LGBMClassifier classes"))
@pytest.mark.parametrize("sparse", (False, True), ids=("dense", "sparse"))
def test_every_column_is_made_of_the_field_it_is_said_to_be(tmp_path: Path, kind: str, sparse: bool) -> None:
    model, rows = small_pipeline(kind, sparse=sparse)
    check_sources(sealed_of(tmp_path, model, rows, schema=RANGES))


@pytest.mark.parametrize("booster", (xgboost.XGBClassifier(n_jobs=1), lightgbm.LGBMClassifier(n_jobs=1, verbosity=-1)))
def test_fields_are_counted_without_the_columns_that_are_dropped(tmp_path: Path, booster: Any) -> None:
    rows = raw_rows().assign(customer=[f"no {number}" for number in range(400)])[["customer", "colour", "a", "b"]]
    columns = [("b", StandardScaler(), ["b"]), ("colour", OneHotEncoder(), ["colour"])]
    model = make_pipeline(ColumnTransformer(columns), booster).fit(rows, rows["b"] > 0.7)
    bundle = sealed_of(tmp_path, model, rows, schema={"b": RANGES["b"]})
    assert bundle.manifest.schema.names == ("colour", "b")
    assert bundle.manifest.engines[-1].sources == (1, 0, 0, 0)
    check_sources(bundle)
    found = load_engine(bundle).contributions(bundle.golden.values)
    assert found is not None
    assert np.abs(found[:, 0, 1]).max() > 10 * np.abs(found[:, 0, 0]).max(), "b decides"


def test_only_the_library_has_them_and_only_behind_a_graph(tmp_path: Path) -> None:
    bundle = sealed_of(tmp_path, *small_pipeline("XGBClassifier"), schema=RANGES)
    *others, library = bundle.manifest.engines
    assert library.sources and [spec.sources for spec in others] == [()]
    assert "sources" in library.to_json() and "sources" not in others[0].to_json()
