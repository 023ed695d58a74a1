"""Shipping: segments of the spool into the decision database, each decision once.

Delivery order of a piece of a segment:
  1. it is read from the offset that the database has for the segment;
  2. a transaction begins, and moves that offset on where it still is the old one; else another shipper was faster, and
     the transaction ends here;
  3. its authors, its decisions with the salts of their leaves, the tree over these, what is counted of it for rollouts
     and drift, and which of it came late (`reach`) go into the same transaction;
  4. when a segment has ended and is wholly shipped, a transaction that outlives the machine says so, and the root;
  5. only then its file is deleted, once whoever else reads it is through.
A death between any two steps loses nothing and ships nothing twice: what is true is what is in the database.
"""

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from sqlalchemy import Connection, text

from scoreline.core.decision import Author
from scoreline.core.errors import DatabaseDown, DatabaseRefused
from scoreline.records.database import POSTGRESQL, Database
from scoreline.records.load import Values, author_ids, drop_repeated, insert_decisions, mark_unsent
from scoreline.records.merkle import Tree
from scoreline.records.moved import any_moved
from scoreline.records.partitions import days_of, make_days
from scoreline.records.pieces import Piece, is_damaged, read_rows
from scoreline.records.reach import Reaching
from scoreline.records.rows import SALT_BYTES, author_key, first_score, leaf
from scoreline.records.segments import BEGIN, DAMAGED, Segment, segments, size_of

DAYS_AGAIN_S: Final = 60.0
log = logging.getLogger("scoreline.records.ship")
_ADD: Final = text(
    'INSERT INTO segments (writer, number, host, "offset", rows, missed, repeated, tree, shipped_ns) '
    "VALUES (:writer, :number, :host, :offset, 0, 0, 0, :tree, :now_ns) ON CONFLICT DO NOTHING"
)
_FIND: Final = text(
    'SELECT id, "offset", rows, tree, final, unsent FROM segments WHERE writer = :writer AND number = :number'
)
_MOVE: Final = text('UPDATE segments SET "offset" = :end, shipped_ns = :now_ns WHERE id = :id AND "offset" = :offset')
_GROW: Final = text(
    "UPDATE segments SET rows = :rows, tree = :tree, missed = missed + :missed, repeated = repeated + :repeated, "
    "unsent = :unsent WHERE id = :id"
)
_END: Final = text('UPDATE segments SET final = true, root = :root WHERE id = :id AND "offset" = :offset AND NOT final')


class PieceCounter(Protocol):
    """Who counts what is shipped, so exactly once."""

    def count(self, connection: Connection, piece: Piece, writer: str, now_ns: int) -> None:
        """Counts a piece of a writer's segment; what it writes belongs to the transaction that ships it."""
        ...


@dataclass(slots=True)
class _Known:
    """What the database has of a segment, as last seen."""

    id: int
    offset: int
    rows: int
    tree: bytes
    final: bool
    unsent: bytes | None
    authors: dict[int, Author] = field(default_factory=dict)


class Shipper:
    """Ships one spool. `may_delete(segment, offset)`: whether all others who read a segment are past this offset.

    `counting`: who count each piece in the transaction that ships it.
    """

    def __init__(
        self,
        folder: Path,
        database: Database,
        host: str,
        may_delete: Callable[[Segment, int], bool] | None = None,
        counting: Sequence[PieceCounter] = (),
    ) -> None:
        self._folder = folder
        self._database = database
        self._host = host
        self._may_delete = may_delete or (lambda *_: True)
        self._counting = counting
        self._reaching = Reaching(database, folder, host)
        self._known: dict[str, _Known] = {}
        self._author_ids: dict[bytes, int] = {}
        self._days: set[int] = set()
        self._days_wait_until_s = 0.0
        self.shipped = 0  # decisions, by this object
        self.refused: dict[str, str] = {}  # segments that cannot be shipped, and why
        self.damaged: list[str] = []  # segments kept beside the spool, because more is in them than could be read

    def ship(self) -> int:
        """One look at every segment, about 1 MiB of each; returns how many steps it took. None: all is shipped.

        A writer's segments are shipped one after the other: one that is refused holds up the next of its writer, not
        those of others. Raises DatabaseDown, and then nothing is lost.
        """
        begun_ns = time.time_ns()
        self._reaching.begin()
        found, steps = segments(self._folder), 0
        sizes = {segment.path.name: size_of(segment.path) for segment in found}
        held: set[str] = set()
        for name in self._known.keys() - {segment.path.name for segment in found}:
            del self._known[name]
        refused: dict[str, str] = {}
        for segment in found:
            if segment.writer in held:
                continue
            try:
                steps += self._ship(segment)
            except FileNotFoundError:
                continue  # another shipper is through with it
            except (DatabaseRefused, OSError) as error:
                self._known.pop(segment.path.name, None)
                refused[segment.path.name] = str(error)
            except BaseException:
                self._known.pop(segment.path.name, None)  # whether the transaction went through, the database knows
                raise
            known = self._known.get(segment.path.name)
            if known is None or not known.final:
                held.add(segment.writer)
        self.refused = refused
        stuck = {segment.writer for segment in found if segment.path.name in refused}  # nobody waits for these
        is_through = all(self._is_through(each, sizes) for each in found if each.writer not in stuck)
        self._reaching.say(begun_ns if is_through else 0)
        return steps

    def end(self) -> None:
        """Nothing more comes to the spool; raises DatabaseDown or DatabaseRefused. What is left in it, others ship."""
        if not segments(self._folder):
            self._reaching.end()

    @property
    def lag_bytes(self) -> int:
        """Bytes that are in the spool and not in the database."""
        return sum(self._lag(segment) for segment in segments(self._folder))

    def _is_through(self, segment: Segment, sizes: Mapping[str, int]) -> bool:
        """Whether what was in a segment is shipped: of one that another shipper is through with nothing is left."""
        name, known = segment.path.name, self._known.get(segment.path.name)
        return bool(known and (known.final or known.offset >= sizes[name])) or not size_of(segment.path)

    def _lag(self, segment: Segment) -> int:
        known = self._known.get(segment.path.name)
        if known and known.final:
            return 0
        return max(0, size_of(segment.path) - (known.offset if known else BEGIN))

    def _ship(self, segment: Segment) -> int:
        known = self._known.get(segment.path.name) or self._find(segment)
        if known.final:
            return self._delete(segment, known)
        ended = segment.is_final  # asked before it is read: of one that has ended, all is read
        piece = read_rows(segment.path, known.offset, known.authors)
        if piece.end > known.offset:
            try:
                return self._insert(segment, known, piece)
            except DatabaseRefused:
                # An id again, of a copied segment or a message that was read twice: the first is the decision.
                return self._insert(segment, known, piece, once=True)
        return self._end(segment, known) if ended else 0

    def _find(self, segment: Segment) -> _Known:
        """The segment as the database has it; new to it at the latest now."""
        names: dict[str, Any] = {"writer": segment.writer, "number": segment.number}
        with self._database.writing() as connection:
            new = {"host": self._host, "offset": BEGIN, "tree": b"", "now_ns": time.time_ns()}
            connection.execute(_ADD, names | new)
            known = _Known(*connection.execute(_FIND, names).one())
        self._known[segment.path.name] = known
        return known

    def _insert(self, segment: Segment, known: _Known, piece: Piece, *, once: bool = False) -> int:
        """One piece in one transaction, nothing where another was faster; `once`: without ids that are there."""
        self._make_days(piece)
        tree, salts = Tree(known.rows, known.tree), os.urandom(SALT_BYTES * len(piece.rows))
        with self._database.writing() as connection:
            moved = {"id": known.id, "offset": known.offset, "end": piece.end, "now_ns": time.time_ns()}
            if connection.execute(_MOVE, moved).rowcount != 1:
                del self._known[segment.path.name]
                return 1
            repeated = drop_repeated(connection, piece) if once else 0
            new = {author for author in piece.authors.values() if author_key(author) not in self._author_ids}
            ids = author_ids(connection, new)
            insert_decisions(connection, _values(piece, self._author_ids | ids, known, tree, salts))
            if not once and any_moved(connection, (row[0] for row in piece.rows)):
                raise DatabaseRefused("ids that are in the archive came again")
            for counts in self._counting:
                counts.count(connection, piece, segment.writer, moved["now_ns"])
            self._reaching.count_late(connection, piece)
            for base in piece.unsent:
                connection.execute(mark_unsent(base))
            grown: dict[str, Any] = {
                "id": known.id,
                "rows": tree.size,
                "tree": tree.state,
                "missed": piece.missed,
                "repeated": repeated,
                "unsent": b"".join([known.unsent or b"", *piece.unsent]) or None,
            }
            connection.execute(_GROW, grown)
        self._author_ids |= ids
        known.offset, known.rows, known.tree, known.unsent = piece.end, tree.size, tree.state, grown["unsent"]
        self.shipped += len(piece.rows)
        return 1

    def _make_days(self, piece: Piece) -> None:
        """The partitions of a piece, and the day after: it is made while nobody waits for it.

        Whoever reads all days holds it up; until then rows go to `decisions_other`, and move once the day is made.
        """
        if self._database.kind != POSTGRESQL or time.monotonic() < self._days_wait_until_s:
            return
        days = days_of(piece.times) - self._days
        if days:
            try:
                with self._database.writing() as connection:
                    self._database.lock(connection)
                    make_days(connection, days | {day + 1 for day in days})
            except DatabaseDown as error:
                self._days_wait_until_s = time.monotonic() + DAYS_AGAIN_S
                log.warning("days of decisions are made later: %s", error)
            else:
                self._days |= days

    def _end(self, segment: Segment, known: _Known) -> int:
        ended = {"id": known.id, "offset": known.offset, "root": Tree(known.rows, known.tree).root}
        with self._database.writing(durable=True) as connection:
            if connection.execute(_END, ended).rowcount != 1:
                del self._known[segment.path.name]
                return 1
        known.final = True
        return 1 + self._delete(segment, known)

    def _delete(self, segment: Segment, known: _Known) -> int:
        if not self._may_delete(segment, known.offset):
            return 0
        if is_damaged(segment.path, known.offset):
            segment.path.rename(segment.path.with_name(segment.path.name + DAMAGED))
            self.damaged.append(segment.path.name)
        else:
            segment.path.unlink()
        return 1


def _values(piece: Piece, ids: dict[bytes, int], known: _Known, tree: Tree, salts: bytes) -> Iterator[Values]:
    """The rows of a piece in the order of `load.COLUMNS`; at their end the tree has grown by a leaf of each."""
    keys = {place: author_key(piece.authors[place]) for place in set(piece.by)}
    named = {place: (key, ids[key]) for place, key in keys.items()}
    leaves: list[bytes] = []
    at = 0
    for place, (by, row) in enumerate(zip(piece.by, piece.rows, strict=True), known.rows):
        key, author = named[by]
        salt = salts[at : (at := at + SALT_BYTES)]
        leaves.append(leaf(salt, key, row))
        told = row if row[2] else (*row[:2], None, *row[3:])
        yield (*told, author, first_score(row[8]), known.id, place, salt)
    tree.extend(leaves)
