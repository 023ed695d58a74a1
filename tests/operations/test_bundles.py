"""A bundle of the state folder is what its digest says, or nothing."""

import shutil
from pathlib import Path

import pytest

from models import edit, sealed_bundle
from recorded import kept
from scoreline.core.errors import BundleError, NotFound, SignatureRefused
from scoreline.core.manifest import MANIFEST
from scoreline.operations.bundles import bundle_of, bundle_path, manifest_of


@pytest.fixture
def digest(tmp_path: Path) -> str:
    return kept(sealed_bundle(tmp_path / "sealed"), tmp_path)


def test_it_is_found_by_its_digest(tmp_path: Path, digest: str) -> None:
    assert bundle_of(tmp_path, digest).manifest == manifest_of(tmp_path, digest)
    assert manifest_of(tmp_path, digest).digest == digest


@pytest.mark.parametrize("digest", ("0" * 64, "", "..", "../bundles", "/etc"))
def test_what_is_not_there_or_no_digest_is_not_found(tmp_path: Path, digest: str) -> None:
    (tmp_path / "bundles").mkdir(exist_ok=True)
    for look in (bundle_path, bundle_of, manifest_of):
        with pytest.raises(NotFound, match="scoreline pull"):
            look(tmp_path, digest)


def test_another_bundle_under_a_digest_is_refused_even_if_it_is_signed(tmp_path: Path, digest: str) -> None:
    folder = tmp_path / "bundles" / digest
    for key in (tmp_path / "sealed").glob("signing.*"):
        shutil.copy(key, folder.parent)
    edit(folder, MANIFEST, lambda manifest: manifest.update(version="2"))
    with pytest.raises(SignatureRefused):
        bundle_of(tmp_path, digest)
    with pytest.raises(BundleError, match="is another one"):
        manifest_of(tmp_path, digest)


def test_a_file_that_was_changed_is_refused(tmp_path: Path, digest: str) -> None:
    with (tmp_path / "bundles" / digest / "model.ubj").open("ab") as file:
        file.write(b"x")
    with pytest.raises(BundleError, match="not those its manifest lists"):
        bundle_of(tmp_path, digest)
    manifest_of(tmp_path, digest)
