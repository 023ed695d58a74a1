"""Bundles of format 1, one of each kind, sealed once and never made again, are read and answer the same for ever."""

import json
from pathlib import Path
from typing import Any

import pytest

from scoreline.core.batch import Context
from scoreline.core.bundle import Bundle, read_bundle
from scoreline.core.errors import SignatureRefused
from scoreline.core.rows import read_rows
from scoreline.core.scorer import Scorer
from scoreline.engines.load import ENGINES, load_engine
from scoreline.signing import TrustStore

KINDS = ["lightgbm", "onnx", "catboost", "sklearn-linear", "sklearn-forest", "sklearn-xgboost", "sklearn-lightgbm"]
FOLDERS = {"xgboost": "bundle-1", **{kind: f"bundle-1-{kind}" for kind in KINDS}}
WITHOUT_WORDS = ("bundle-1-onnx", "bundle-1-catboost")


@pytest.fixture(params=FOLDERS)
def kept(request: pytest.FixtureRequest) -> Path:
    return Path(__file__).parent / FOLDERS[request.param]


def expected(kept: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((kept / "expected.json").read_text("utf-8"))
    return found


def opened(kept: Path) -> Bundle:
    return read_bundle(kept / "fraud-1", TrustStore.from_files([kept / "signing.pub"]))


def test_there_is_one_of_every_engine() -> None:
    """And of every way to put engines together: a twin, a graph before a booster."""
    specs = [spec for folder in FOLDERS.values() for spec in opened(Path(__file__).parent / folder).manifest.engines]
    assert {spec.kind for spec in specs} == set(ENGINES)
    assert {spec.kind for spec in specs if spec.prepare} == {"onnx", "xgboost", "lightgbm"}
    assert any(spec.max_rows for spec in specs)


def test_it_verifies_and_keeps_its_identity(kept: Path) -> None:
    manifest = opened(kept).manifest
    assert (manifest.name, manifest.version, manifest.output) == ("fraud", "1", "fraud_probability")
    assert manifest.digest == expected(kept)["digest"]


def test_its_schema_reads_as_it_was_meant(kept: Path) -> None:
    fields = {field.name: field for field in opened(kept).manifest.schema.fields}
    types = {name: field.type for name, field in fields.items()}
    if kept.name not in WITHOUT_WORDS:
        assert types.pop("country") == "category"
        assert fields["country"].categories == ("at", "de", "größer", "uk")
        assert (fields["country"].unseen, fields["country"].sensitive) == ("missing", True)
    assert types == {
        "amount": "number",
        "age_days": "integer",
        "repeat": "boolean",
        "distance": "number",
        "visits": "number",
    }
    assert (fields["amount"].minimum, fields["amount"].maximum, fields["amount"].unit) == (0.0, 100_000.0, "EUR")
    assert (fields["age_days"].minimum, fields["age_days"].maximum, fields["age_days"].default) == (0.0, None, 365)
    assert fields["distance"].nullable
    assert fields["visits"].source == "store"


def test_it_passes_its_self_test_and_answers_as_on_the_day_it_was_sealed(kept: Path) -> None:
    bundle = opened(kept)
    manifest = bundle.manifest
    score = Scorer(manifest, load_engine(bundle))
    rows = [answer["row"] for answer in expected(kept)["answers"]]
    together = score(read_rows(manifest.schema, rows, Context(0)))
    for number, answer in enumerate(expected(kept)["answers"]):
        (alone,) = score(read_rows(manifest.schema, [answer["row"]], Context(0)))
        for decision in (alone, together[number]):
            assert decision.margins == (answer["margin"],)
            assert decision.scores == (answer["score"],)
            assert decision.outcome == answer["outcome"]
    assert len(rows) == 40
    assert {answer["outcome"] for answer in expected(kept)["answers"]} == {"approve", "review", "decline"}


def test_it_is_still_refused_where_its_key_is_revoked(kept: Path) -> None:
    signer = opened(kept).signed_by
    trust = TrustStore.from_files([kept / "signing.pub"], revoked_keys=[signer])
    with pytest.raises(SignatureRefused, match="is revoked"):
        read_bundle(kept / "fraud-1", trust)


def test_it_is_small_and_holds_no_private_key(kept: Path) -> None:
    files = [file for file in kept.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) < 60_000
    assert not any(b"PRIVATE" in file.read_bytes() for file in files)
