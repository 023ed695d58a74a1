"""The spool: one folder of segments that workers append to and the steward tails.

Delivery order of a decision:
  1. the engine has scored it;
  2. its frame goes to the worker's segment with one `write` (it outlives the process from here on);
  3. only then the answer leaves.
A write that does not go through whole is taken back, and the request refused.
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from scoreline.core.batch import Batch
from scoreline.core.decision import Author, Decisions
from scoreline.core.errors import RecordRefused
from scoreline.core.ports import Score, Sink
from scoreline.records.frames import MAGIC, frame_author, frame_decisions, read_frames
from scoreline.records.segments import BEGIN, Segment, new_writer, read_piece, segment_name, segments, size_of

RETRY_AFTER_S: Final = 5
LOOK_NS: Final = 1_000_000_000


class SpoolWriter:
    """Appends decisions to segments of its own; one per process and thread. A `core.ports.Sink`."""

    def __init__(self, folder: Path, segment_bytes: int) -> None:
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._writer = new_writer(time.time_ns())
        self._number = 0
        self._fd = -1
        self._size = 0
        self._looked_ns = 0
        self._authors: dict[int, int] = {}
        self._kept: list[Author] = []  # keeps the ids in `_authors` from being used again
        folder.mkdir(parents=True, exist_ok=True)

    def write(self, decisions: Decisions) -> None:
        """One frame, one `write`; durable on return against the death of this process. Raises RecordRefused."""
        if self._fd < 0 or self._size >= self._segment_bytes or self._is_removed(decisions.context.time_ns):
            self._begin_segment()
        author = decisions.author
        index = self._authors.get(id(author))
        if index is None:
            index = len(self._kept)
            self._append(frame_author(index, author))
            self._kept.append(author)
            self._authors[id(author)] = index
        self._append(frame_decisions(index, decisions))

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _is_removed(self, time_ns: int) -> bool:
        """Whether someone deleted the segment under us; looked at once a second."""
        if time_ns - self._looked_ns < LOOK_NS:
            return False
        self._looked_ns = time_ns
        return os.fstat(self._fd).st_nlink == 0

    def _begin_segment(self) -> None:
        """A file gets its name once it is locked and begun: nobody takes it for one that has ended."""
        self.close()
        name = segment_name(self._writer, self._number)
        path = self._folder / f".{name}"
        self._size = 0
        self._authors, self._kept = {}, []
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._append(MAGIC)
            path.rename(self._folder / name)
        except OSError as error:
            self._abandon(path)
            raise RecordRefused(f"no spool segment can be begun: {error.strerror}", RETRY_AFTER_S) from None
        except RecordRefused:
            self._abandon(path)
            raise
        self._number += 1

    def _abandon(self, path: Path) -> None:
        self.close()
        with suppress(OSError):
            path.unlink()

    def _append(self, frame: bytes | bytearray) -> None:
        try:
            written = os.write(self._fd, frame)
        except OSError as error:
            raise RecordRefused(f"the decision cannot be recorded: {error.strerror}", RETRY_AFTER_S) from None
        if written != len(frame):
            self._take_back()
            raise RecordRefused("the decision cannot be recorded: the disk is full", RETRY_AFTER_S)
        self._size += written

    def _take_back(self) -> None:
        try:
            os.ftruncate(self._fd, self._size)
        except OSError:
            self.close()  # what is torn stays the end of its segment, where readers pass it over


def recorded(score: Score, sink: Sink) -> Score:
    """The same score, with every decision in the sink before it is answered."""

    def score_and_record(batch: Batch) -> Decisions:
        decisions = score(batch)
        sink.write(decisions)
        return decisions

    return score_and_record


class SpoolReader:
    """Tails every segment of a folder from where it last stopped; what it has read it hands on once and in order."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._offsets: dict[str, int] = {}
        self._authors: dict[str, dict[int, Author]] = {}

    def read(self, take: Callable[[Decisions], None]) -> int:
        """Hands on what has been appended since the last call, about 4 MiB per segment; returns how many decisions.

        Segments that are gone are forgotten.
        """
        found = segments(self._folder)
        for name in self._offsets.keys() - {segment.path.name for segment in found}:
            del self._offsets[name], self._authors[name]
        return sum(self._read_segment(segment, take) for segment in found)

    def is_past(self, segment: Segment, offset: int) -> bool:
        """Whether it has handed on all of a segment up to an offset."""
        return self._offsets.get(segment.path.name, BEGIN) >= offset

    def _read_segment(self, segment: Segment, take: Callable[[Decisions], None]) -> int:
        offset = self._offsets.get(segment.path.name, BEGIN)
        if size_of(segment.path) <= offset:
            return 0
        found, end = read_piece(segment.path, offset, self._authors.setdefault(segment.path.name, {}))
        for decisions in found:
            take(decisions)
        self._offsets[segment.path.name] = end
        return sum(map(len, found))

    @property
    def lag_bytes(self) -> int:
        """Bytes appended and not yet read."""
        return sum(
            max(0, size_of(segment.path) - self._offsets.get(segment.path.name, BEGIN))
            for segment in segments(self._folder)
        )


def read_spool(folder: Path) -> Iterator[Decisions]:
    """Every decision in a spool, in the order each segment was written; what is deleted meanwhile is passed over."""
    for segment in segments(folder):
        with suppress(FileNotFoundError):
            raw = segment.path.read_bytes()
            yield from (decisions for decisions, _ in read_frames(raw[len(MAGIC) :], {}) if decisions is not None)
