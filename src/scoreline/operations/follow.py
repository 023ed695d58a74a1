"""Following: the versions that moving REFs name by now are installed, tried out and assigned."""

import logging
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import replace
from pathlib import Path

from scoreline.core.errors import BundleError, NotFound, SettingError
from scoreline.core.ports import Registry, Verifier
from scoreline.core.refs import Ref, is_path
from scoreline.operations.install import Installed, install, install_tried, installed_copy, registry_of
from scoreline.operations.state import Assignment, read_state, write_state
from scoreline.operations.tried import try_once

log = logging.getLogger("scoreline.follow")


def moving(refs: Sequence[str]) -> list[str]:
    """Those REFs that may name another version tomorrow: aliases, stages, and names alone."""
    return [ref for ref in refs if not is_path(ref) and not _is_fixed(Ref.parse(ref))]


def follow(
    ref: str,
    registries: Mapping[str, Registry],
    verifier: Verifier,
    state_dir: Path,
    failed: MutableMapping[str, str],
) -> str:
    """Assigns the version a REF names now, where it is another than before; returns it, else an empty text.

    `failed` keeps what failed its trial by digest, and why: it is not tried again. Raises NotFound, RegistryDown or
    BundleError, and then leaves what is assigned.
    """
    named = registry_of(ref, registries).resolve(ref)
    assigned = read_state(state_dir).models.get(named.name)
    if assigned is not None and assigned.digest == named.digest:
        return ""
    if named.digest in failed:
        raise BundleError(failed[named.digest])
    installed = install(ref, registries, verifier, state_dir)
    manifest = installed.manifest
    try:
        try_once(installed.path, manifest.digest, state_dir)
    except BundleError as error:
        failed[manifest.digest] = str(error)
        raise
    state = read_state(state_dir)
    assignment = Assignment(manifest.version, manifest.digest)
    write_state(state_dir, replace(state, models={**state.models, manifest.name: assignment}))
    return manifest.version


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


def _assigned(name: str, verifier: Verifier, state_dir: Path) -> Installed | None:
    try:
        assignment = read_state(state_dir).models[name]
    except (NotFound, SettingError, KeyError):
        return None
    return installed_copy(assignment.digest, verifier, state_dir)


def _is_fixed(ref: Ref) -> bool:
    return ref.version.isdigit() if ref.scheme == "models" else bool(ref.version)
