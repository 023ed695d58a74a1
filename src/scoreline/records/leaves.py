"""Leaves of decisions as they are kept, and what is left of a segment's tree when decisions leave.

A decision that leaves by right leaves the hash of its leaf behind, merged with those beside it to stumps: the trees of
all others stay provable. A checkpoint in the same transaction says which leaves those are, and why.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, select

from scoreline.core.errors import DatabaseRefused
from scoreline.records.chain import Act, Taken, append
from scoreline.records.merkle import HASH_BYTES, Stump, merged
from scoreline.records.ranges import Ranges, joined
from scoreline.records.rows import Row, leaf
from scoreline.records.tables import AUTHORS, DECISIONS, SEGMENTS, STUMPS
from scoreline.signing import Signer

COLUMNS: Final = tuple(DECISIONS.c.keys())
_WIDTH: Final = len(Row._fields)
_MERGED: Final = 4096
_ENTITY, _AUTHOR, _SEGMENT, _PLACE, _SALT, _LEAF = (
    COLUMNS.index(name) for name in ("entity", "author", "segment", "place", "salt", "leaf")
)
Facts = Mapping[str, Any]
Cells = Sequence[Any]  # of a row of `decisions`, in the order of COLUMNS


class Leaving:
    """Decisions that are to leave, by their segment's id: as few stumps as stand for them, and which were erased."""

    def __init__(self, rows: Iterable[tuple[Cells, bytes]] = ()) -> None:
        """`rows` come each with its author's key."""
        self.stumps: dict[int, list[Stump]] = defaultdict(list)
        self.erased: dict[int, Ranges] = defaultdict(list)
        self.rows = 0
        for row, author in rows:
            self.add(row, author)

    def add(self, row: Cells, author: bytes) -> None:
        """Raises DatabaseRefused where two decisions stand in one place."""
        several = self.stumps[row[_SEGMENT]]
        several.append(Stump(row[_PLACE], 1, leaf_of(row, author)))
        if len(several) % _MERGED == 0:
            several[:] = _merged(several)
        if row[_SALT] is None:
            self.erased[row[_SEGMENT]].append((row[_PLACE], 1))
        self.rows += 1


def leaf_of(found: Cells, author: bytes) -> bytes:
    """The leaf of a decision by what its row says and its author's key; an erased one has it beside its place."""
    if found[_SALT] is None:
        return found[_LEAF] or bytes(HASH_BYTES)
    told = found[:_WIDTH] if found[_ENTITY] is not None else (*found[:_ENTITY], b"", *found[_ENTITY + 1 : _WIDTH])
    return leaf(found[_SALT], author, tuple(told))


def with_authors(connection: Connection, rows: Iterable[Cells]) -> Iterator[tuple[Cells, bytes]]:
    """Rows with the keys of their authors; of an author that is not there with none."""
    keys = dict(tuple(found) for found in connection.execute(select(AUTHORS.c.id, AUTHORS.c.key)))
    return ((row, keys.get(row[_AUTHOR], b"")) for row in rows)


def sign_away(connection: Connection, gone: Leaving, signer: Signer, now_ns: int, kind: str, facts: Facts) -> None:
    """Leaves stumps where these decisions were, and signs for it; in a transaction that holds the database's lock."""
    taken = []
    for segment in _segments(connection, gone.stumps.keys()):
        of_segment, new = STUMPS.c.segment == segment.id, _merged(gone.stumps[segment.id])
        before = {Stump(*found) for found in connection.execute(select(*_STUMP).where(of_segment))}
        after = set(_merged([*before, *new]))
        for stump in before - after:
            connection.execute(STUMPS.delete().where(of_segment, STUMPS.c.place == stump.place))
        left = [{"place": stump.place, "leaves": stump.leaves, "hash": stump.hash} for stump in after - before]
        connection.execute(STUMPS.insert().values(segment=segment.id), left)
        places = joined((stump.place, stump.leaves) for stump in new)
        taken.append(Taken(segment.writer, segment.number, places, joined(gone.erased.get(segment.id, ()))))
    append(connection, signer, now_ns, Act(kind, facts, tuple(taken)))


def sign_for(
    connection: Connection, places: Mapping[int, Iterable[int]], signer: Signer, now_ns: int, kind: str, facts: Facts
) -> None:
    """Signs for what was done to decisions that stay where they are; as `sign_away`."""
    found = _segments(connection, places.keys())
    taken = [Taken(one.writer, one.number, joined((place, 1) for place in places[one.id])) for one in found]
    append(connection, signer, now_ns, Act(kind, facts, tuple(taken)))


def _segments(connection: Connection, ids: Iterable[int]) -> Sequence[Any]:
    wanted = select(SEGMENTS).where(SEGMENTS.c.id.in_(list(ids)))
    return connection.execute(wanted.order_by(SEGMENTS.c.writer, SEGMENTS.c.number)).all()


def _merged(stumps: list[Stump]) -> list[Stump]:
    try:
        return merged(stumps)
    except ValueError as error:
        raise DatabaseRefused(f"decisions cannot be removed: {error}; see `scoreline audit verify`") from None


_STUMP: Final = (STUMPS.c.place, STUMPS.c.leaves, STUMPS.c.hash)
