"""A folder of bundles as a registry: one bundle per subfolder, one file per alias.

The alias `champion` of `fraud` is a file named `fraud@champion` that holds a version.
"""

from pathlib import Path
from typing import Final

from scoreline.core.bundle import read_plain
from scoreline.core.errors import BundleError, NotFound
from scoreline.core.manifest import MANIFEST, Manifest
from scoreline.core.refs import Ref, Version

_MAX_ALIAS_BYTES: Final = 200
_MAX_MANIFEST_BYTES: Final = 64 << 20


class FolderRegistry:
    """Resolves `folder:/NAME[@ALIAS|/VERSION]` under one root. A `core.ports.Registry`."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def resolve(self, ref: str) -> Version:
        """The version, found by its manifest, not by its folder's name; raises NotFound.

        Without alias or version: the alias `champion`, else the only version there is.
        """
        wanted = Ref.parse(ref)
        versions = self._versions(wanted.name)
        if not versions:
            raise NotFound(f"no bundle of {wanted.name!r} in {self._root}")
        version = wanted.version or self._alias(wanted, versions)
        if version not in versions:
            raise NotFound(f"{wanted.name!r} has no version {version!r} in {self._root}; it has {_listed(versions)}")
        return versions[version]

    def fetch(self, version: Version, _: Path) -> Path:
        """Where it lies: a folder is here already."""
        return Path(version.place)

    def _alias(self, wanted: Ref, versions: dict[str, Version]) -> str:
        alias = wanted.alias or "champion"
        path = self._root / f"{wanted.name}@{alias}"
        try:
            return read_plain(path, _MAX_ALIAS_BYTES, links=True).decode("utf-8", "replace").strip()
        except BundleError:
            if wanted.alias or path.exists():
                raise NotFound(
                    f"no alias {wanted.name}@{alias} in {self._root}; write a version to that file"
                ) from None
        if len(versions) > 1:
            raise NotFound(
                f"{wanted.name!r} has versions {_listed(versions)} and no champion: name one as "
                f"folder:/{wanted.name}/VERSION, or write it to {self._root / f'{wanted.name}@champion'}"
            )
        return next(iter(versions))

    def _versions(self, name: str) -> dict[str, Version]:
        """Every version, as the manifests say; a folder that is no bundle is passed over."""
        found: dict[str, Version] = {}
        for folder in sorted(self._root.iterdir()) if self._root.is_dir() else ():
            try:
                manifest = Manifest.from_bytes(read_plain(folder / MANIFEST, _MAX_MANIFEST_BYTES))
            except BundleError:
                continue
            if manifest.name == name:
                if manifest.version in found:
                    other = Path(found[manifest.version].place).name
                    raise NotFound(f"{other} and {folder.name} are both {name} {manifest.version}")
                found[manifest.version] = Version(name, manifest.version, manifest.digest, str(folder))
        return found


def _listed(versions: dict[str, Version]) -> str:
    return ", ".join(versions)
