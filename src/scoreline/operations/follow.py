"""Following: what moving REFs name by now is installed and tried out; what comes of it the ledger says."""

import logging
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

from scoreline.core.errors import BundleError, NotFound, SettingError
from scoreline.core.ports import Registry, Verifier
from scoreline.core.refs import Ref, is_path
from scoreline.operations.files import replace_text
from scoreline.operations.install import Installed, install, install_tried, installed_copy, registry_of
from scoreline.operations.state import Assignment, read_state
from scoreline.operations.tried import try_once

log = logging.getLogger("scoreline.follow")


def moving(refs: Sequence[str]) -> list[str]:
    """Those REFs that may name another version tomorrow: aliases, stages, and names alone."""
    return [ref for ref in refs if not is_path(ref) and not _is_fixed(Ref.parse(ref))]


def moved(
    ref: str, registries: Mapping[str, Registry], verifier: Verifier, state_dir: Path, failed: MutableMapping[str, str]
) -> Installed | None:
    """The version a REF names now, installed and tried out, where nobody was asked to take it up yet; else None.

    `taken_up` ends that. What answers already need not be taken up. `failed` keeps what failed its trial by digest, and
    why: it is not tried again. Raises NotFound, RegistryDown or BundleError.
    """
    named = registry_of(ref, registries).resolve(ref)
    if named.digest in (_asked(ref, state_dir), _champion(named.name, state_dir)):
        taken_up(ref, named.digest, state_dir)
        return None
    if named.digest in failed:
        raise BundleError(failed[named.digest])
    installed = install(ref, registries, verifier, state_dir)
    try:
        try_once(installed.path, installed.manifest.digest, state_dir)
    except BundleError as error:
        failed[installed.manifest.digest] = str(error)
        raise
    return installed


def taken_up(ref: str, digest: str, state_dir: Path) -> None:
    """Keeps that the version a REF names was taken up, whatever came of it: only another one is asked for again."""
    if _asked(ref, state_dir) != digest:
        replace_text(_memory(ref, state_dir), digest)


def _asked(ref: str, state_dir: Path) -> str:
    try:
        return _memory(ref, state_dir).read_text()
    except OSError:
        return ""


def _memory(ref: str, state_dir: Path) -> Path:
    return state_dir / "followed" / quote(ref, safe="")


def _champion(name: str, state_dir: Path) -> str:
    found = read_state(state_dir).models.get(name)
    return found.digest if found else ""


def install_or_keep(ref: str, registries: Mapping[str, Registry], verifier: Verifier, state_dir: Path) -> Installed:
    """Installs what a REF points to, tried out; where a moving one names what cannot be taken, what it named before.

    Raises as `install` where nothing was assigned before, or that cannot be taken either.
    """
    try:
        return install_tried(ref, registries, verifier, state_dir)
    except BundleError as error:
        before = _assigned(Ref.parse(ref).name, verifier, state_dir) if moving([ref]) else None
        if before is None:
            raise
        try_once(before.path, before.manifest.digest, state_dir)
        log.error("%s cannot be taken: %s; version %s, assigned before, goes on", ref, error, before.manifest.version)
        return before


def kept_champion(name: str, verifier: Verifier, state_dir: Path) -> Assignment | None:
    """Who answered for a model here before, without its canary: what the ledger said last, until it is read again."""
    installed = _assigned(name, verifier, state_dir)
    if installed is None:
        return None
    try_once(installed.path, installed.manifest.digest, state_dir)
    return replace(read_state(state_dir).models[name], canary=None)


def _assigned(name: str, verifier: Verifier, state_dir: Path) -> Installed | None:
    try:
        assignment = read_state(state_dir).models[name]
    except (NotFound, SettingError, KeyError):
        return None
    return installed_copy(assignment.digest, verifier, state_dir)


def _is_fixed(ref: Ref) -> bool:
    return ref.version.isdigit() if ref.scheme == "models" else bool(ref.version)
