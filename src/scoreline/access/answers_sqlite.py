"""Answers under idempotency keys in a file of this host, which all its workers share and restarts leave as it is.

Who is at a key holds a lock on a byte of another file, which ends with its process however it dies.
"""

import fcntl
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from scoreline.access.answers import KEEP_S, Kept
from scoreline.core.errors import IdempotencyBusy, IdempotencyDown, IdempotencyMismatch

FILE: Final = "answers.db"
LOCKS: Final = "answers.lock"
PAGE_BYTES: Final = 4096
SWEEP_S: Final = 1.0
SWEEP_ROWS: Final = 1000
BUSY_S: Final = 1.0
_TABLE: Final = (
    "CREATE TABLE IF NOT EXISTS answers (key BLOB UNIQUE NOT NULL, request BLOB NOT NULL, until INTEGER NOT NULL, "
    "answer BLOB NOT NULL, frames BLOB NOT NULL)",
    "CREATE INDEX IF NOT EXISTS answers_until ON answers (until)",
)
_OLD: Final = "DELETE FROM answers WHERE key IN (SELECT key FROM answers WHERE until <= ? LIMIT ?)"


class SqliteAnswers:
    """A `answers.Answers` in `folder`, with at most about `max_bytes`; opened when it is first needed."""

    def __init__(self, folder: Path, max_bytes: int, now_s: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._max_pages = max_bytes // PAGE_BYTES
        self._now_s = now_s
        self._connection: sqlite3.Connection | None = None
        self._locks = -1
        self._mine: set[bytes] = set()
        self._sweep_at_s = 0.0

    def claim(self, key: bytes, request: bytes) -> Kept | None:
        with self._asking() as connection:
            self._lock(key)
            try:
                self._sweep(connection)
                find = "SELECT request, answer, frames FROM answers WHERE key = ? AND until > ?"
                row = connection.execute(find, (key, int(self._now_s()))).fetchone()
                if row is not None and row[0] != request:
                    raise IdempotencyMismatch("this Idempotency-Key was used for another request: use a new one")
            except BaseException:
                self._unlock(key)
                raise
            if row is None:
                return None
            kept = Kept(row[1], row[2])
            if not kept.frames:
                self._unlock(key)
            return kept

    def prepare(self, key: bytes, request: bytes, kept: Kept) -> None:
        values = key, request, int(self._now_s()) + KEEP_S, kept.answer, kept.frames
        with self._asking() as connection:
            connection.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?)", values)

    def done(self, key: bytes) -> None:
        try:
            with self._asking() as connection:
                connection.execute("UPDATE answers SET frames = x'' WHERE key = ?", (key,))
        finally:
            self._unlock(key)

    def drop(self, key: bytes) -> None:
        try:
            with self._asking() as connection:
                connection.execute("DELETE FROM answers WHERE key = ?", (key,))
        finally:
            self._unlock(key)

    def leave(self, key: bytes) -> None:
        self._unlock(key)

    @contextmanager
    def _asking(self) -> Iterator[sqlite3.Connection]:
        """The connection; what goes wrong with it is IdempotencyDown."""
        try:
            if self._connection is None:
                self._connection = self._open()
            yield self._connection
        except sqlite3.Error as error:
            full = getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_FULL
            why = "limits.keys_max_bytes are full" if full else f"{FILE}: {error}"
            raise IdempotencyDown(f"idempotency keys cannot be kept now: {why}") from None
        except OSError as error:
            raise IdempotencyDown(f"idempotency keys cannot be kept now: {error.strerror}") from None

    def _open(self) -> sqlite3.Connection:
        """Nobody else reads the file: features wait in it for the moment until they are recorded."""
        for name in (FILE, LOCKS):
            os.close(os.open(self._folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        if self._locks < 0:
            self._locks = os.open(self._folder / LOCKS, os.O_RDWR | os.O_CLOEXEC)
        connection = sqlite3.connect(self._folder / FILE, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "secure_delete = ON"):
                connection.execute(f"PRAGMA {pragma}")
            connection.execute(f"PRAGMA max_page_count = {self._max_pages}")
            for statement in _TABLE:
                connection.execute(statement)
        except BaseException:
            connection.close()
            raise
        return connection

    def _lock(self, key: bytes) -> None:
        """A process can hold a lock twice, so that its own are remembered, too."""
        try:
            if key in self._mine:
                raise BlockingIOError
            fcntl.lockf(self._locks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _byte_of(key))
        except (BlockingIOError, PermissionError):
            raise IdempotencyBusy("a request with this Idempotency-Key is being answered: ask again for it") from None
        self._mine.add(key)

    def _unlock(self, key: bytes) -> None:
        self._mine.discard(key)
        fcntl.lockf(self._locks, fcntl.LOCK_UN, 1, _byte_of(key))

    def _sweep(self, connection: sqlite3.Connection) -> None:
        now_s = self._now_s()
        if now_s >= self._sweep_at_s:
            self._sweep_at_s = now_s + SWEEP_S
            connection.execute(_OLD, (int(now_s), SWEEP_ROWS))


def _byte_of(key: bytes) -> int:
    """The place of a key's lock: any byte of a file may be locked, also where nothing is written."""
    return int.from_bytes(key[:8], "big") >> 2
