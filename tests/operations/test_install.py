"""Installing: what a REF points to, verified, under its digest; whole or not at all."""

import shutil
import threading
from pathlib import Path

import pytest

from models import keys, opened, sealed_bundle, sign_again, trust
from scoreline.core.bundle import read_bundle, read_files
from scoreline.core.errors import BundleError, NotFound, ScorelineError, SignatureRefused
from scoreline.core.ports import Registry
from scoreline.core.refs import Ref, Version
from scoreline.operations import install as installing
from scoreline.operations.install import install
from scoreline.registries.folder import FolderRegistry
from scoreline.signing import TrustStore


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with its keys and one bundle, m 1; tests that change it take a copy."""
    folder = tmp_path_factory.mktemp("bundles")
    sealed_bundle(folder)
    return folder


def copy(bundles: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundles, tmp_path / "source"))


def registries(folder: Path) -> dict[str, Registry]:
    return {"folder": FolderRegistry(folder)}


@pytest.mark.parametrize("ref", ["folder:/m", "folder:/m/1", "path"])
def test_bundle_is_copied_under_its_digest(bundles: Path, tmp_path: Path, ref: str) -> None:
    ref = str(bundles / "m-1") if ref == "path" else ref
    found = install(ref, registries(bundles), trust(bundles), tmp_path)
    assert found.path == tmp_path / "bundles" / found.manifest.digest
    assert read_files(found.path) == read_files(bundles / "m-1")
    assert found.manifest == opened(bundles / "m-1").manifest
    assert [path.name for path in (tmp_path / "bundles").iterdir()] == [found.manifest.digest]


def test_installing_again_changes_nothing(bundles: Path, tmp_path: Path) -> None:
    first = install("folder:/m", registries(bundles), trust(bundles), tmp_path)
    before = {file.name: (file.stat().st_ino, file.stat().st_mtime_ns) for file in first.path.iterdir()}
    assert install("folder:/m", registries(bundles), trust(bundles), tmp_path) == first
    assert {file.name: (file.stat().st_ino, file.stat().st_mtime_ns) for file in first.path.iterdir()} == before
    assert len(list((tmp_path / "bundles").iterdir())) == 1


@pytest.mark.parametrize("damage", ["cut", "missing", "extra", "empty"])
def test_damaged_copy_is_replaced(bundles: Path, tmp_path: Path, damage: str) -> None:
    found = install("folder:/m", registries(bundles), trust(bundles), tmp_path)
    if damage == "cut":
        (found.path / "model.ubj").write_bytes(b"")
    elif damage == "missing":
        (found.path / "golden.json").unlink()
    elif damage == "extra":
        (found.path / "notes.txt").write_text("x")
    else:
        shutil.rmtree(found.path)
        found.path.mkdir()
    with pytest.raises(BundleError):
        read_bundle(found.path, trust(bundles))
    install("folder:/m", registries(bundles), trust(bundles), tmp_path)
    read_bundle(found.path, trust(bundles))
    assert len(list((tmp_path / "bundles").iterdir())) == 1


def test_bundle_signed_again_with_another_key_replaces_the_signature(bundles: Path, tmp_path: Path) -> None:
    """A key is revoked, the same model is signed with the next one: same digest, another signature."""
    source = copy(bundles, tmp_path)
    found = install("folder:/m", registries(source), trust(source), tmp_path)
    for key in keys(source):
        key.unlink()
    sign_again(source / "m-1")
    with pytest.raises(SignatureRefused):
        read_bundle(found.path, trust(source))
    assert install("folder:/m", registries(source), trust(source), tmp_path).path == found.path
    read_bundle(found.path, trust(source))


def test_what_is_installed_is_what_was_verified(bundles: Path, tmp_path: Path) -> None:
    source = copy(bundles, tmp_path)

    class Slow(TrustStore):
        def verify(self, signature: bytes, digests: dict[str, str]) -> str:
            found = super().verify(signature, digests)
            (source / "m-1" / "model.ubj").write_bytes(b"swapped after the check")
            return found

    found = install(str(source / "m-1"), {}, Slow([keys(source)[1].read_bytes()]), tmp_path)
    read_bundle(found.path, trust(source))
    assert read_files(found.path) == read_files(bundles / "m-1")


def test_unverified_bundle_is_not_installed(bundles: Path, tmp_path: Path) -> None:
    source = copy(bundles, tmp_path)
    (source / "m-1" / "profile.json").write_text("{}")
    with pytest.raises(SignatureRefused, match=r"other bytes than these: profile\.json"):
        install("folder:/m", registries(source), trust(source), tmp_path / "state")
    assert not (tmp_path / "state").exists()


def test_name_of_the_ref_must_be_the_bundles_own(bundles: Path, tmp_path: Path) -> None:
    manifest = opened(bundles / "m-1").manifest

    class Confused:
        def resolve(self, ref: str) -> Version:
            return Version(Ref.parse(ref).name, "1", manifest.digest, "anywhere")

        def fetch(self, version: Version, folder: Path) -> Path:
            return bundles / "m-1"

    with pytest.raises(BundleError, match=r"the registry has fraud 1 with .* says it is m 1 with digest .*: seal that"):
        install("models:/fraud", {"models": Confused()}, trust(bundles), tmp_path / "state")
    assert not (tmp_path / "state").exists()
    assert install("models:/m", {"models": Confused()}, trust(bundles), tmp_path / "state").manifest.name == "m"


def test_unknown_registry_and_missing_path_are_not_found(bundles: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no registry 'models' here; known: folder"):
        install("models:/m", registries(bundles), trust(bundles), tmp_path)
    with pytest.raises(NotFound, match="no bundle folder at"):
        install(str(tmp_path / "none"), registries(bundles), trust(bundles), tmp_path)


def test_processes_that_install_at_once_do_not_disturb_one_another(bundles: Path, tmp_path: Path) -> None:
    problems: list[BaseException] = []
    start = threading.Barrier(8)

    def one() -> None:
        start.wait()
        try:
            for _ in range(5):
                install("folder:/m", registries(bundles), trust(bundles), tmp_path)
        except (ScorelineError, OSError) as error:
            problems.append(error)

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    (installed,) = (tmp_path / "bundles").iterdir()
    assert read_files(installed) == read_files(bundles / "m-1")


def test_a_copy_that_others_replace_at_the_same_moment_is_put_there_all_the_same(
    bundles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One process puts its copy there before ours, and a second moves that away as soon as ours has met it."""
    rename, met = Path.rename, []

    def rename_among_others(self: Path, target: Path) -> Path:
        if self.name != "new" or met:
            return rename(self, target)
        met.append(target)
        shutil.copytree(bundles / "m-1", target)
        try:
            return rename(self, target)
        finally:
            rename(target, tmp_path / "moved")

    monkeypatch.setattr(Path, "rename", rename_among_others)
    installed = install("folder:/m", registries(bundles), trust(bundles), tmp_path)
    assert met == [installed.path]
    assert read_files(installed.path) == read_files(bundles / "m-1")
    assert list((tmp_path / "bundles").iterdir()) == [installed.path]


def test_a_registry_that_hangs_is_not_waited_for_where_a_verified_copy_is(
    bundles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    first = install("folder:/m", registries(bundles), trust(bundles), tmp_path)
    asked, over = threading.Event(), threading.Event()

    class Hangs(FolderRegistry):
        def resolve(self, ref: str) -> Version:
            asked.set()
            over.wait(60)
            raise AssertionError("nobody waits for this")

    monkeypatch.setattr(installing, "PATIENCE_S", 0.05)
    assert install("folder:/m", {"folder": Hangs(bundles)}, trust(bundles), tmp_path) == first
    assert asked.is_set() and not over.is_set()
    assert "did not answer for folder:/m within 0.05 s; going on with folder:/m as it was last named" in caplog.text
    over.set()
