"""Sealing what a registry keeps: the model of one version becomes a bundle, which then hangs on that same version."""

import tempfile
from pathlib import Path
from typing import Any, Protocol

from scoreline.core.errors import SealRefused, SettingError
from scoreline.core.ports import Registry
from scoreline.core.refs import Ref
from scoreline.sealing.seal import Sealed, seal


class ModelRegistry(Registry, Protocol):
    """A registry that keeps trained models, and bundles beside them."""

    def look_up(self, ref: str, /) -> tuple[str, str, dict[str, str]]:
        """Name, version and tags of what a REF names now, sealed or not; raises NotFound or RegistryDown."""
        ...

    def fetch_model(self, name: str, version: str, folder: Path, /) -> Path:
        """Downloads the trained model of a version into `folder`; raises NotFound or RegistryDown."""
        ...

    def attach(self, name: str, version: str, digest: str, bundle: Path, /) -> None:
        """Hangs a bundle on a version; raises NotFound or RegistryDown."""
        ...


def seal_version(
    ref: str, registry: ModelRegistry, *, folder: Path, out: Path | None, register: bool, **settings: Any
) -> Sealed:
    """Seals the model of the version a REF names, as that version, into `out` or `folder/NAME-VERSION`.

    With `register` the bundle is attached to it. `settings` are those of `sealing.seal`. Raises NotFound, RegistryDown
    and what sealing raises.
    """
    name, version, _ = registry.look_up(ref)
    origin = {"registry": f"models:/{name}/{version}", **settings.pop("origin", {})}
    wanted = settings.pop("name", None) or name, settings.pop("version", None) or version
    if wanted != (name, version):
        raise SettingError(f"{ref} is {name} {version}, and its bundle says so too: leave --name and --version out")
    with tempfile.TemporaryDirectory(prefix="scoreline-") as brought:
        try:
            model = registry.fetch_model(name, version, Path(brought))
            sealed = seal(
                model,
                name=name,
                version=version,
                out=out or folder / f"{name}-{version}",
                origin=origin,
                **settings,
            )
        except SealRefused as error:
            raise SealRefused(f"models:/{name}/{version}: {error}") from None
    if register:
        registry.attach(name, version, sealed.manifest.digest, sealed.path)
    return sealed


def is_registered(source: str) -> bool:
    """Whether what is to be sealed is a version in a registry, not a path."""
    return source.startswith("models:/") and Ref.parse(source).scheme == "models"
