"""Marks: what one worker is scoring at this moment, in memory that outlives it.

Made before the fork and shared: the worker sets and clears marks, its parent sees how long one stands, and whoever
replaces a worker that died reads what it was about. One worker writes at a time.
"""

import json
import mmap
import struct
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final, NamedTuple

from scoreline.core.decision import Author, author_from

SIZE: Final = 16 << 20  # of addresses: only what is written to takes memory
MOST_ENTITIES: Final = 1024
_NOTHING: Final = 0
_SCORING: Final = 1
_MAY_END: Final = 2
_HEAD: Final = struct.Struct("<QIIIq16s")  # number, rows, author, bytes of entities, time, base
_NUMBER: Final = struct.Struct("<Q")
_NUMBER_AND_ROWS: Final = struct.Struct("<QI")
_HEAD_AT: Final = 8
_ENTITIES_AT: Final = _HEAD_AT + _HEAD.size
_ENTITY: Final = 16
_AUTHORS: Final = struct.Struct("<I")
_AUTHORS_AT: Final = _ENTITIES_AT + MOST_ENTITIES * _ENTITY
_JSON_AT: Final = _AUTHORS_AT + _AUTHORS.size
_pack: Final = _HEAD.pack_into


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a canary may score before its worker is ended: `hang_ns`, and `row_ns` more for each further row."""

    hang_ns: int
    row_ns: int

    def limit_ns(self, n_rows: int) -> int:
        return self.hang_ns + max(n_rows - 1, 0) * self.row_ns


class Standing(NamedTuple):
    """A mark that may be ended, by a number that no other has (0: none stands), and how many rows it is about."""

    number: int
    n_rows: int


NONE: Final = Standing(0, 0)


@dataclass(frozen=True, slots=True)
class Mark:
    """A request that was being scored: by whom, with which id, taken up when, and whom it was about."""

    author: Author
    base: int
    time_ns: int
    entities: tuple[bytes, ...]


class Marks:
    """The memory of one worker. Of authors that are not named in it nothing is marked."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, SIZE)
        self._indexes: dict[int, int] = {}
        self._named: Sequence[Author] = ()  # keeps the ids in `_indexes` from being used again
        self._number = 0

    def name(self, authors: Sequence[Author]) -> bool:
        """Writes down who may be marked from now on; whether there was room for all. Nothing is marked meanwhile."""
        (self._number,) = _NUMBER.unpack_from(self._memory, _HEAD_AT)  # as the one before left it: none comes again
        raw, n_named = _as_json(authors)
        self._memory[_JSON_AT : _JSON_AT + len(raw)] = raw
        _AUTHORS.pack_into(self._memory, _AUTHORS_AT, len(raw))
        self._named = authors
        self._indexes = {id(author): index for index, author in enumerate(authors[:n_named])}
        return n_named == len(authors)

    def set(
        self, author: Author, base: int, time_ns: int, entities: Sequence[bytes], n_rows: int, *, may_end: bool
    ) -> None:
        """Before scoring. `entities` are hashes of 16 bytes, each once; the first 1,024 are kept.

        `may_end`: whoever looks may end this worker when the mark stands too long.
        """
        index = self._indexes.get(id(author))
        if index is None:
            return
        self._number += 1
        told = b"".join(entities[:MOST_ENTITIES])
        memory = self._memory
        _pack(memory, _HEAD_AT, self._number, n_rows, index, len(told), time_ns, base.to_bytes(16, "big"))
        if told:
            memory[_ENTITIES_AT : _ENTITIES_AT + len(told)] = told
        memory[0] = _MAY_END if may_end else _SCORING

    def clear(self) -> None:
        """After scoring, and once what was left has been taken care of."""
        self._memory[0] = _NOTHING

    @property
    def any_named(self) -> bool:
        """Whether there may be marks at all."""
        return bool(_AUTHORS.unpack_from(self._memory, _AUTHORS_AT)[0])

    @property
    def may_end(self) -> Standing:
        """The mark that may be ended and stands now."""
        found = Standing(*_NUMBER_AND_ROWS.unpack_from(self._memory, _HEAD_AT))
        return found if self._memory[0] == _MAY_END else NONE

    def left(self) -> Mark | None:
        """The mark that stands, for whoever replaces the one who set it.

        Raises ValueError where it cannot be read: what died may have written anywhere.
        """
        try:
            return self._left()
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise ValueError(f"a mark cannot be read: {type(error).__name__}") from None

    def _left(self) -> Mark | None:
        memory = self._memory
        if memory[0] == _NOTHING:
            return None
        _, _, index, n_bytes, time_ns, base = _HEAD.unpack_from(memory, _HEAD_AT)
        (size,) = _AUTHORS.unpack_from(memory, _AUTHORS_AT)
        if n_bytes > MOST_ENTITIES * _ENTITY or size > SIZE:
            raise ValueError
        authors = json.loads(memory[_JSON_AT : _JSON_AT + size])
        told = memory[_ENTITIES_AT : _ENTITIES_AT + n_bytes]
        entities = tuple(told[at : at + _ENTITY] for at in range(0, n_bytes, _ENTITY))
        return Mark(author_from(authors[index]), int.from_bytes(base, "big"), time_ns, entities)


def _as_json(authors: Sequence[Author]) -> tuple[bytes, int]:
    """As many of the authors as there is room for, and how many they are; nothing for none."""
    found, room = list[bytes](), SIZE - _JSON_AT - len(b"[]")
    for author in authors:
        raw = json.dumps(asdict(author)).encode()
        room -= len(raw) + len(b",")
        if room < 0:
            break
        found.append(raw)
    return b"[%s]" % b",".join(found) if found else b"", len(found)
