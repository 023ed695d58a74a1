"""Leaves of decisions as they are kept, and what is left of a segment's tree when decisions leave.

A decision that leaves by right leaves the hash of its leaf behind, merged with those beside it to stumps: the trees of
all others stay provable. A checkpoint in the same transaction says which leaves those are, and why.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, func, select

from scoreline.core.errors import DatabaseRefused
from scoreline.records.chain import Act, Ranges, Taken, append
from scoreline.records.merkle import HASH_BYTES, Stump, Tree, merged
from scoreline.records.rows import Row, leaf
from scoreline.records.tables import AUTHORS, DECISIONS, SEGMENTS, STUMPS
from scoreline.signing import Signer

COLUMNS: Final = tuple(DECISIONS.c.keys())
_WIDTH: Final = len(Row._fields)
_ENTITY, _AUTHOR, _SEGMENT, _PLACE, _SALT, _LEAF = (
    COLUMNS.index(name) for name in ("entity", "author", "segment", "place", "salt", "leaf")
)
Facts = Mapping[str, Any]
Cells = Sequence[Any]  # of a row of `decisions`, in the order of COLUMNS


@dataclass(frozen=True, slots=True)
class Gone:
    """Leaves that are to leave, by the segment's id: some with their hashes, or all there are."""

    some: Mapping[int, Sequence[tuple[int, bytes]]]
    whole: frozenset[int] = frozenset()


def leaf_of(found: Cells, author: bytes) -> bytes:
    """The leaf of a decision by what its row says and its author's key; an erased one has it beside its place."""
    if found[_SALT] is None:
        return found[_LEAF] or bytes(HASH_BYTES)
    told = found[:_WIDTH] if found[_ENTITY] is not None else (*found[:_ENTITY], b"", *found[_ENTITY + 1 : _WIDTH])
    return leaf(found[_SALT], author, tuple(told))


def leaves_of(rows: Iterable[tuple[Cells, bytes]]) -> dict[int, list[tuple[int, bytes]]]:
    """Place and leaf of every row, each given with its author's key, by its segment's id."""
    found: dict[int, list[tuple[int, bytes]]] = defaultdict(list)
    for row, author in rows:
        found[row[_SEGMENT]].append((row[_PLACE], leaf_of(row, author)))
    return found


def with_authors(connection: Connection, rows: Iterable[Cells]) -> Iterator[tuple[Cells, bytes]]:
    """Rows with the keys of their authors; of an author that is not there with none."""
    keys = dict(tuple(found) for found in connection.execute(select(AUTHORS.c.id, AUTHORS.c.key)))
    return ((row, keys.get(row[_AUTHOR], b"")) for row in rows)


def wholly(connection: Connection, counts: Mapping[int, int]) -> frozenset[int]:
    """Of segments by how many of their decisions leave: those that have ended and then have none left.

    What is left of their trees is known without a look at a decision.
    """
    gone = select(STUMPS.c.segment, func.sum(STUMPS.c.leaves)).group_by(STUMPS.c.segment)
    before = dict(tuple(found) for found in connection.execute(gone))
    ended = connection.execute(select(SEGMENTS.c.id, SEGMENTS.c.rows).where(SEGMENTS.c.final))
    return frozenset(id_ for id_, rows in ended if id_ in counts and counts[id_] + int(before.get(id_, 0)) == rows)


def sign_away(connection: Connection, gone: Gone, signer: Signer, now_ns: int, kind: str, facts: Facts) -> None:
    """Leaves stumps where these leaves were, and signs for it; in a transaction that holds the database's lock."""
    taken = []
    for segment in _segments(connection, gone.some.keys() | gone.whole):
        of_segment = STUMPS.c.segment == segment.id
        before = [Stump(*found) for found in connection.execute(select(*_STUMP).where(of_segment))]
        if segment.id in gone.whole:
            after = Tree(segment.rows, segment.tree).stumps
            places = _without(segment.rows, before)
        else:
            new = [Stump(place, 1, hash_) for place, hash_ in gone.some[segment.id]]
            after, places = _merged(before, new), _ranges(stump.place for stump in new)
        connection.execute(STUMPS.delete().where(of_segment))
        left = [{"segment": segment.id, "place": s.place, "leaves": s.leaves, "hash": s.hash} for s in after]
        connection.execute(STUMPS.insert(), left)
        taken.append(Taken(segment.writer, segment.number, places))
    append(connection, signer, now_ns, Act(kind, facts, tuple(taken)))


def sign_for(
    connection: Connection, places: Mapping[int, Iterable[int]], signer: Signer, now_ns: int, kind: str, facts: Facts
) -> None:
    """Signs for what was done to decisions that stay where they are; as `sign_away`."""
    found = _segments(connection, places.keys())
    taken = [Taken(segment.writer, segment.number, _ranges(places[segment.id])) for segment in found]
    append(connection, signer, now_ns, Act(kind, facts, tuple(taken)))


def _segments(connection: Connection, ids: Iterable[int]) -> Sequence[Any]:
    wanted = select(SEGMENTS).where(SEGMENTS.c.id.in_(list(ids)))
    return connection.execute(wanted.order_by(SEGMENTS.c.writer, SEGMENTS.c.number)).all()


def _merged(before: list[Stump], new: list[Stump]) -> list[Stump]:
    try:
        return merged([*before, *new])
    except ValueError as error:
        raise DatabaseRefused(f"decisions cannot be removed: {error}; see `scoreline audit verify`") from None


def _ranges(places: Iterable[int]) -> Ranges:
    found: Ranges = []
    for place in sorted(places):
        if found and sum(found[-1]) == place:
            found[-1] = found[-1][0], found[-1][1] + 1
        else:
            found.append((place, 1))
    return found


def _without(rows: int, before: Iterable[Stump]) -> Ranges:
    """The places up to `rows` that no stump stands for."""
    found: Ranges = []
    at = 0
    for stump in sorted(before):
        if stump.place > at:
            found.append((at, stump.place - at))
        at = stump.place + stump.leaves
    return [*found, (at, rows - at)] if at < rows else found


_STUMP: Final = (STUMPS.c.place, STUMPS.c.leaves, STUMPS.c.hash)
