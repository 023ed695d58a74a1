"""A trial: what a verified bundle does to the process that loads it is known before anyone answers with it."""

import sys
from pathlib import Path

import pytest

from models import edit, opened, sealed_bundle
from scoreline.core.errors import BundleError
from scoreline.operations.trial import try_out


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


def test_bundle_that_fails_its_self_test_is_refused_in_its_own_words(tmp_path: Path) -> None:
    path = sealed_bundle(tmp_path)
    edit(path, "golden.json", lambda golden: golden["margins"][0].__setitem__(0, 9.0))
    with pytest.raises(BundleError, match="does not repeat the bundle's golden margins on this machine"):
        try_out(path, digest_of(path))


def test_only_the_bundle_that_was_verified_is_tried(tmp_path: Path) -> None:
    path = sealed_bundle(tmp_path)
    with pytest.raises(BundleError, match="another bundle than the one to try"):
        try_out(path, "0" * 64)
