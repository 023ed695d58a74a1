"""Keys the service makes for itself: random bytes in the state folder, made once, readable by their owner only."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from scoreline.core.errors import SettingError

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


def _read(path: Path) -> bytes:
    found = path.read_bytes()
    if len(found) != KEY_BYTES:
        raise SettingError(f"{path.name} in the state folder is not a key of {KEY_BYTES} bytes; put it back as it was")
    return found
