"""Prediction ids: UUID version 7 (RFC 9562), derived ones version 8; one base per request, consecutive per row.

The last 20 bits count the rows of the request, so ids of a thousand rows cost one draw and sort as the rows came.
"""

import hashlib
import os
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from scoreline.core.errors import NotFound

ROW_BITS: Final = 20
MAX_ROWS: Final = 1 << ROW_BITS
_DRAW_BYTES: Final = 7
_BLOCK_BYTES: Final = 585 * _DRAW_BYTES
_RAND_B_MASK: Final = (1 << 42) - 1
_VERSION_7: Final = 0x7 << 76
_VERSION_8: Final = 0x8 << 76
_VARIANT: Final = 0b10 << 62
_TEXT: Final = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")


class IdSource:
    """Draws ids; its random bits come from the system in blocks. One per process: a fork must make its own."""

    def __init__(self) -> None:
        self._block = b""
        self._used = 0

    def new_base(self, time_ns: int) -> int:
        """A fresh 128-bit id for row 0 of a request taken up at `time_ns`: 48 bits of milliseconds, 54 random bits."""
        start = self._used
        if start == len(self._block):
            self._block = os.urandom(_BLOCK_BYTES)
            start = 0
        self._used = start + _DRAW_BYTES
        return _assembled(time_ns, _VERSION_7, int.from_bytes(self._block[start : self._used], "big"))


def derived_base(time_ns: int, topic: str, partition: int, offset: int) -> int:
    """The 128-bit id for row 0 of a message of a stream: the same whenever the message is read again.

    UUID version 8 (RFC 9562) laid out as version 7: 48 bits of the message's own time in milliseconds, then 54 bits of
    SHA-256 over topic, partition and offset in the place of random ones.
    """
    source = f"{len(topic)}:{topic}:{partition}:{offset}".encode()
    drawn = int.from_bytes(hashlib.sha256(source).digest()[:_DRAW_BYTES], "big")
    return _assembled(time_ns, _VERSION_8, drawn)


def _assembled(time_ns: int, version: int, random: int) -> int:
    rand_b = (random & _RAND_B_MASK) << ROW_BITS
    return (time_ns // 1_000_000 << 80) | version | (random >> 44 << 64) | _VARIANT | rand_b


def text(base: int) -> str:
    """The usual text of an id."""
    digits = f"{base:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def parse(given: str) -> int:
    """The id a text names: `parse(text(base)) == base`; raises NotFound, without repeating what was given."""
    if not _TEXT.fullmatch(given):
        raise NotFound("there is no such decision: its id is the prediction_id of an answer")
    return int(given.replace("-", ""), 16)


def texts(base: int, n_rows: int) -> tuple[str, Sequence[str]]:
    """The ids of all rows of a request, in row order, as what they share and how each ends."""
    return text(base)[:-5], _endings(n_rows)


@lru_cache(maxsize=8)
def _endings(n_rows: int) -> Sequence[str]:
    return [f"{row:05x}" for row in range(n_rows)]
