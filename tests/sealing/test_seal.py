"""Sealing as a whole: what is in a bundle, and that nothing is left behind where there is none."""

import hashlib
import importlib
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import model_signing
import numpy as np
import pytest

from models import codes, frame, keys, opened, same_bits, sealed_bundle, small_model, train, trust
from scoreline.core.bundle import read_bundle
from scoreline.core.errors import BundleError, NotFound, SchemaError, ScorelineError, SealRefused, SettingError
from scoreline.core.policy import ThresholdPolicy
from scoreline.engines.load import load_engine
from scoreline.sealing import seal
from scoreline.signing import TrustStore

SEAL = importlib.import_module("scoreline.sealing.seal")  # the module; the package gives its function that name


def options(folder: Path, **changed: Any) -> dict[str, Any]:
    given = {"name": "m", "output": "score", "reference": frame(), "key": keys(folder)[0], "out": folder / "m-1"}
    return {**given, **changed}


# What is in a bundle --------------------------------------------------------------------------------------------------


def test_bundle_says_what_it_is_where_it_came_from_and_what_it_costs(tmp_path: Path) -> None:
    frame().to_parquet(tmp_path / "rows.parquet")
    small_model()[0].save_model(tmp_path / "trained.ubj")
    sealed = seal(tmp_path / "trained.ubj", **options(tmp_path, reference=tmp_path / "rows.parquet"))
    manifest = opened(sealed.path).manifest
    assert manifest == sealed.manifest
    assert (manifest.name, manifest.version, manifest.output, manifest.link) == ("m", "1", "score", "sigmoid")
    lineage = manifest.lineage
    assert lineage["source"] == "trained.ubj"
    assert lineage["source_sha256"] == hashlib.sha256((tmp_path / "trained.ubj").read_bytes()).hexdigest()
    assert lineage["objective"] == "binary:logistic"
    assert lineage["booster"] == "gbtree"
    assert lineage["trees"] == 8
    assert lineage["library"].startswith("xgboost ")
    assert lineage["reference"] == {
        "file": "rows.parquet",
        "sha256": hashlib.sha256((tmp_path / "rows.parquet").read_bytes()).hexdigest(),
        "rows": 300,
    }
    assert lineage["sealed_with"].startswith("scoreline ")
    measured = manifest.measured
    assert 0 < measured["row_p50_us"] <= measured["row_p99_us"]
    assert measured["bulk_rows_per_s"] > 0
    assert sealed.parity.rows > 300
    assert sealed.parity.score_ulp <= 4


def test_lineage_names_no_folder_of_the_trainer(tmp_path: Path) -> None:
    frame().to_parquet(tmp_path / "rows.parquet")
    small_model()[0].save_model(tmp_path / "trained.ubj")
    sealed = seal(tmp_path / "trained.ubj", **options(tmp_path, reference=tmp_path / "rows.parquet"))
    assert str(tmp_path) not in sealed.manifest.canonical.decode()


def test_same_model_sealed_twice_has_the_same_model_files(tmp_path: Path) -> None:
    one, other = (sealed_bundle(tmp_path, version=version) for version in ("1", "2"))
    for name in ("model.ubj", "model.onnx", "golden.json", "profile.json"):
        assert (one / name).read_bytes() == (other / name).read_bytes()


def test_files_can_be_read_by_others_than_their_maker(tmp_path: Path) -> None:
    """A service runs as another user than the trainer."""
    old = os.umask(0o022)
    try:
        bundle = sealed_bundle(tmp_path)
    finally:
        os.umask(old)
    assert bundle.stat().st_mode & 0o777 == 0o755
    assert {file.stat().st_mode & 0o777 for file in bundle.iterdir()} == {0o644}


def test_golden_rows_are_reference_rows_and_probes_with_their_exact_margins(tmp_path: Path) -> None:
    booster, rows = small_model("multi:softprob")
    seal(booster, **options(tmp_path))
    bundle = opened(tmp_path / "m-1")
    golden = bundle.golden
    assert golden.values.shape == (64, 3)
    assert golden.margins.shape == (64, 3)
    assert same_bits(load_engine(bundle).predict(golden.values), golden.margins)
    reference = {row.tobytes() for row in codes(rows)}
    from_reference = sum(row.tobytes() in reference for row in golden.values)
    assert 32 <= from_reference < 64
    assert np.isnan(golden.values).any()


def test_one_row_is_reference_enough(tmp_path: Path) -> None:
    seal(small_model()[0], **options(tmp_path, reference=frame()[:1]))
    assert len(opened(tmp_path / "m-1").golden.values) == 64


# Names, versions, outcomes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("folder", "version", "wanted"),
    [("m-7", None, "7"), ("m-2024.1", None, "2024.1"), ("other", None, "1"), ("m", None, "1"), ("m-7", "9", "9")],
)
def test_version_is_given_or_read_from_the_folder(
    tmp_path: Path, folder: str, version: str | None, wanted: str
) -> None:
    sealed = seal(small_model()[0], **options(tmp_path, out=tmp_path / folder, version=version))
    assert sealed.manifest.version == wanted


def test_thresholds_become_outcomes_in_rising_order(tmp_path: Path) -> None:
    sealed = seal(small_model()[0], **options(tmp_path, thresholds={"decline": 0.9, "review": 0.5}, otherwise="accept"))
    assert sealed.manifest.policy == ThresholdPolicy(("accept", "review", "decline"), (0.5, 0.9))


def test_thresholds_of_a_regression_are_in_its_own_unit(tmp_path: Path) -> None:
    booster, _ = small_model("reg:squarederror")
    sealed = seal(booster, **options(tmp_path, thresholds={"high": 250.0}, otherwise="low"))
    assert sealed.manifest.policy.thresholds == (250.0,)


def test_without_thresholds_there_are_no_outcomes(tmp_path: Path) -> None:
    assert seal(small_model()[0], **options(tmp_path)).manifest.policy == ThresholdPolicy()


def test_outcome_of_a_multi_class_model_is_its_likeliest_class(tmp_path: Path) -> None:
    sealed = seal(small_model("multi:softprob")[0], **options(tmp_path))
    assert sealed.manifest.classes == ("0", "1", "2")
    assert sealed.manifest.policy == ThresholdPolicy(("0", "1", "2"), likeliest=True)


# Signatures -----------------------------------------------------------------------------------------------------------


def test_bundle_verifies_with_the_command_and_the_library_of_model_signing(tmp_path: Path) -> None:
    bundle = sealed_bundle(tmp_path)
    public = keys(tmp_path)[1]
    model_signing.verifying.Config().use_elliptic_key_verifier(public_key=public).verify(bundle, bundle / "model.sig")
    command = [sys.executable, "-m", "model_signing", "verify", "key", str(bundle)]
    command += ["--signature", str(bundle / "model.sig"), "--public_key", str(public)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    (bundle / "profile.json").write_text("{}")
    with pytest.raises(ValueError, match="mismatch"):
        model_signing.verifying.Config().use_elliptic_key_verifier(public_key=public).verify(
            bundle, bundle / "model.sig"
        )


def test_any_flipped_byte_of_any_file_is_found(tmp_path: Path) -> None:
    bundle = sealed_bundle(tmp_path)
    rng = np.random.default_rng(0)
    for file in sorted(bundle.iterdir()):
        whole = file.read_bytes()
        for place in (0, len(whole) - 1, *rng.integers(0, len(whole), 8)):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << int(rng.integers(0, 8))
            file.write_bytes(damaged)
            with pytest.raises(BundleError):
                load_engine(read_bundle(bundle, trust(tmp_path)))
        file.write_bytes(whole)
    load_engine(read_bundle(bundle, trust(tmp_path)))


def test_bundle_of_another_signer_is_refused(tmp_path: Path) -> None:
    bundle = sealed_bundle(tmp_path)
    (tmp_path / "other").mkdir()
    with pytest.raises(BundleError, match="not trusted"):
        read_bundle(bundle, TrustStore.from_files([keys(tmp_path / "other")[1]]))


# Refusals -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "error", "problem"),
    [
        ({"key": "none.key"}, NotFound, "no signing key"),
        ({"reference": "none.parquet"}, NotFound, "no reference rows"),
        ({"name": "not a name"}, BundleError, "name: letters, digits"),
        ({"name": "../escape"}, BundleError, "name: letters, digits"),
        ({"output": "prediction_id"}, BundleError, "a word of every answer"),
        ({"output": ""}, BundleError, "output: letters, digits"),
        ({"version": "1/2"}, BundleError, "version: letters, digits"),
        ({"thresholds": {"review": 0.5, "decline": 0.5}}, SchemaError, "finite and rise"),
        ({"thresholds": {"approve": 0.5}}, SchemaError, "a name of its own"),
        ({"thresholds": {"": 0.5}}, SchemaError, "a name of its own"),
        ({"thresholds": {"review": math.nan}}, SchemaError, "finite and rise"),
        ({"thresholds": {"review": 50.0}}, SettingError, "a probability lies between 0 and 1"),
        ({"thresholds": {"review": 0.0}}, SettingError, "a probability lies between 0 and 1"),
        ({"classes": ["no", "yes"]}, SettingError, "the model has no classes, and 2 names are given"),
        ({"schema": {"zz": {"type": "number"}}}, SchemaError, "not a feature of the model"),
        ({"schema": {"c": {"range": [0, 1]}}}, SealRefused, "reference rows break the schema"),
    ],
)
def test_refusal_leaves_nothing_behind(
    tmp_path: Path, changed: dict[str, Any], error: type[ScorelineError], problem: str
) -> None:
    keys(tmp_path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(error, match=problem):
        seal(small_model()[0], **options(tmp_path, out=tmp_path / "deep" / "bundles" / "m-1", **changed))
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"thresholds": {"review": 0.5}}, "a multi-class model has no thresholds"),
        ({"classes": ["a", "b"]}, "the model has 3 classes, and 2 names are given"),
    ],
)
def test_multi_class_model_is_named_and_judged_by_its_classes(
    tmp_path: Path, changed: dict[str, Any], problem: str
) -> None:
    with pytest.raises(SettingError, match=problem):
        seal(small_model("multi:softprob")[0], **options(tmp_path, **changed))
    assert not (tmp_path / "m-1").exists()


@pytest.mark.parametrize("there", ["file", "folder", "full folder"])
def test_nothing_is_ever_overwritten(tmp_path: Path, there: str) -> None:
    target = tmp_path / "m-1"
    if there == "file":
        target.write_text("precious")
    else:
        target.mkdir()
        if there == "full folder":
            (target / "file").write_text("precious")
    with pytest.raises(SettingError, match="a bundle is never overwritten"):
        seal(small_model()[0], **options(tmp_path))
    assert target.is_file() or sorted(path.name for path in target.iterdir()) in ([], ["file"])


def test_failure_to_sign_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(folder: Path, key: Path) -> None:
        assert (folder / "manifest.json").exists()
        raise SettingError("the token is gone")

    monkeypatch.setattr(SEAL, "sign_folder", fails)
    with pytest.raises(SettingError, match="the token is gone"):
        seal(small_model()[0], **options(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["signing.key", "signing.pub"]


def test_target_that_appears_while_sealing_is_not_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*given: Any) -> None:
        sign(*given)
        (tmp_path / "m-1").mkdir()
        (tmp_path / "m-1" / "file").write_text("precious")

    sign = SEAL.sign_folder
    monkeypatch.setattr(SEAL, "sign_folder", slow)
    with pytest.raises(SealRefused, match="appeared while sealing"):
        seal(small_model()[0], **options(tmp_path))
    assert (tmp_path / "m-1" / "file").read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m-1", "signing.key", "signing.pub"]


def test_large_reference_is_drawn_evenly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SEAL, "MAX_REFERENCE_ROWS", 100)
    rows = frame(950).assign(c=np.arange(950.0))
    seal(train(rows), **options(tmp_path, reference=rows))
    profile = json.loads(opened(tmp_path / "m-1").files["profile.json"])
    assert profile["rows"] == 95
    assert (profile["fields"]["c"]["least"], profile["fields"]["c"]["greatest"]) == (0.0, 940.0)
