"""Files that are there whole or not at all, and durably where it matters."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def replace_text(path: Path, text: str) -> None:
    """Writes a file that readers see either as it was or as it will be; only its owner may read it."""
    replace_bytes(path, text.encode())


def replace_bytes(path: Path, raw: bytes) -> None:
    """As `replace_text`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fd, temporary = tempfile.mkstemp(prefix=".", dir=path.parent)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(raw)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink()
        raise


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A name to write to; the file becomes `path`, durably, when the block ends without an error."""
    make_folder(path.parent)
    temporary = path.with_name(f"{path.name}.tmp")
    yield temporary
    commit(temporary, path)


def make_folder(folder: Path) -> None:
    """Makes a folder and those above it, durably."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync(folder.parent)


def commit(temporary: Path, path: Path) -> None:
    """Gives a written file its name, durably."""
    sync(temporary)
    temporary.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Has the bytes of a file, or the names in a folder, on disk before it returns."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
