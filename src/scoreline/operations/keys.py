"""Keys the service makes for itself in the state folder: made once, secrets readable by their owner only."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from scoreline.core.errors import SettingError
from scoreline.operations.files import replace_bytes
from scoreline.signing import Signer, generate_keys

KEY_BYTES: Final = 32


def kept_key(path: Path) -> bytes:
    """The 32 bytes in a file, made by whoever comes first; raises SettingError where the file holds something else."""
    with suppress(FileNotFoundError):
        return _read(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    fd, temporary = tempfile.mkstemp(prefix=".", dir=path.parent)
    try:
        os.write(fd, os.urandom(KEY_BYTES))
        os.fsync(fd)
        with suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        os.close(fd)
        Path(temporary).unlink()
    return _read(path)


def kept_signer(private: Path, public: Path) -> Signer:
    """The signer with the key in a file, made by whoever comes first; its public half is put beside it."""
    if not private.exists():
        private.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".", dir=private.parent) as folder:
            new = Path(folder) / "key"
            generate_keys(new, new.with_suffix(".pub"))
            with suppress(FileExistsError):
                os.link(new, private)
    signer = Signer.from_file(private)
    if not public.exists():
        replace_bytes(public, signer.public_pem)
    return signer


def _read(path: Path) -> bytes:
    found = path.read_bytes()
    if len(found) != KEY_BYTES:
        raise SettingError(f"{path.name} in the state folder is not a key of {KEY_BYTES} bytes; put it back as it was")
    return found
