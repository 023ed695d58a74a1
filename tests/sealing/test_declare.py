"""The schema of a sealed model: from the reference, and from schema.toml before it."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from models import frame, keys, opened, train
from scoreline.core.errors import NotFound, SchemaError, ScorelineError, SealRefused
from scoreline.core.schema import Field
from scoreline.sealing import seal
from scoreline.sealing.seal import Sealed


def seal_here(folder: Path, reference: object, model: object = None, **options: Any) -> Sealed:
    return seal(
        train(frame()) if model is None else model,
        name="m",
        output="score",
        reference=reference,
        key=keys(folder)[0],
        out=folder / "m-1",
        **options,
    )


def test_types_come_from_the_columns_of_the_reference(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = pd.DataFrame(
        {
            "amount": rng.normal(size=200),
            "small": rng.normal(size=200).astype("float32"),
            "count": rng.integers(0, 9, 200),
            "byte": rng.integers(0, 9, 200).astype("uint8"),
            "repeat": rng.random(200) < 0.5,
            "maybe": pd.array(rng.integers(0, 2, 200) == 1, dtype="boolean"),
            "holes": pd.array(rng.integers(0, 9, 200), dtype="Int64"),
        }
    )
    rows.loc[:20, "maybe"] = pd.NA
    rows.loc[:20, "holes"] = pd.NA
    labels = (rows["amount"] > 0).to_numpy()
    import xgboost

    booster = xgboost.train({"objective": "binary:logistic", "nthread": 1}, xgboost.DMatrix(rows, labels), 3)
    sealed = seal_here(tmp_path, rows, booster)
    assert [(field.name, field.type, field.nullable) for field in sealed.manifest.schema.fields] == [
        ("amount", "number", False),
        ("small", "number", False),
        ("count", "integer", False),
        ("byte", "integer", False),
        ("repeat", "boolean", False),
        ("maybe", "boolean", True),
        ("holes", "integer", True),
    ]


def test_columns_are_matched_by_name_and_others_passed_over(tmp_path: Path) -> None:
    rows = frame()[["c", "a", "b"]].assign(label=1, text="x")
    assert seal_here(tmp_path, rows).manifest.schema.names == ("a", "b", "c")


def test_column_of_another_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SealRefused, match=r"no column 'a' and schema\.toml does not declare it"):
        seal_here(tmp_path, frame().rename(columns={"a": "A"}))


TOML = """
[fields.a]
type = "number"
unit = "EUR"
range = [-1000.0, inf]
nullable = true
default = 12.5
description = "Amount claimed"
reason = "the amount is high"
sensitive = true

[fields.b]
default = nan
unit = "größer"

[fields.c]
type = "integer"
range = [0, 50]
"""


def test_schema_file_goes_before_the_reference(tmp_path: Path) -> None:
    (tmp_path / "schema.toml").write_text(TOML, encoding="utf-8")
    seal_here(tmp_path, frame(), schema=tmp_path / "schema.toml")
    a, b, c = opened(tmp_path / "m-1").manifest.schema.fields
    assert a == Field(
        *("a", "number", "EUR", -1000.0, None),
        nullable=True,
        default=12.5,
        description="Amount claimed",
        reason="the amount is high",
        sensitive=True,
    )
    assert b.nullable
    assert isinstance(b.default, float)
    assert math.isnan(b.default)
    assert b.unit == "größer"
    assert c == Field("c", "integer", minimum=0.0, maximum=50.0)


def test_schema_may_be_given_as_a_mapping(tmp_path: Path) -> None:
    sealed = seal_here(tmp_path, frame(), schema={"a": {"unit": "EUR"}})
    assert sealed.manifest.schema.fields[0].unit == "EUR"
    assert sealed.manifest.schema.fields[0].nullable


def test_field_that_is_declared_needs_no_column(tmp_path: Path) -> None:
    rows = frame().drop(columns="b")
    sealed = seal_here(
        tmp_path, rows, entity="who", schema={"b": {"type": "number", "source": "store", "default": 0.5}}
    )
    field = sealed.manifest.schema.fields[1]
    assert (field.source, field.default) == ("store", 0.5)


def test_store_fields_need_an_entity_to_be_looked_up_by(tmp_path: Path) -> None:
    with pytest.raises(SealRefused, match="--entity"):
        seal_here(tmp_path, frame(), schema={"b": {"source": "store", "default": 0.5}})


def test_store_field_is_profiled_as_it_lies_in_the_reference(tmp_path: Path) -> None:
    """A caller cannot send it, but a store will answer values like these."""
    seal_here(tmp_path, frame(), entity="who", schema={"b": {"source": "store", "default": 0.5}})
    bundle = opened(tmp_path / "m-1")
    profile = json.loads(bundle.files["profile.json"])["fields"]["b"]
    assert profile["mean"] == pytest.approx(frame()["b"].mean())
    assert profile["missing"] == frame()["b"].isna().mean()
    assert len(np.unique(bundle.golden.values[:, 1])) > 10


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("x = 1", r"holds \[fields.NAME\] tables and nothing else"),
        ("fields = 5", r"holds \[fields.NAME\] tables and nothing else"),
        ("fields = [1]", r"holds \[fields.NAME\] tables and nothing else"),
        ("[fields]\na = 1", r"holds \[fields.NAME\] tables and nothing else"),
        ("[fields.a", "is not TOML"),
        ("\xff\xfe", "is not TOML"),
        ("[fields.zz]\ntype = 'number'", "declares 'zz', which is not a feature of the model"),
        ("[fields.a]\ncolour = 'red'", "unknown setting 'colour'"),
        ("[fields.a]\nrange = [1, 0]", "its range is empty"),
        (f"[fields.a]\nrange = [0, 1{'0' * 400}]", "range is"),
        ("[fields.a]\ntype = 'category'\ncategories = ['x']", "the model does not take categories"),
        ("[fields.a]\ncategories = ['x']", "only a category field has categories"),
        ("[fields.a]\ndefault = 1979-05-27", "its own default must be a number"),
    ],
)
def test_schema_file_that_is_wrong_is_refused_with_the_reason(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "schema.toml").write_text(text, encoding="latin-1")
    with pytest.raises(SchemaError, match=problem):
        seal_here(tmp_path, frame(), schema=tmp_path / "schema.toml")


def test_schema_file_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no schema at"):
        seal_here(tmp_path, frame(), schema=tmp_path / "none.toml")


@pytest.mark.parametrize("categories", [5, "abc", ["a", 1], [["a"]], [], {}], ids=repr)
def test_categories_that_are_no_list_of_words_are_refused(tmp_path: Path, categories: object) -> None:
    rows = frame(categories=True)
    with pytest.raises(SchemaError, match="field 'k'"):
        seal_here(tmp_path, rows, train(rows), schema={"k": {"categories": categories}})


@pytest.mark.parametrize("kind", ["number", "text", 5, ["category"], None], ids=repr)
def test_type_that_the_model_does_not_take_is_refused(tmp_path: Path, kind: object) -> None:
    rows = frame(categories=True)
    with pytest.raises(ScorelineError):
        seal_here(tmp_path, rows, train(rows), schema={"k": {"type": kind}})


def test_reference_rows_must_pass_the_declared_schema(tmp_path: Path) -> None:
    with pytest.raises(SealRefused, match=r"reference rows break the schema: row \d+, field 'c': must be at most 10"):
        seal_here(tmp_path, frame(), schema={"c": {"range": [0, 10]}})
    with pytest.raises(SealRefused, match="field 'a': must not be null"):
        seal_here(tmp_path, frame(), schema={"a": {"nullable": False}})


def test_declared_range_is_what_the_probes_stay_in(tmp_path: Path) -> None:
    rows = frame().assign(c=lambda found: found["c"].clip(5, 40))
    seal_here(tmp_path, rows, train(rows, "reg:squarederror"), schema={"c": {"range": [5, 40]}})
    golden = opened(tmp_path / "m-1").golden.values[:, 2]
    assert np.nanmin(golden) >= 0  # thresholds may lie below; the ends of the range are the declared ones
    assert np.nanmax(golden) <= 40
