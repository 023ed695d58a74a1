"""Bad bundles under a followed alias: each is told in the log, and the last version answers on, by the same workers."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models import edit, keys, misdirect, rewrite, sealed_bundle, sign_again
from scoreline.core.manifest import MANIFEST
from scoreline.signing import generate_keys
from service import SealedModel, Service, serving, wait_until

ROW = {"a": 1.5, "b": 0.25, "c": 7.0}
Breaking = Callable[[Path], object]


def flip(name: str) -> Breaking:
    def flipped(path: Path) -> None:
        raw = bytearray((path / name).read_bytes())
        raw[len(raw) // 2] ^= 1
        (path / name).write_bytes(raw)

    return flipped


def replace(name: str, raw: bytes) -> Breaking:
    return lambda path: (path / name).write_bytes(raw)


def link(path: Path) -> None:
    (path / "model.ubj").rename(path.parent / "elsewhere")
    (path / "model.ubj").symlink_to(path.parent / "elsewhere")


def fifo(name: str) -> Breaking:
    def made(path: Path) -> None:
        (path / name).unlink()
        os.mkfifo(path / name)

    return made


def huge(name: str) -> Breaking:
    return lambda path: os.truncate(path / name, 5 << 30)


def by_a_stranger(path: Path) -> None:
    """Another key's signature over the same files."""
    own = path.parent / "stranger"
    own.mkdir()
    generate_keys(own / "signing.key", own / "signing.pub")
    shutil.copytree(path, own / path.name)
    sign_again(own / path.name)
    shutil.copy(own / path.name / "model.sig", path)
    shutil.rmtree(own)


def other_model(path: Path) -> None:
    """A valid bundle of another model stands where this version stood, with this one's manifest beside its files."""
    manifest = (path / MANIFEST).read_bytes()
    other = sealed_bundle(path.parent, name="other")
    shutil.rmtree(path)
    other.rename(path)
    (path / MANIFEST).write_bytes(manifest)


# What is done to version 2, and what the log then says of it.
BREAKINGS: dict[str, tuple[Breaking, str]] = {
    "a byte of the manifest": (flip(MANIFEST), "is not followed now"),
    "a byte of the model": (flip("model.ubj"), "signed for other bytes than these: model.ubj"),
    "a byte of the twin": (flip("model.onnx"), "signed for other bytes than these: model.onnx"),
    "a byte of the golden rows": (flip("golden.json"), "signed for other bytes than these: golden.json"),
    "a byte of the profile": (flip("profile.json"), "signed for other bytes than these: profile.json"),
    "a byte of the signature": (flip("model.sig"), "is not followed now"),
    "no signature": (lambda path: (path / "model.sig").unlink(), "has no model.sig"),
    "an empty signature": (replace("model.sig", b""), "not a model signature"),
    "a stranger's signature": (by_a_stranger, "signed by a key that is not trusted"),
    "an extra file": (replace("notes.txt", b""), "signed for other bytes than these: notes.txt"),
    "no manifest": (lambda path: (path / MANIFEST).unlink(), "has no version '2'"),
    "a manifest of brackets": (replace(MANIFEST, b"[" * 100_000), "has no version '2'"),
    "a huge manifest": (huge(MANIFEST), "has no version '2'"),
    "a FIFO for a manifest": (fifo(MANIFEST), "has no version '2'"),
    "a huge model": (huge("model.ubj"), "at most 4 GiB"),
    "a link for a model": (link, "cannot be read as a plain file"),
    "a FIFO for a model": (fifo("model.ubj"), "is not a plain file"),
    "another model under this name": (other_model, "signed for other bytes than these"),
    "golden margins that are not repeated": (
        lambda path: edit(path, "golden.json", lambda golden: golden["margins"][0].__setitem__(0, 9.0)),
        "does not repeat the bundle's golden margins",
    ),
    "a pickle for a model": (
        lambda path: rewrite(path, "model.ubj", lambda raw: b"cos\nsystem\n(S'touch canary'\ntR."),
        "the bundle's model does not load",
    ),
    "a tree that leads astray": (misdirect, "points beyond what it holds"),
}


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("versions")
    sealed_bundle(folder)
    sealed_bundle(folder, version="2")
    return folder


def point(folder: Path, version: str) -> None:
    (folder / "new").write_text(version)
    (folder / "new").replace(folder / "m@champion")


def version_of(service: Service) -> Any:
    return service.post(ROW).json()["version"]


def test_each_bad_bundle_leaves_the_last_version_answering(versions: Path, tmp_path: Path) -> None:
    point(versions, "1")
    registry = tmp_path / "registry"
    shutil.copytree(versions, registry)
    model = SealedModel(registry / "m-1", *keys(registry))
    how: dict[str, Any] = {"refs": ("folder:/m@champion",), "SCORELINE_REGISTRY__FOLDER": str(registry)}
    how |= {"SCORELINE_REGISTRY__POLL_MS": "100", "SCORELINE_ROLLOUT__ALIAS_MOVED": "serve"}
    with serving(model, folder=tmp_path / "service", workers=2, **how) as service:
        workers = {worker.pid for worker in service.workers()}
        for number, (name, (breaking, said)) in enumerate(BREAKINGS.items()):
            breaking(registry / "m-2")
            at = len(service.log)
            point(registry, "2")
            wait_until(lambda at=at, said=said: said in service.log[at:], f"{name} is refused: {said}")
            assert version_of(service) == "1", name
            point(registry, f"none-{number}")  # what is said twice in a row is logged once
            wait_until(lambda number=number: f"no version 'none-{number}'" in service.log, "the alias is read again")
            shutil.rmtree(registry / "m-2")
            (registry / "elsewhere").unlink(missing_ok=True)
            shutil.copytree(versions / "m-2", registry / "m-2")
        assert {worker.pid for worker in service.workers()} == workers
        assert service.get("/healthz/ready").status_code == 200
        assert "Traceback" not in service.log
        assert not list(tmp_path.rglob("canary"))
        point(registry, "2")
        wait_until(lambda: version_of(service) == "2", "the good version is taken after all of them")


def test_a_revoked_version_is_not_taken_again(versions: Path, tmp_path: Path) -> None:
    """By its digest, and by the key that signed it."""
    point(versions, "2")
    old = SealedModel(versions / "m-1", *keys(versions))
    how: dict[str, Any] = {"refs": ("folder:/m@champion",), "SCORELINE_REGISTRY__FOLDER": str(versions)}
    how["arguments"] = ("--config", str(tmp_path / "scoreline.toml"))
    (tmp_path / "scoreline.toml").write_text(f'[trust]\nrevoked_digests = ["{old.manifest.digest}"]\n')
    with serving(old, folder=tmp_path / "service", **how) as service:
        point(versions, "1")
        wait_until(lambda: "this bundle is revoked" in service.log, "the old version is refused")
        assert version_of(service) == "2"
