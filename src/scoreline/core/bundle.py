"""Reading a bundle: once, into memory, verified before anything in it is parsed further.

Delivery order:
  1. every regular file of the folder is read once; symlinks, folders and oversized files are refused;
  2. the bytes are hashed and the signature over exactly these digests is checked;
  3. the manifest is parsed, and its own list of files compared with what was signed;
  4. engines load from these bytes, never again from disk.
"""

import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from scoreline.core.errors import BundleError, NotFound
from scoreline.core.link import Floats
from scoreline.core.manifest import MANIFEST, Manifest, read_json
from scoreline.core.ports import Verifier

SIGNATURE: Final = "model.sig"
PROFILE: Final = "profile.json"
GOLDEN: Final = "golden.json"
MAX_FILES: Final = 16
MAX_BYTES: Final = 4 << 30


@dataclass(frozen=True, slots=True)
class Golden:
    """Rows with the exact margins they gave at sealing: values (n, n_fields), margins (n, n_outputs), float64."""

    values: Floats
    margins: Floats


@dataclass(frozen=True, slots=True)
class Bundle:
    """A verified bundle in memory: manifest, the bytes of every file, the signature, and its key's fingerprint."""

    manifest: Manifest
    files: Mapping[str, bytes]
    signature: bytes
    signed_by: str

    @property
    def golden(self) -> Golden:
        """The golden rows; raises BundleError where they do not fit the manifest."""
        found = read_json(GOLDEN, self.files[GOLDEN])
        try:
            values = _matrix(found["rows"], len(self.manifest.schema.fields))
            margins = _matrix(found["margins"], self.manifest.outputs)
        except (KeyError, TypeError, ValueError):
            raise BundleError("golden.json does not hold rows and margins of this model") from None
        if len(values) != len(margins) or not len(values):
            raise BundleError("golden.json has no rows, or not one margin per row")
        return Golden(values, margins)


def read_bundle(path: Path, verifier: Verifier) -> Bundle:
    """Reads and verifies the bundle in a folder; raises NotFound, BundleError, SignatureRefused."""
    files = read_files(path)
    signature = files.pop(SIGNATURE, None)
    if signature is None:
        raise BundleError(f"{path.name} has no {SIGNATURE}: seal the model with `scoreline seal`")
    digests = {name: hashlib.sha256(raw).hexdigest() for name, raw in files.items()}
    signed_by = verifier.verify(signature, digests)
    if MANIFEST not in files:
        raise BundleError(f"{path.name} has no {MANIFEST}")
    manifest = Manifest.from_bytes(files[MANIFEST])
    listed = dict(manifest.files)
    if listed != {name: digest for name, digest in digests.items() if name != MANIFEST}:
        raise BundleError(f"{path.name}: the files are not those its manifest lists")
    if PROFILE not in listed or GOLDEN not in listed:
        raise BundleError(f"{path.name} has no {PROFILE} or no {GOLDEN}")
    return Bundle(manifest, files, signature, signed_by)


def read_files(path: Path) -> dict[str, bytes]:
    """The bytes of every file of a folder, each read once; raises NotFound or BundleError."""
    try:
        names = sorted(entry.name for entry in path.iterdir())
    except OSError:
        raise NotFound(f"no bundle folder at {path}") from None
    if len(names) > MAX_FILES:
        raise BundleError(f"{path.name} has more than {MAX_FILES} files: not a bundle")
    found: dict[str, bytes] = {}
    room = MAX_BYTES
    for name in names:
        raw = read_plain(path / name, room)
        room -= len(raw)
        found[name] = raw
    return found


def read_plain(path: Path, room: int, *, links: bool = False) -> bytes:
    """The bytes of a plain file of at most `room`, read once; raises BundleError, and waits for nobody."""
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if links else os.O_NOFOLLOW)
    try:
        fd = os.open(path, flags)
    except OSError:
        raise BundleError(f"{path.name} cannot be read as a plain file") from None
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise BundleError(f"{path.name} is not a plain file: not part of a bundle")
        if status.st_size > room:
            raise BundleError(f"{path.name} is too large: a bundle has at most {MAX_BYTES >> 30} GiB")
        with os.fdopen(fd, "rb", closefd=False) as file:
            return file.read(status.st_size)
    finally:
        os.close(fd)


def _matrix(rows: object, width: int) -> Floats:
    if not isinstance(rows, list) or any(len(row) != width for row in rows):
        raise ValueError
    return np.array([[np.nan if value is None else value for value in row] for row in rows], dtype=np.float64)
