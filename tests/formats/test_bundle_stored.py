"""A bundle of format 1 with fields from a feature store, sealed once and never made again, reads the same for ever."""

import json
from pathlib import Path

from scoreline.core.batch import Context
from scoreline.core.bundle import read_bundle
from scoreline.core.fitting import lenient
from scoreline.core.rows import read_rows
from scoreline.core.scorer import Scorer
from scoreline.engines.load import load_engine
from scoreline.features.plan import Plan
from scoreline.signing import TrustStore

KEPT = Path(__file__).parent / "bundle-1-stored"


def test_it_is_looked_up_as_it_was_meant_and_answers_as_on_the_day_it_was_sealed() -> None:
    bundle = read_bundle(KEPT / "risk-1", TrustStore.from_files([KEPT / "signing.pub"]))
    expected = json.loads((KEPT / "expected.json").read_text())
    manifest = bundle.manifest
    assert manifest.digest == expected["digest"]
    plan = Plan(manifest.schema)
    assert plan.views == {"customer": ("visits", "limit"), "ratios": ("r",), "trips": ("n",)}
    fields = {field.name: field for field in manifest.schema.fields}
    assert (fields["trips"].max_age_s, fields["trips"].default) == (3600, 4.5)
    assert [name for name, field in fields.items() if field.indispensable] == ["limit"]
    rows = [answer["row"] for answer in expected["answers"]]
    decisions = Scorer(manifest, load_engine(bundle))(read_rows(lenient(manifest.schema), rows, Context(0)))
    assert [decision.margins for decision in decisions] == [(answer["margin"],) for answer in expected["answers"]]
