"""The files of a job: which there are, of what format, and whether they are still the same."""

import os
from dataclasses import dataclass
from pathlib import Path

from scoreline.columnar import FORMATS, Format
from scoreline.core.errors import BatchRefused, NotFound


@dataclass(frozen=True, slots=True)
class InputFile:
    """One file to score. `name` is its path below the source folder, or just its name; `size` is in bytes."""

    path: Path
    name: str
    format: Format
    size: int
    mtime_ns: int

    def check_unchanged(self) -> None:
        """Raises BatchRefused where the file is no longer the one the job began with."""
        try:
            status = self.path.stat()
        except OSError:
            status = None
        if status is None or (status.st_size, status.st_mtime_ns) != (self.size, self.mtime_ns):
            raise BatchRefused(f"{self.name} changed while it was scored; start again once it is complete")


def format_of(path: Path) -> Format:
    """The format a file's suffix stands for; raises BatchRefused."""
    found = FORMATS.get(path.suffix.lower())
    if found is None:
        raise BatchRefused(f"{path.name}: the name must end in {', '.join(FORMATS)}")
    return found


def find_inputs(source: Path) -> tuple[InputFile, ...]:
    """The source itself, or every Parquet, CSV and JSON lines file below it, hidden ones left out, sorted by name.

    Raises NotFound or BatchRefused.
    """
    if not source.exists():
        raise NotFound(f"no input at {source}")
    if not source.is_dir():
        return (_input(source, source.name),)
    found: list[InputFile] = []
    for folder, folders, names in os.walk(source):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(folder, name)
            if not name.startswith(".") and path.suffix.lower() in FORMATS:
                found.append(_input(path, path.relative_to(source).as_posix()))
    if not found:
        raise NotFound(f"no file that ends in {', '.join(FORMATS)} in {source}")
    return tuple(sorted(found, key=lambda file: file.name))


def _input(path: Path, name: str) -> InputFile:
    kind = format_of(path)
    status = path.stat()
    return InputFile(path, name, kind, status.st_size, status.st_mtime_ns)
