"""Installing a bundle: from where a REF points into `state_dir/bundles/<digest>`, verified, whole or not at all.

What a REF named last stands in `state_dir/refs/`: while its registry is down, that version is the one to go on with.
"""

import errno
import logging
import shutil
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Queue
from typing import Final
from urllib.parse import quote

from scoreline.core.bundle import SIGNATURE, Bundle, read_bundle, read_files
from scoreline.core.errors import BundleError, NotFound, RegistryDown
from scoreline.core.manifest import Manifest
from scoreline.core.ports import Registry, Verifier
from scoreline.core.refs import Ref, Version, is_path
from scoreline.operations.files import replace_text
from scoreline.operations.tried import try_once

PATIENCE_S: Final = 8.0
_TAKEN: Final = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)  # of a rename to where something is
log = logging.getLogger("scoreline.install")


@dataclass(frozen=True, slots=True)
class Installed:
    """A verified bundle in the state folder."""

    manifest: Manifest
    path: Path


def registry_of(ref: str, registries: Mapping[str, Registry]) -> Registry:
    """The registry a REF speaks of; raises NotFound."""
    scheme = Ref.parse(ref).scheme
    if scheme not in registries:
        raise NotFound(f"{ref}: no registry {scheme!r} here; known: {', '.join(registries)}")
    return registries[scheme]


def install_tried(ref: str, registries: Mapping[str, Registry], verifier: Verifier, state_dir: Path) -> Installed:
    """Installs what a REF points to and tries it out, if it was not before; raises as `install`."""
    installed = install(ref, registries, verifier, state_dir)
    try_once(installed.path, installed.manifest.digest, state_dir)
    return installed


def install(ref: str, registries: Mapping[str, Registry], verifier: Verifier, state_dir: Path) -> Installed:
    """Verifies what a REF points to and writes those bytes under its digest.

    A copy that is there and verified is taken as it is; a damaged one, or one signed by a key that no longer counts, is
    replaced. Where the registry is down, the version it named last is taken if its copy is verified.

    Raises NotFound, RegistryDown or BundleError.
    """
    if is_path(ref):
        return _write(read_bundle(Path(ref), verifier), state_dir)
    registry = registry_of(ref, registries)
    try:
        version = _resolved(registry, ref) if _memory(ref, state_dir).exists() else registry.resolve(ref)
        installed = installed_copy(version.digest, verifier, state_dir)
        if installed is None:
            installed = _fetch(registry, version, verifier, state_dir)
    except RegistryDown as down:
        return _last_known(ref, verifier, state_dir, down)
    _agree(version, installed.manifest)
    replace_text(_memory(ref, state_dir), version.digest)
    return installed


def _resolved(registry: Registry, ref: str) -> Version:
    """What a registry says of a REF that can be answered without it: its own patience may be half a minute."""
    answers: Queue[Version | Exception] = Queue()

    def ask() -> None:
        try:
            answers.put(registry.resolve(ref))
        except Exception as error:
            answers.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        found = answers.get(timeout=PATIENCE_S)
    except Empty:
        raise RegistryDown(f"the registry did not answer for {ref} within {PATIENCE_S:g} s") from None
    if isinstance(found, Exception):
        raise found
    return found


def _agree(version: Version, manifest: Manifest) -> None:
    """A bundle answers only as the version it says it is, under the digest its registry gave; raises BundleError."""
    if (manifest.name, manifest.version, manifest.digest) != (version.name, version.version, version.digest):
        raise BundleError(
            f"the registry has {version.name} {version.version} with digest {version.digest or 'unknown'}, and the "
            f"bundle there says it is {manifest.name} {manifest.version} with digest {manifest.digest}: seal that "
            "version and register it again"
        )


def installed_copy(digest: str, verifier: Verifier, state_dir: Path) -> Installed | None:
    """The bundle of a digest in the state folder; None where there is none, or none that is verified."""
    path = state_dir / "bundles" / digest
    try:
        manifest = read_bundle(path, verifier).manifest
    except (NotFound, BundleError):
        return None
    return Installed(manifest, path) if manifest.digest == digest else None


def _fetch(registry: Registry, version: Version, verifier: Verifier, state_dir: Path) -> Installed:
    with tempfile.TemporaryDirectory(prefix="scoreline-") as folder:
        bundle = read_bundle(registry.fetch(version, Path(folder)), verifier)
        _agree(version, bundle.manifest)
        return _write(bundle, state_dir)


def _last_known(ref: str, verifier: Verifier, state_dir: Path, down: RegistryDown) -> Installed:
    try:
        digest = _memory(ref, state_dir).read_text()
    except OSError:
        raise down from None
    installed = installed_copy(digest, verifier, state_dir)
    if installed is None:
        raise down
    log.warning("%s; going on with %s as it was last named: %s", down, ref, installed.manifest.version)
    return installed


def _memory(ref: str, state_dir: Path) -> Path:
    return state_dir / "refs" / quote(ref, safe="")


def _write(bundle: Bundle, state_dir: Path) -> Installed:
    target = state_dir / "bundles" / bundle.manifest.digest
    files = {**bundle.files, SIGNATURE: bundle.signature}
    if not _holds(target, files):
        _write_files(files, target)
    return Installed(bundle.manifest, target)


def _holds(target: Path, files: dict[str, bytes]) -> bool:
    try:
        return read_files(target) == files
    except (NotFound, BundleError):
        return False


def _write_files(files: dict[str, bytes], target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".new.", dir=target.parent))
    try:
        new = staging / "new"
        new.mkdir()
        for name, raw in files.items():
            (new / name).write_bytes(raw)
        while not _put(new, target) and not _holds(target, files):
            with suppress(FileNotFoundError):  # others who replace it move it away, too
                target.rename(Path(tempfile.mkdtemp(dir=staging)) / "old")
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _put(new: Path, target: Path) -> bool:
    """Puts a folder in its place, unless something is there."""
    try:
        new.rename(target)
    except OSError as error:
        if error.errno not in _TAKEN:
            raise
        return False
    return True
