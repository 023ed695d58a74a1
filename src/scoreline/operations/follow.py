"""Following: the versions that moving REFs name by now are installed, tried out and assigned."""

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import replace
from pathlib import Path

from scoreline.core.errors import BundleError
from scoreline.core.ports import Registry, Verifier
from scoreline.core.refs import Ref, is_path
from scoreline.operations.install import install, registry_of
from scoreline.operations.state import Assignment, read_state, write_state
from scoreline.operations.trial import try_out


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
        try_out(installed.path, manifest.digest)
    except BundleError as error:
        failed[manifest.digest] = str(error)
        raise
    state = read_state(state_dir)
    assignment = Assignment(manifest.version, manifest.digest)
    write_state(state_dir, replace(state, models={**state.models, manifest.name: assignment}))
    return manifest.version


def _is_fixed(ref: Ref) -> bool:
    return ref.version.isdigit() if ref.scheme == "models" else bool(ref.version)
