"""Bundles of the state folder by their digest: what a digest names is the same bytes, whoever signed them.

They were verified when they were installed. A key that was revoked since does not make its decisions unaccountable.
"""

import hashlib
from pathlib import Path
from typing import Any

from scoreline.core.bundle import MAX_BYTES, PROFILE, Bundle, read_bundle, read_plain
from scoreline.core.errors import BundleError, NotFound, SignatureRefused
from scoreline.core.manifest import MANIFEST, Manifest, read_json


class ByDigest:
    """Takes the bundle of one digest. A `core.ports.Verifier`."""

    def __init__(self, digest: str) -> None:
        self._digest = digest

    def verify(self, _: bytes, digests: dict[str, str]) -> str:
        if digests.get(MANIFEST) != self._digest:
            raise SignatureRefused("it is another bundle than the one to try")
        return ""


def bundle_path(state_dir: Path, digest: str) -> Path:
    """Where the bundle of a digest lies; raises NotFound where there is none."""
    path = state_dir / "bundles" / digest
    if not digest.isalnum() or not path.is_dir():
        raise NotFound(f"the bundle {digest[:12]} of this decision is not here: bring it with `scoreline pull`")
    return path


def bundle_of(state_dir: Path, digest: str) -> Bundle:
    """The bundle of a digest, its every file checked; raises NotFound, BundleError."""
    return read_bundle(bundle_path(state_dir, digest), ByDigest(digest))


def manifest_of(state_dir: Path, digest: str) -> Manifest:
    """The manifest alone, which the digest is the hash of; raises NotFound, BundleError."""
    raw = read_plain(bundle_path(state_dir, digest) / MANIFEST, MAX_BYTES)
    if hashlib.sha256(raw).hexdigest() != digest:
        raise BundleError(f"the manifest in bundles/{digest[:12]} is another one: bring the bundle again")
    return Manifest.from_bytes(raw)


def profile_of(state_dir: Path, digest: str) -> tuple[Manifest, Any]:
    """The manifest and the profile, without reading the model; raises NotFound, BundleError."""
    manifest = manifest_of(state_dir, digest)
    raw = read_plain(bundle_path(state_dir, digest) / PROFILE, MAX_BYTES)
    if hashlib.sha256(raw).hexdigest() != manifest.files.get(PROFILE):
        raise BundleError(f"the profile in bundles/{digest[:12]} is another one: bring the bundle again")
    return manifest, read_json(PROFILE, raw)
