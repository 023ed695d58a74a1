"""A trial: what a verified bundle does to the process that loads it is known before anyone answers with it."""

import sys
from pathlib import Path

import numpy as np
import pytest

from models import edit, opened, sealed_bundle
from scoreline.core.errors import BundleError
from scoreline.core.schema import Field, Schema
from scoreline.operations.trial import random_rows, try_out


def digest_of(path: Path) -> str:
    return opened(path).manifest.digest


def test_good_bundle_passes(tmp_path: Path) -> None:
    path = sealed_bundle(tmp_path)
    try_out(path, digest_of(path))


def test_model_that_ends_its_process_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ends it is put in place of the interpreter: no model file that still does is known."""
    path, program = sealed_bundle(tmp_path), tmp_path / "python"
    program.write_text("#!/bin/sh\nkill -SEGV $$\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    with pytest.raises(BundleError, match=r"its model file ended the process that tried it \(code -11\)"):
        try_out(path, digest_of(path))


def test_no_module_of_the_working_directory_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = sealed_bundle(tmp_path)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for module in ("numpy", "json", "onnxruntime", "scoreline"):
        (tmp_path / "here" / f"{module}.py").write_text("open('canary', 'w')\nraise SystemExit(0)")
    try_out(path, digest_of(path))
    assert not (tmp_path / "here" / "canary").exists()


def test_rows_are_drawn_within_what_the_door_lets_in() -> None:
    schema = Schema(
        (
            Field("amount", "number", minimum=0.5, maximum=2e6),
            Field("any", "number", nullable=True),
            Field("count", "integer", minimum=-3, maximum=7),
            Field("flag", "boolean"),
            Field("word", "category", categories=("a", "b", "c"), unseen="missing"),
        )
    )
    rows = random_rows(schema, 2000, 1)
    amount, any_number, count, flag, word = rows.T
    assert amount.min() >= 0.5 and amount.max() <= 2e6 and (amount < 10).any() and (amount > 1e6).any()
    assert np.nanmax(np.abs(any_number)) > 1e38 and (np.abs(any_number) < 1).any() and np.isnan(any_number).any()
    assert set(count) == set(range(-3, 8)) and set(flag) == {0.0, 1.0}
    assert set(word[~np.isnan(word)]) == {0.0, 1.0, 2.0} and np.isnan(word).any()
    assert rows.tobytes() == random_rows(schema, 2000, 1).tobytes()


def test_bundle_that_fails_its_self_test_is_refused_in_its_own_words(tmp_path: Path) -> None:
    path = sealed_bundle(tmp_path)
    edit(path, "golden.json", lambda golden: golden["margins"][0].__setitem__(0, 9.0))
    with pytest.raises(BundleError, match="does not repeat the bundle's golden margins on this machine"):
        try_out(path, digest_of(path))


def test_only_the_bundle_that_was_verified_is_tried(tmp_path: Path) -> None:
    path = sealed_bundle(tmp_path)
    with pytest.raises(BundleError, match="another bundle than the one to try"):
        try_out(path, "0" * 64)
