"""Erasing: what is recorded of an entity goes wherever the service keeps it, and the trees still prove all the rest.

Of a decision stay its id, time, author and place, and the hash of its leaf, which without its salt tells nothing. What
waits in a spool goes once it is shipped: the keeper looks each minute until the segments of then have ended, and each
hour ever after. A legal hold goes before.
"""

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Table, and_, bindparam, exists, func, not_, or_, select

from scoreline.core.errors import ErasureRefused
from scoreline.records.archive import Archive
from scoreline.records.chain import ERASURE
from scoreline.records.database import Database
from scoreline.records.holds import held
from scoreline.records.leaves import COLUMNS, Cells, leaf_of, sign_for, with_authors
from scoreline.records.rows import author_key, author_of
from scoreline.records.tables import ARCHIVES, AUTHORS, DECISIONS, ERASURES, EXPORTS, MOVED, OUTCOMES, SEGMENTS
from scoreline.signing import Signer

SLICE_ROWS: Final = 5000
_KEPT: Final = ("id", "time_ns", "author", "segment", "place", "unsent")
_ID, _SEGMENT, _PLACE, _LEAF, _ENTITY = (COLUMNS.index(name) for name in ("id", "segment", "place", "leaf", "entity"))


@dataclass(frozen=True, slots=True)
class Erasure:
    """What was asked for, and how far it is; `waiting` segments of then have not ended and may still hold decisions."""

    number: int
    at_ns: int
    who: str
    reason: str
    decisions: int
    outcomes: int
    waiting: int


@dataclass(frozen=True, slots=True)
class Left:
    """A file that left before and may hold what was erased: Scoreline cannot reach it."""

    kind: str
    name: str
    digest: str
    who: str
    at_ns: int


class Eraser:
    """Erases in one database and its archive; signs for it."""

    def __init__(self, database: Database, signer: Signer, archive: str = "") -> None:
        self._database = database
        self._signer = signer
        self._archive = Archive(archive) if archive else None

    def erase(self, entity: bytes, reason: str, who: str) -> tuple[int, list[Left]]:
        """Erases all about an entity, given as its hash; the erasure's number, and what left before.

        Raises ErasureRefused while a hold covers any of it, DatabaseDown or DatabaseRefused.
        """
        at_ns = time.time_ns()
        with self._database.writing() as connection:
            self._database.lock(connection)  # no hold is placed meanwhile
            for table in (DECISIONS, MOVED):
                covered = and_(table.c.entity == entity, held(connection, table))
                if connection.scalar(select(select(table.c.id).where(covered).exists())):
                    raise ErasureRefused(
                        "a legal hold covers decisions about this entity: `scoreline holds` lists them"
                    )
            left = _left(connection, entity)
            last = connection.scalar(select(func.max(SEGMENTS.c.id))) or 0
            asked = {"entity": entity, "reason": reason, "who": who, "at_ns": at_ns, "last_segment": last}
            number = int(connection.execute(ERASURES.insert().values(**asked).returning(ERASURES.c.id)).scalar_one())
        self._apply(number, entity, at_ns)
        self._conclude(number, at_ns)
        return number, left

    def again(self, *, every: bool) -> None:
        """Erases what has come up since, of erasures that wait or of `every` one. Raises as `erase`."""
        wanted = select(ERASURES.c.id, ERASURES.c.entity, ERASURES.c.at_ns)
        with self._database.reading() as connection:
            found = connection.execute(wanted if every else wanted.where(ERASURES.c.done_ns.is_(None))).all()
        for number, entity, at_ns in found:
            with self._database.reading() as connection:
                has_come_up = connection.scalar(select(or_(*_of(entity, at_ns))))
            if has_come_up:
                self._apply(number, entity, at_ns)
            self._conclude(number, time.time_ns())

    def _apply(self, number: int, entity: bytes, at_ns: int) -> None:
        n_decisions = n_outcomes = 0
        if self._archive:
            n_decisions += self._erase_archived(self._archive, number, entity, at_ns)
        while True:
            with self._database.writing() as connection:
                self._database.lock(connection)
                self._database.overwrite(connection)
                found = _erase_slice(connection, entity, at_ns)
                if found:
                    places = _places((row[_SEGMENT], row[_PLACE]) for row in found)
                    sign_for(connection, places, self._signer, time.time_ns(), ERASURE, {"erasure": number})
                    n_outcomes += _forget(connection, [row[_ID] for row in found])
                n_decisions += len(found)
                if len(found) < SLICE_ROWS:
                    n_outcomes += _forget_entity(connection, entity, at_ns)
                    counts = {"decisions": ERASURES.c.decisions + n_decisions}
                    counts |= {"outcomes": ERASURES.c.outcomes + n_outcomes}
                    connection.execute(ERASURES.update().where(ERASURES.c.id == number).values(**counts))
                    break
        if n_decisions or n_outcomes:
            self._database.scrub()

    def _erase_archived(self, archive: Archive, number: int, entity: bytes, at_ns: int) -> int:
        """Writes every file anew that has decisions about the entity; returns how many of them."""
        with self._database.reading() as connection:
            of_entity = and_(MOVED.c.entity == entity, MOVED.c.time_ns <= at_ns, not_(held(connection, MOVED)))
            found = connection.execute(select(MOVED.c.archive, MOVED.c.id).where(of_entity))
            ids: dict[int, set[bytes]] = {}
            for file_id, id_ in found:
                ids.setdefault(file_id, set()).add(id_)
            files = connection.execute(select(ARCHIVES.c.id, ARCHIVES.c.name, ARCHIVES.c.done)).all()
        n_rows = 0
        for file in files:
            wanted = ids.get(file.id, set())
            if not file.done:  # on its way: some of its decisions are in the database still
                wanted = {row[_ID] for _, row in archive.read(file.name) if row[_ENTITY] == entity}
            n_rows += self._erase_file(archive, file, wanted, number) if wanted else 0
        return n_rows

    def _erase_file(self, archive: Archive, file: Any, ids: set[bytes], number: int) -> int:
        erased: list[Cells] = []

        def change(row: Cells, json_: str) -> Cells:
            if row[_ID] not in ids or row[_LEAF] is not None:
                return row
            erased.append(row)
            return erased_cells(row, author_key(author_of(json_)))

        def then(connection: Connection) -> None:
            places = _places((row[_SEGMENT], row[_PLACE]) for row in erased)
            sign_for(connection, places, self._signer, time.time_ns(), ERASURE, {"erasure": number})
            gone = [row[_ID] for row in erased]
            for start in range(0, len(gone), SLICE_ROWS):
                some = gone[start : start + SLICE_ROWS]
                connection.execute(MOVED.update().where(MOVED.c.id.in_(some)).values(entity=None))
                _forget(connection, some)

        archive.rewrite(self._database, file.id, file.name, change, then)
        return len(erased) if file.done else 0

    def _conclude(self, number: int, now_ns: int) -> None:
        """Nothing waits any more once every segment of then has ended."""
        with self._database.writing() as connection:
            waiting = exists().where(not_(SEGMENTS.c.final), SEGMENTS.c.id <= ERASURES.c.last_segment)
            open_ = ERASURES.c.id == number, ERASURES.c.done_ns.is_(None), not_(waiting)
            connection.execute(ERASURES.update().where(*open_).values(done_ns=now_ns))


def erasures(database: Database) -> list[Erasure]:
    """All that were asked for, the oldest first."""
    wait = select(func.count()).where(not_(SEGMENTS.c.final), SEGMENTS.c.id <= ERASURES.c.last_segment)
    facts = [ERASURES.c[name] for name in ("at_ns", "who", "reason", "decisions", "outcomes")]
    waiting = wait.correlate(ERASURES).scalar_subquery().label("waiting")
    wanted = select(ERASURES.c.id.label("number"), *facts, waiting).order_by(ERASURES.c.id)
    with database.reading() as connection:
        return [Erasure(**found._mapping) for found in connection.execute(wanted)]


def erased_cells(row: Cells, author: bytes) -> Cells:
    """A row of `decisions` without what it said."""
    leaf = leaf_of(row, author)
    return tuple(leaf if name == "leaf" else value if name in _KEPT else None for name, value in _named(row))


def _named(row: Cells) -> Iterable[tuple[str, Any]]:
    return zip(COLUMNS, row, strict=True)


def _erase_slice(connection: Connection, entity: bytes, at_ns: int) -> Sequence[Cells]:
    mine = and_(DECISIONS.c.entity == entity, DECISIONS.c.time_ns <= at_ns, DECISIONS.c.salt.is_not(None))
    slice_ = select(*DECISIONS.c).where(mine, not_(held(connection))).limit(SLICE_ROWS)
    found = [tuple(row) for row in connection.execute(slice_)]
    if found:
        changes = []
        for row, author in with_authors(connection, found):
            cells = _named(erased_cells(row, author))
            changes.append({f"new_{name}": value for name, value in cells if name == "id" or name not in _KEPT})
        names = [name for name in COLUMNS if name not in _KEPT]
        update = DECISIONS.update().where(DECISIONS.c.id == bindparam("new_id"))
        connection.execute(update.values({name: bindparam(f"new_{name}") for name in names}), changes)
    return found


def _forget(connection: Connection, ids: list[bytes]) -> int:
    """Removes the outcomes of some decisions; returns how many."""
    return connection.execute(OUTCOMES.delete().where(OUTCOMES.c.prediction.in_(ids))).rowcount


def _of(entity: bytes, at_ns: int) -> Iterable[ColumnElement[bool]]:
    """Whether decisions about an entity are here, in the database and in the archive, and outcomes about it."""
    for time_ns in (DECISIONS.c.time_ns, MOVED.c.time_ns, OUTCOMES.c.received_ns):
        table = time_ns.table
        yield exists().where(table.c.entity == entity, time_ns <= at_ns)


def _forget_entity(connection: Connection, entity: bytes, at_ns: int) -> int:
    """Removes the outcomes about an entity, unless a hold keeps decisions that they are of; returns how many."""
    here, archived, _ = _of(entity, at_ns)
    if connection.scalar(select(or_(here, archived))):
        return 0
    of_entity = OUTCOMES.c.entity == entity, OUTCOMES.c.received_ns <= at_ns
    return connection.execute(OUTCOMES.delete().where(*of_entity)).rowcount


def _left(connection: Connection, entity: bytes) -> list[Left]:
    """Exports that may hold decisions about an entity."""
    spans: dict[str, tuple[int, int]] = {}
    models = {id_: author_of(text).model for id_, text in connection.execute(select(AUTHORS.c.id, AUTHORS.c.json))}
    for table in (DECISIONS, MOVED):
        for author, first_ns, last_ns in connection.execute(_span(table, entity)):
            model = models.get(author, "")
            known = spans.get(model, (first_ns, last_ns))
            spans[model] = min(known[0], first_ns), max(known[1], last_ns)
    found = connection.execute(select(EXPORTS).order_by(EXPORTS.c.id))
    return [Left(row.kind, row.name, row.digest, row.who, row.at_ns) for row in found if _may_hold(row, entity, spans)]


def _span(table: Table, entity: bytes) -> Any:
    times: list[ColumnElement[Any]] = [func.min(table.c.time_ns), func.max(table.c.time_ns)]
    return select(table.c.author, *times).where(table.c.entity == entity).group_by(table.c.author)


def _may_hold(export: Any, entity: bytes, spans: dict[str, tuple[int, int]]) -> bool:
    by = json.loads(export.filter)
    if by.get("entity") not in (None, entity.hex()) or not export.rows:
        return False
    return any(
        by.get("model") in (None, "", model)
        and (export.from_ns is None or export.from_ns <= last_ns)
        and (export.until_ns is None or export.until_ns >= first_ns)
        for model, (first_ns, last_ns) in spans.items()
    )


def _places(found: Iterable[tuple[int, int]]) -> dict[int, list[int]]:
    places: dict[int, list[int]] = {}
    for segment, place in found:
        places.setdefault(segment, []).append(place)
    return places
