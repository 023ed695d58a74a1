"""Erasing: what is recorded of an entity goes wherever the service keeps it, and the trees still prove all the rest.

Of a decision stay its id, time, author and place, and the hash of its leaf, which without its salt tells nothing. What
waits in a spool goes once it is shipped: the keeper looks each minute until the segments of then have ended, and each
hour ever after. A legal hold goes before.
"""

import logging
import time
from collections.abc import Iterable, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, and_, bindparam, exists, not_, or_, select

from scoreline.core.errors import DatabaseRefused, ErasureRefused
from scoreline.records.archive import Archive
from scoreline.records.asked import ask, is_asked
from scoreline.records.chain import ERASURE, lock_open
from scoreline.records.database import SQLITE, Database
from scoreline.records.holds import Hold, active_holds, held
from scoreline.records.leaves import COLUMNS, Cells, leaf_of, sign_for, with_authors
from scoreline.records.left import Left, left
from scoreline.records.rollout_tables import SHADOW_SCORES, UNITS
from scoreline.records.rows import author_key, author_of
from scoreline.records.tables import ARCHIVES, DECISIONS, ERASURES, MOVED, OUTCOMES, SEGMENTS
from scoreline.signing import Signer

SLICE_ROWS: Final = 5000
WATCH_NS: Final = 3600 * 10**9  # so long at least the keeper looks each minute for what comes up
_DAY_NS: Final = 86_400 * 10**9
_KEPT: Final = ("id", "time_ns", "author", "segment", "place", "unsent")
_ID, _SEGMENT, _PLACE, _LEAF = (COLUMNS.index(name) for name in ("id", "segment", "place", "leaf"))
Problem = DatabaseRefused | OSError
log = logging.getLogger("scoreline.records.erase")


class Eraser:
    """Erases in one database and its archive; signs for it. `said` are erasures that it has complained of already."""

    def __init__(self, database: Database, signer: Signer, archive: str = "", said: set[int] | None = None) -> None:
        self._database = database
        self._signer = signer
        self._archive = Archive(archive) if archive else None
        self._said = set() if said is None else said

    def erase(self, entity: bytes, reason: str, who: str) -> tuple[int, list[Left]]:
        """Erases all about an entity, given as its hash; the erasure's number, and what left before.

        Raises ErasureRefused while a hold covers any of it, DatabaseDown, DatabaseRefused or OSError; once it is put
        down, the keeper goes on with it.
        """
        with self._database.writing() as connection:
            self._database.lock(connection)  # no hold is placed meanwhile
            for table in (DECISIONS, MOVED):
                covered = and_(table.c.entity == entity, held(connection, table))
                if connection.scalar(select(select(table.c.id).where(covered).exists())):
                    raise ErasureRefused(
                        "a legal hold covers decisions about this entity: `scoreline holds` lists them"
                    )
            before = left(connection, entity)
            number, _ = ask(connection, self._signer, entity, reason, who)
            asked = connection.execute(select(ERASURES).where(ERASURES.c.id == number)).one()
        was_there, problem = self._apply(asked)
        if was_there:
            self._database.scrub()
        if problem:
            raise problem
        return number, before

    def again(self, *, every: bool) -> None:
        """Erases what has come up since, of erasures that wait or of `every` one. Raises as `erase`, at the end."""
        wanted = select(ERASURES).order_by(ERASURES.c.id)
        with self._database.reading() as connection:
            found = connection.execute(wanted if every else wanted.where(ERASURES.c.done_ns.is_(None))).all()
        numbers, was_any, problems = list[int](), False, list[Problem]()
        for asked in found:
            with self._database.reading() as connection:
                if not is_asked(connection, self._signer, asked):
                    self._complain(asked)
                    continue
                has_come_up = asked.done_ns is None or connection.scalar(select(or_(*_of(asked.entity, asked.at_ns))))
            was_there, problem = self._apply(asked) if has_come_up else (False, None)
            was_any |= was_there
            if problem:
                problems.append(problem)
            elif was_there or asked.done_ns is None:
                numbers.append(asked.id)
        self._conclude(numbers, was_any=was_any)
        if problems:
            raise problems[0]

    def _complain(self, asked: Any) -> None:
        if asked.id not in self._said:
            self._said.add(asked.id)
            log.error(
                "erasure %s is not what this service has signed for, and is left alone: see `scoreline audit verify`, "
                "and ask for it again with `scoreline audit erase` if it is meant",
                asked.id,
            )

    def _apply(self, asked: Any) -> tuple[bool, Problem | None]:
        """Whether there was something, and why not all of it could be erased.

        What a steward just now moves into a file is in the database before it is in there: so files come last.
        """
        with self._database.reading() as connection:
            moving = set(connection.scalars(select(ARCHIVES.c.id).where(~ARCHIVES.c.done)))
        n_decisions, n_outcomes = self._erase_slices(asked)
        n_archived, problem = self._erase_archived(self._archive, asked, moving) if self._archive else (0, None)
        n_decisions += n_archived
        with self._database.writing() as connection:
            self._database.lock(connection)
            n_outcomes += _forget_entity(connection, asked.entity, asked.at_ns)
            connection.execute(UNITS.delete().where(UNITS.c.unit == asked.entity))
            if n_decisions or n_outcomes:  # it is done once what is left of it in journals is gone too
                counts: dict[str, Any] = {"decisions": ERASURES.c.decisions + n_decisions, "done_ns": None}
                counts |= {"outcomes": ERASURES.c.outcomes + n_outcomes}
                connection.execute(ERASURES.update().where(ERASURES.c.id == asked.id).values(**counts))
        return bool(n_decisions or n_outcomes), problem

    def _erase_slices(self, asked: Any) -> tuple[int, int]:
        """Decisions and outcomes that were erased in the database."""
        n_decisions = n_outcomes = 0
        while True:
            with self._database.writing() as connection:
                self._database.lock(connection)
                lock_open(connection)
                found = _erase_slice(connection, asked.entity, asked.at_ns)
                if found:
                    places = _places((row[_SEGMENT], row[_PLACE]) for row in found)
                    sign_for(connection, places, self._signer, time.time_ns(), ERASURE, {"erasure": asked.id})
                    n_outcomes += _forget(connection, [row[_ID] for row in found])
            n_decisions += len(found)
            if len(found) < SLICE_ROWS:
                return n_decisions, n_outcomes

    def _erase_archived(self, archive: Archive, asked: Any, moving: set[int]) -> tuple[int, Problem | None]:
        """Writes every file anew that has decisions about the entity: how many of them, and what could not be read.

        A file that was written while this was asked for has some that no stub tells of.
        """
        with self._database.reading() as connection:
            of_entity = and_(MOVED.c.entity == asked.entity, MOVED.c.time_ns <= asked.at_ns)
            found = select(MOVED.c.archive, MOVED.c.id).where(of_entity, not_(held(connection, MOVED)))
            ids: dict[int, set[bytes]] = {}
            for file_id, id_ in connection.execute(found):
                ids.setdefault(file_id, set()).add(id_)
            files = connection.execute(select(ARCHIVES).order_by(ARCHIVES.c.id)).all()
            holds = list(active_holds(connection).values())
        n_rows, problem = 0, None
        for file in files:
            is_new = not file.done or file.id in moving or abs(file.at_ns - asked.at_ns) < _DAY_NS
            try:
                wanted = ids.get(file.id, set())
                if asked.done_ns is None and is_new:
                    wanted |= _of_file(archive, file.name, asked, holds)
                n_rows += self._erase_file(archive, file, wanted, asked.id) if wanted else 0
            except (DatabaseRefused, OSError) as error:
                problem = problem or error
        return n_rows, problem

    def _erase_file(self, archive: Archive, file: Any, ids: set[bytes], number: int) -> int:
        """How many were erased that had left the database."""
        erased, n_rows = list[Cells](), 0

        def change(row: Cells, json_: str) -> Cells:
            if row[_ID] not in ids or row[_LEAF] is not None:
                return row
            erased.append(row)
            return erased_cells(row, author_key(author_of(json_)))

        def then(connection: Connection) -> None:
            nonlocal n_rows
            places = _places((row[_SEGMENT], row[_PLACE]) for row in erased)
            sign_for(connection, places, self._signer, time.time_ns(), ERASURE, {"erasure": number})
            gone = [row[_ID] for row in erased]
            for start in range(0, len(gone), SLICE_ROWS):
                some = gone[start : start + SLICE_ROWS]
                told = MOVED.c.id.in_(some), MOVED.c.entity.is_not(None)
                n_rows += connection.execute(MOVED.update().where(*told).values(entity=None)).rowcount
                _forget(connection, some)

        archive.rewrite(self._database, file.id, file.name, change, then)
        return n_rows

    def _conclude(self, numbers: Sequence[int], *, was_any: bool) -> None:
        """Nothing waits any more once every segment of then has ended, an hour has passed, and journals are clean."""
        if not numbers or ((was_any or self._database.kind == SQLITE) and not self._database.scrub()):
            return
        now_ns = time.time_ns()
        with self._database.writing() as connection:
            waiting = exists().where(not_(SEGMENTS.c.final), SEGMENTS.c.id <= ERASURES.c.last_segment)
            open_ = ERASURES.c.id.in_(numbers), ERASURES.c.done_ns.is_(None), ERASURES.c.at_ns <= now_ns - WATCH_NS
            connection.execute(ERASURES.update().where(*open_, not_(waiting)).values(done_ns=now_ns))


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
    """Removes the outcomes of some decisions, and what challengers made of them; returns how many outcomes."""
    connection.execute(SHADOW_SCORES.delete().where(SHADOW_SCORES.c.id.in_(ids)))
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


def _of_file(archive: Archive, name: str, asked: Any, holds: Sequence[Hold]) -> set[bytes]:
    """The ids of what a file says about the entity, but for what is held."""
    about = archive.about(name, asked.entity)
    models: dict[str, str] = {}
    ids = set()
    for json, id_, time_ns in about:
        model = models.get(json) or models.setdefault(json, author_of(json).model)
        if time_ns <= asked.at_ns and not any(_covers(hold, model, asked.entity, time_ns) for hold in holds):
            ids.add(id_)
    return ids


def _covers(hold: Hold, model: str, entity: bytes, time_ns: int) -> bool:
    of = hold.model in (None, model) and hold.entity in (None, entity)
    return of and (hold.from_ns or 0) <= time_ns and (hold.until_ns is None or time_ns < hold.until_ns)


def _places(found: Iterable[tuple[int, int]]) -> dict[int, list[int]]:
    places: dict[int, list[int]] = {}
    for segment, place in found:
        places.setdefault(segment, []).append(place)
    return places
