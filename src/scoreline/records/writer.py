"""The writing end of the spool: one `write` per request, or for several at once, before their answers leave.

What cannot be written whole is taken back, and the request refused; or, where one has chosen so, answered without a
record and counted, and the next frame that goes through says how many decisions are missing.
"""

import fcntl
import logging
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from scoreline.core.decision import Author, Decisions
from scoreline.core.errors import RecordRefused
from scoreline.records.frames import (
    MAGIC,
    Missed,
    append_decisions,
    frame_author,
    frame_failed,
    frame_missed,
    frame_unsent,
)
from scoreline.records.segments import SUFFIX, new_writer, segment_name

RETRY_AFTER_S: Final = 5
LOOK_NS: Final = 1_000_000_000
PROBE: Final = bytes(64 * 1024)
log = logging.getLogger("scoreline.record")


class SpoolWriter:
    """Appends decisions to segments of its own; one per process and thread. A `core.ports.Sink`.

    A segment ends at `segment_bytes`, and after `segment_s` at the latest. All files of the folder together have at
    most about `max_bytes` (0: what the disk has room for), looked at once a second, where `n_writers` write there.
    `fsync`: "never", "second" (by `unsynced`) or "always" (before the answer). `on_full`: "refuse" or "answer".
    """

    def __init__(
        self,
        folder: Path,
        segment_bytes: int,
        *,
        segment_s: int = 3600,
        max_bytes: int = 0,
        n_writers: int = 1,
        fsync: str = "never",
        on_full: str = "refuse",
    ) -> None:
        self.has_room = True
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._segment_ns = segment_s * 1_000_000_000
        self._max_bytes = max_bytes
        self._n_writers = n_writers
        self._fsync = fsync
        self._on_full = on_full
        self._writer = new_writer(time.time_ns())
        self._number = 0
        self._fd = -1
        self._size = 0
        self._begun_ns = 0
        self._looked_ns = self._measured_ns = 0
        self._used = self._own = 0
        self._authors: dict[int, int] = {}
        self._kept: list[Author] = []  # keeps the ids in `_authors` from being used again
        self._missed: Missed | None = None
        self._dirty: list[int] = []
        folder.mkdir(parents=True, exist_ok=True)

    def write(self, decisions: Decisions) -> None:
        """One frame, one `write`; durable on return against the death of this process. Raises RecordRefused."""
        self.write_all((decisions,))

    def write_all(self, requests: Sequence[Decisions]) -> None:
        """The decisions of several requests, a frame each and one `write` for all; raises RecordRefused of all."""
        try:
            self._write(requests)
        except RecordRefused as refused:
            if self.has_room:
                log.error("%s; until it can, requests are %s", refused, _MEANWHILE[self._on_full])
            self.has_room = False
            if self._on_full == "refuse":
                raise
            for decisions in requests:
                time_ns = decisions.context.time_ns
                self._missed = (self._missed or Missed(0, time_ns, time_ns)).plus(len(decisions), time_ns)

    def unsent(self, decisions: Decisions) -> None:
        """Marks decisions whose answer never left this process; where that cannot be written either, it is logged."""
        try:
            self._append(frame_unsent(self._index(decisions.author), decisions.base))
        except RecordRefused as refused:
            log.error("an answer that never left is not marked: %s", refused)

    def failed(self, author: Author, base: int, time_ns: int, kind: str, entities: Sequence[bytes]) -> None:
        """Keeps that a version did not score a request; where that cannot be written either, it is logged."""
        try:
            self._ready(time_ns)
            frame = frame_failed(self._index(author), base, time_ns, kind, entities)
            self._room_for(len(frame))
            self._append(frame)
        except RecordRefused as refused:
            log.error("that version %s of %s failed is not recorded: %s", author.version, author.model, refused)

    def look(self) -> None:
        """Ends a segment in time, and tries whether there is room again where there was none; for now and then."""
        if self._fd >= 0 and time.monotonic_ns() - self._begun_ns >= self._segment_ns:
            self.close()
        if self.has_room:
            return
        try:
            self._room_for(len(PROBE))
            self._ready(time.time_ns())
            self._append(PROBE)  # readers stop before an empty frame
            self._own -= len(PROBE)
            self._size -= len(PROBE)
            self._take_back()
            self._tell_missed()
        except RecordRefused:
            return
        self.has_room = True
        log.warning("decisions can be recorded again")

    def unsynced(self) -> list[int]:
        """File descriptors of what was written since the last call, to be synced and closed by another thread."""
        found, self._dirty = self._dirty, []
        if self._fsync == "second" and self._fd >= 0:
            found.append(os.dup(self._fd))
        return found

    def close(self) -> None:
        if self._fd < 0:
            return
        if self._fsync == "second":
            self._dirty.append(self._fd)  # its lock is given back once it is on the disk
        else:
            os.close(self._fd)
        self._fd = -1

    def _write(self, requests: Sequence[Decisions]) -> None:
        self._ready(requests[0].context.time_ns)
        if self._missed:
            self._tell_missed()
        frames, now_ns = bytearray(), time.time_ns()
        for decisions in requests:
            append_decisions(frames, self._index(decisions.author), decisions, now_ns)
        if self._max_bytes:
            self._room_for(len(frames))
        self._append(frames)
        if self._fsync == "always":
            self._sync()

    def _ready(self, time_ns: int) -> None:
        """A segment to append to."""
        if self._fd < 0 or self._size >= self._segment_bytes or self._is_removed(time_ns):
            self._begin_segment()

    def _index(self, author: Author) -> int:
        """The author's number in this segment; it is named there first."""
        if self._fd < 0:
            self._begin_segment()
        index = self._authors.get(id(author))
        if index is None:
            index = len(self._kept)
            self._append(frame_author(index, author))
            self._kept.append(author)
            self._authors[id(author)] = index
        return index

    def _tell_missed(self) -> None:
        if self._missed:
            self._append(frame_missed(self._missed))
            self._missed = None

    def _room_for(self, n_bytes: int) -> None:
        """Raises RecordRefused where the folder would grow beyond its bound; others are taken to write as much."""
        if not self._max_bytes:
            return
        now_ns = time.monotonic_ns()
        if now_ns - self._measured_ns > LOOK_NS or not self._measured_ns:
            self._measured_ns, self._own = now_ns, 0
            self._used = sum(_size(entry) for entry in os.scandir(self._folder) if entry.name.endswith(SUFFIX))
        if self._used + self._n_writers * (self._own + n_bytes) > self._max_bytes:
            raise RecordRefused(
                "the decision cannot be recorded: the spool holds records.max_bytes, see whether the database is down",
                RETRY_AFTER_S,
            )

    def _is_removed(self, time_ns: int) -> bool:
        """Whether someone deleted the segment under us; looked at once a second."""
        if time_ns - self._looked_ns < LOOK_NS:
            return False
        self._looked_ns = time_ns
        return os.fstat(self._fd).st_nlink == 0

    def _begin_segment(self) -> None:
        """A file gets its name once it is locked and begun: nobody takes it for one that has ended."""
        self.close()
        self._begun_ns = time.monotonic_ns()
        name = segment_name(self._writer, self._number)
        path = self._folder / f".{name}"
        self._size = 0
        self._authors, self._kept = {}, []
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._append(MAGIC)
            path.rename(self._folder / name)
            if self._fsync != "never":
                _sync_folder(self._folder)
        except OSError as error:
            self._abandon(path)
            raise RecordRefused(f"no spool segment can be begun: {error.strerror}", RETRY_AFTER_S) from None
        except RecordRefused:
            self._abandon(path)
            raise
        self._number += 1

    def _abandon(self, path: Path) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
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
        self._own += written

    def _sync(self) -> None:
        try:
            os.fdatasync(self._fd)
        except OSError as error:  # what the kernel holds of this file is unknown from here on
            self.close()
            raise RecordRefused(f"the decision is not on the disk: {error.strerror}", RETRY_AFTER_S) from None

    def _take_back(self) -> None:
        try:
            os.ftruncate(self._fd, self._size)
        except OSError:
            self.close()  # what is torn stays the end of its segment, where readers pass it over


_MEANWHILE: Final = {"refuse": "refused", "answer": "answered without a record, and counted"}


def sync_and_close(fds: list[int]) -> None:
    """Puts on the disk what `unsynced` gave; logs what cannot be."""
    for fd in fds:
        try:
            os.fdatasync(fd)
        except OSError as error:
            log.error("a spool segment cannot be put on the disk: %s", error.strerror)
        finally:
            os.close(fd)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _size(entry: "os.DirEntry[str]") -> int:
    try:
        return entry.stat().st_size
    except OSError:  # shipped and deleted meanwhile
        return 0
