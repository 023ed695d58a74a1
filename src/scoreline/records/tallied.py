"""The tallies of a host, and how far its spool was folded into them, kept in one file: a restart counts nothing twice.

Delivery order:
  1. what was appended to the spool is folded into the tallies in memory;
  2. now and then both they and the offsets go to the file, which is replaced as a whole;
  3. only what stands in the file counts as read: a segment is deleted after that.
A death between any two steps folds again what the file does not have.
"""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from scoreline.records.frames import Item
from scoreline.records.segments import BEGIN, Segment
from scoreline.records.spool import SpoolReader
from scoreline.records.tally import Shape, Tallies

FORMAT: Final = 1
SAVE_S: Final = 2.0
log = logging.getLogger("scoreline.records.tallied")


class Tallied:
    """What a steward counts; `shape_of` as `Tallies` takes it. `also` is given all that is read, too."""

    def __init__(
        self, spool: Path, file: Path, shape_of: Callable[[str], Shape], also: Callable[[Item], None] = lambda _: None
    ) -> None:
        self._file = file
        self.reader = SpoolReader(spool)
        self.tallies = Tallies(shape_of)
        self._also = also
        self._saved = self._load()
        self._saved_s = time.monotonic()

    def read(self) -> int:
        """Folds what was appended since the last call, about 256 KiB of each segment; returns how many decisions."""
        found = self.reader.read(self._take)
        if time.monotonic() - self._saved_s >= SAVE_S:
            self.save()
        return found

    def save(self) -> None:
        """Keeps what is counted, where anything was; what cannot be kept is counted again by the next steward."""
        self._saved_s = time.monotonic()
        offsets = self.reader.offsets
        if offsets == self._saved:
            return
        raw = msgspec.msgpack.encode({"format": FORMAT, "offsets": offsets, "tallies": self.tallies.kept()})
        temporary = self._file.with_name(f".{self._file.name}")
        try:
            temporary.write_bytes(raw)
            temporary.replace(self._file)
        except OSError as error:
            log.error("what is counted cannot be kept: %s", error.strerror)
        else:
            self._saved = offsets

    def is_past(self, segment: Segment, offset: int) -> bool:
        """Whether all of a segment up to an offset is counted for good."""
        return self._saved.get(segment.path.name, BEGIN) >= offset

    def _take(self, item: Item) -> None:
        self.tallies.add(item)
        self._also(item)

    def _load(self) -> dict[str, int]:
        """What the last steward kept; a file that cannot be read is said, and counting begins with the spool."""
        try:
            kept: dict[str, Any] = msgspec.msgpack.decode(self._file.read_bytes(), strict=False)
            if kept["format"] != FORMAT:
                raise ValueError(f"format {kept['format']}")
            self.tallies.take(kept["tallies"])
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, msgspec.MsgspecError) as error:
            log.error("what was counted before cannot be read, counting begins anew: %s", type(error).__name__)
            self.tallies = Tallies(self.tallies.shape_of)
            return {}
        self.reader.begin(kept["offsets"])
        return dict(kept["offsets"])
