"""A bundle is tried out once where it serves, and again with other libraries; what fails leaves no mark."""

from pathlib import Path

import pytest

from models import misdirect, opened, sealed_bundle
from scoreline.core.errors import BundleError
from scoreline.operations import tried
from scoreline.operations.tried import try_once


@pytest.fixture
def trials(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    real = tried.try_out

    def counted(path: Path, digest: str) -> None:
        found.append(digest)
        real(path, digest)

    monkeypatch.setattr(tried, "try_out", counted)
    return found


def test_a_bundle_is_tried_once_and_again_with_other_libraries(
    tmp_path: Path, trials: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = sealed_bundle(tmp_path)
    digest = opened(path).manifest.digest
    for _ in range(2):
        try_once(path, digest, tmp_path)
    assert trials == [digest]
    monkeypatch.setattr(tried, "_libraries", lambda: "others")
    for _ in range(2):
        try_once(path, digest, tmp_path)
    assert trials == [digest, digest]


def test_what_fails_is_tried_again_and_without_a_state_folder_none_is_made(tmp_path: Path, trials: list[str]) -> None:
    path = sealed_bundle(tmp_path)
    try_once(path, opened(path).manifest.digest, tmp_path / "state")
    assert not (tmp_path / "state").exists()
    misdirect(path)
    for _ in range(2):
        with pytest.raises(BundleError):
            try_once(path, opened(path).manifest.digest, tmp_path)
    assert len(trials) == 3
