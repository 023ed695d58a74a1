"""Installing a bundle: from where a REF points into `state_dir/bundles/<digest>`, verified, whole or not at all."""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from scoreline.core.bundle import SIGNATURE, read_bundle, read_files
from scoreline.core.errors import BundleError, NotFound
from scoreline.core.manifest import Manifest
from scoreline.core.ports import Registry, Verifier
from scoreline.core.refs import Ref, is_path


@dataclass(frozen=True, slots=True)
class Installed:
    """A verified bundle in the state folder."""

    manifest: Manifest
    path: Path


def locate(ref: str, registries: dict[str, Registry]) -> Path:
    """The folder a REF or path points to, not yet verified; raises NotFound."""
    if is_path(ref):
        return Path(ref)
    scheme = Ref.parse(ref).scheme
    if scheme not in registries:
        raise NotFound(f"{ref}: no registry {scheme!r} here; known: {', '.join(registries)}")
    return registries[scheme].resolve(ref)


def install(ref: str, registries: dict[str, Registry], verifier: Verifier, state_dir: Path) -> Installed:
    """Verifies what a REF points to and writes those bytes under its digest; raises NotFound or BundleError.

    What is there already is kept if it is the same to the byte; a damaged copy, or an older signature, is replaced.
    """
    source = locate(ref, registries)
    bundle = read_bundle(source, verifier)
    if not is_path(ref) and Ref.parse(ref).name != bundle.manifest.name:
        raise BundleError(f"{ref} points to a bundle of {bundle.manifest.name!r}; names must agree")
    target = state_dir / "bundles" / bundle.manifest.digest
    files = {**bundle.files, SIGNATURE: bundle.signature}
    if not _holds(target, files):
        _write(files, target)
    return Installed(bundle.manifest, target)


def _holds(target: Path, files: dict[str, bytes]) -> bool:
    try:
        return read_files(target) == files
    except (NotFound, BundleError):
        return False


def _write(files: dict[str, bytes], target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".new.", dir=target.parent))
    try:
        (staging / "new").mkdir()
        for name, raw in files.items():
            (staging / "new" / name).write_bytes(raw)
        if target.exists():
            target.rename(staging / "old")
        (staging / "new").rename(target)
    except OSError:
        if not _holds(target, files):  # else another process was faster
            raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)
