"""A folder from which an image with bundles is built: what it serves, whom it trusts, and how it is set."""

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from scoreline.core.errors import SettingError
from scoreline.core.manifest import Manifest
from scoreline.core.ports import Registry, Verifier
from scoreline.operations.install import install_tried

PLACE: Final = "/opt"
DOCKERFILE: Final = """\
# Written by `scoreline image`; BASE is an image of Scoreline.
ARG BASE={base}
FROM ${{BASE}}
COPY bundles {place}/bundles
COPY trust {place}/trust
ENV {environment}
CMD {command}
"""


def bake(
    folder: Path,
    refs: Sequence[str],
    registries: Mapping[str, Registry],
    verifier: Verifier,
    trusted: Sequence[Path],
    base: str,
    environment: Mapping[str, str],
) -> list[Manifest]:
    """Writes a folder, which must not exist, for `docker build`; `trusted` are the files of public keys.

    Every bundle is verified and tried out first. Raises NotFound, RegistryDown, BundleError or SettingError.
    """
    folder.mkdir(parents=True)
    manifests = []
    with tempfile.TemporaryDirectory(prefix="scoreline-") as state:
        for ref in refs:
            installed = install_tried(ref, registries, verifier, Path(state))
            shutil.copytree(installed.path, folder / "bundles" / _name(installed.manifest))
            manifests.append(installed.manifest)
    keys = [_keep_key(key, folder / "trust" / f"{number}.pub") for number, key in enumerate(trusted, 1)]
    known = {"SCORELINE_TRUST__KEYS": ",".join(f"{PLACE}/trust/{key}" for key in keys), **environment}
    told = DOCKERFILE.format(
        base=base,
        place=PLACE,
        environment=" \\\n    ".join(f"{name}={_quoted(value)}" for name, value in known.items()),
        command=json.dumps(["serve", *(f"{PLACE}/bundles/{_name(manifest)}" for manifest in manifests)]),
    )
    (folder / "Dockerfile").write_text(told)
    return manifests


def _name(manifest: Manifest) -> str:
    return f"{manifest.name}-{manifest.version}"


def _keep_key(key: Path, target: Path) -> str:
    raw = key.read_bytes()
    if b"PRIVATE KEY" in raw:
        raise SettingError(f"{key} holds a private key, which must not go into an image: give the public one")
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(raw)
    return target.name


def _quoted(text: str) -> str:
    """As a Dockerfile has it: its own escapes, and no variables."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$") + '"'
