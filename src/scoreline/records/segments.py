"""The segments of a spool: one writer's files, numbered without a gap, each read in pieces from an offset.

A writer holds a lock on the segment it writes, which ends with it however it dies: a segment that can be locked is
final. What is torn at the end of a final segment was never answered.
"""

import fcntl
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from scoreline.core.decision import Author
from scoreline.records.frames import MAGIC, Item, missing_bytes, read_frames

SUFFIX: Final = ".seg"
DAMAGED: Final = ".damaged"
READ_BYTES: Final = 1024 * 1024  # of rows, which take three times that: it bounds the steward's memory
ITEMS_BYTES: Final = READ_BYTES // 4  # of decisions, which take seven times that
BEGIN: Final = len(MAGIC)
_NAME: Final = re.compile(rf"([0-9a-f]{{24}})-([0-9]{{8}}){re.escape(SUFFIX)}")


@dataclass(frozen=True, slots=True, order=True)
class Segment:
    """A file of a spool; writers sort by the time they began."""

    writer: str
    number: int
    path: Path = field(compare=False)

    @property
    def is_final(self) -> bool:
        """Whether nobody writes it any more."""
        fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(fd)
        return True


def new_writer(time_ns: int) -> str:
    """A name no other writer of any host has: 16 digits of its beginning, 8 random ones."""
    return f"{time_ns:016x}{os.urandom(4).hex()}"


def segment_name(writer: str, number: int) -> str:
    return f"{writer}-{number:08d}{SUFFIX}"


def segments(folder: Path) -> list[Segment]:
    """The segments of a spool, by writer and number; other files are passed over."""
    found = ((_NAME.fullmatch(path.name), path) for path in folder.glob(f"*{SUFFIX}"))
    return sorted(Segment(match[1], int(match[2]), path) for match, path in found if match)


def damaged_segments(folder: Path, part: bytes) -> list[str]:
    """The names of segments that were kept because they are damaged, and have these bytes in them."""
    found = (path for path in folder.glob(f"*{SUFFIX}{DAMAGED}") if part in path.read_bytes())
    return sorted(path.name for path in found)


def read_items(path: Path, offset: int, authors: dict[int, Author]) -> tuple[list[Item], int]:
    """What the whole frames after an offset say, about 256 KiB of them, and the offset after these.

    `authors` belongs to the segment and is filled on the way. Where it is empty and the offset is not the beginning,
    what stands before is read again for its authors.
    """
    at = offset if authors else BEGIN
    while at < offset:
        at = _read(path, at, authors)[1]
    return _read(path, offset, authors)


def read_raw(path: Path, offset: int, n_bytes: int = READ_BYTES) -> bytes:
    """So many bytes after an offset; more where one frame is larger."""
    with path.open("rb") as file:
        file.seek(offset)
        raw = file.read(n_bytes)
        if len(raw) == n_bytes:
            raw += file.read(missing_bytes(raw))
    return raw


def size_of(path: Path) -> int:
    """The bytes of a segment; 0 of one that is deleted."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _read(path: Path, offset: int, authors: dict[int, Author]) -> tuple[list[Item], int]:
    found, end = [], 0
    for item, end in read_frames(read_raw(path, offset, ITEMS_BYTES), authors):  # noqa: B007
        if item is not None:
            found.append(item)
    return found, offset + end
