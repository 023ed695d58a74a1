"""Archiving: days that are past become Parquet files, and leave the database once their file is whole.

Order of a day:
  1. its decisions are written to a file with a name that was never used;
  2. the file is put down in `archives`, where the day still has as many decisions, erased and not, and no other file is
     being taken up;
  3. exactly the decisions in the file are removed, in slices, each leaving in `moved` what joins outcomes to it; what
     arrived meanwhile stays, for a file of its own;
  4. the file is `done`, and in PostgreSQL the empty day goes.
A death after 1 leaves a file that counts for nothing, one after 2 is gone on from there. `leftovers` names every file
that counts for nothing, from before it is written, and until it is deleted.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, and_, func, select

from scoreline.core.errors import DatabaseRefused, SettingError
from scoreline.core.names import load
from scoreline.records.chain import RETENTION, lock_open
from scoreline.records.database import POSTGRESQL, Database
from scoreline.records.holds import active_holds
from scoreline.records.leaves import COLUMNS, Cells, Leaving, sign_away
from scoreline.records.moved import forget, move
from scoreline.records.partitions import DAY_MS, bounds, date_of, drop_day, existing_days
from scoreline.records.rows import Row, author_key, author_of
from scoreline.records.tables import ARCHIVES, AUTHORS, DECISIONS, LEFTOVERS
from scoreline.signing import Signer

SLICE_ROWS: Final = 5000
_DAY_NS: Final = DAY_MS * 1_000_000
_TIME, _AUTHOR, _SALT, _LEAF = (COLUMNS.index(name) for name in ("time_ns", "author", "salt", "leaf"))


class Archive:
    """The files in one place: a folder, or the URI of a place in an object store."""

    def __init__(self, place: str) -> None:
        self._place = place

    def move(self, database: Database, days: int, now_ns: int) -> bool:
        """Moves one day that is over for `days` days; whether there was one. Raises DatabaseDown, OSError."""
        with database.reading() as connection:
            begun = select(ARCHIVES.c.id, ARCHIVES.c.day, ARCHIVES.c.name).where(~ARCHIVES.c.done).limit(1)
            unfinished = next((tuple(found) for found in connection.execute(begun)), None)
        if unfinished is None:
            day = _first_day(database)
            if day is None or (day + 1 + days) * _DAY_NS > now_ns:
                return False
            unfinished = self._write(database, day)
        if unfinished is not None:
            self._remove(database, *unfinished)
        return True

    def expire(self, database: Database, days: int, now_ns: int, signer: Signer) -> bool:
        """Removes one file of which all is older than `days` days and nothing may be held; whether there was one.

        One that cannot be read stays, and is raised once no other may go.
        """
        cutoff_ns, problem = now_ns - days * _DAY_NS, None
        old = select(ARCHIVES).where(ARCHIVES.c.done, ARCHIVES.c.until_ns < cutoff_ns).order_by(ARCHIVES.c.day)
        with database.reading() as connection:
            files = [file for file in connection.execute(old) if not _may_be_held(connection, file)]
        for file in files:
            try:
                gone = self._gone(file)
            except (DatabaseRefused, OSError) as error:
                problem = problem or error
                continue
            with database.writing() as connection:
                database.lock(connection)  # no hold is placed, and no file written anew, meanwhile
                lock_open(connection)
                named = ARCHIVES.delete().where(ARCHIVES.c.id == file.id, ARCHIVES.c.name == file.name)
                if _may_be_held(connection, file) or connection.execute(named).rowcount != 1:
                    return True
                forget(connection, file.id, file.day)
                _leave_over(connection, file.name)
                facts = {"days": days, "before_ns": cutoff_ns, "file": file.name}
                sign_away(connection, gone, signer, now_ns, RETENTION, facts)
            self._delete(database, file.name)
            return True
        if problem:
            raise problem
        return False

    def rewrite(
        self,
        database: Database,
        file_id: int,
        name: str,
        change: Callable[[Cells, str], Cells],
        then: Callable[[Connection], None],
    ) -> None:
        """Puts another file in the place of one, with every row as `change` makes it of the row and its author's JSON.

        `then` goes into the transaction that does so. Raises DatabaseRefused where the file went meanwhile.
        """
        new = f"{name.rpartition('-')[0]}-{os.urandom(4).hex()}.parquet"
        authors = {row[_AUTHOR]: json for json, row in self.read(name)}
        self._put(database, new, (change(row, json) for json, row in self.read(name)), authors)
        with database.writing() as connection:
            database.lock(connection)
            named = ARCHIVES.update().where(ARCHIVES.c.id == file_id, ARCHIVES.c.name == name).values(name=new)
            if connection.execute(named).rowcount != 1:
                raise DatabaseRefused("a file of the archive changed meanwhile: try again")
            connection.execute(LEFTOVERS.delete().where(LEFTOVERS.c.name == new))
            _leave_over(connection, name)
            then(connection)
        self._delete(database, name)

    def sweep(self, database: Database, now_ns: int) -> None:
        """Deletes files that have counted for nothing for a day: whoever wrote or removed them died over it."""
        with database.reading() as connection:
            old = connection.scalars(select(LEFTOVERS.c.name).where(LEFTOVERS.c.at_ns < now_ns - _DAY_NS)).all()
        for name in old:
            self._delete(database, name)

    def read(self, name: str, id_: bytes | None = None) -> Iterator[tuple[str, tuple[Any, ...]]]:
        """The rows of a file, or one of them, each behind its author's JSON.

        Raises DatabaseRefused where the file is missing or cannot be read.
        """
        found: Iterator[tuple[str, tuple[Any, ...]]] = _parquet("read_file")(self._place, name, id_)
        return found

    def _gone(self, file: Any) -> Leaving:
        """The decisions of a file; raises DatabaseRefused where they are not of the times that it is put down with."""
        gone = Leaving()
        for json, row in self.read(file.name):
            if not file.from_ns <= row[_TIME] <= file.until_ns:
                raise DatabaseRefused(f"{file.name} has decisions of other times than it was put down with: it stays")
            gone.add(row, author_key(author_of(json)))
        if gone.rows != file.rows:
            raise DatabaseRefused(f"{file.name} has {gone.rows} decisions of {file.rows}: it stays")
        return gone

    def about(self, name: str, entity: bytes) -> Iterator[tuple[str, bytes, int]]:
        """Of what a file has about an entity the author's JSON, the id and the time."""
        found: Iterator[tuple[str, bytes, int]] = _parquet("read_about")(self._place, name, entity)
        return found

    def rows(self, name: str, ids: Sequence[bytes]) -> Iterator[Row]:
        """The decisions of a file with these ids, as they are in the database; erased ones are passed over."""
        found = _parquet("read_some")(self._place, name, ids)
        return (row_of(cells) for cells in found if not is_erased(cells))

    def _write(self, database: Database, day: int) -> tuple[int, int, str] | None:
        """The number, day and name of a whole file that is put down; None where the day changed under it."""
        name = f"decisions-{date_of(day)}-{os.urandom(4).hex()}.parquet"
        with database.reading() as connection:
            authors = {id_: json for id_, json in connection.execute(select(AUTHORS.c.id, AUTHORS.c.json))}  # noqa: C416
        n_told = 0

        def rows() -> Iterator[Cells]:
            nonlocal n_told
            for row in _rows(database, day):
                n_told += row[_SALT] is not None
                yield row

        n_rows = self._put(database, name, rows(), authors)
        with database.writing() as connection:
            database.lock(connection)
            times = func.min(DECISIONS.c.time_ns), func.max(DECISIONS.c.time_ns)
            within = select(func.count(), func.count(DECISIONS.c.salt), *times)
            there, told, from_ns, until_ns = connection.execute(within.where(_on(day))).one()
            others = connection.scalar(select(func.count()).select_from(ARCHIVES).where(~ARCHIVES.c.done))
            if (there, told) == (n_rows, n_told) and n_rows and not others:
                facts = {"day": day, "name": name, "rows": n_rows, "from_ns": from_ns, "until_ns": until_ns}
                connection.execute(LEFTOVERS.delete().where(LEFTOVERS.c.name == name))
                put = ARCHIVES.insert().values(**facts, at_ns=time.time_ns()).returning(ARCHIVES.c.id)
                return connection.execute(put).scalar_one(), day, name
        self._delete(database, name)
        return None

    def _put(self, database: Database, name: str, rows: Iterable[Cells], authors: Mapping[int, str]) -> int:
        """Writes a file, which counts for nothing yet; returns how many rows."""
        with database.writing() as connection:
            _leave_over(connection, name)
        n_rows: int = _parquet("write_file")(self._place, name, rows, authors)
        return n_rows

    def _delete(self, database: Database, name: str) -> None:
        """Deletes a file that counts for nothing."""
        _parquet("delete_file")(self._place, name)
        with database.writing() as connection:
            connection.execute(LEFTOVERS.delete().where(LEFTOVERS.c.name == name))

    def _remove(self, database: Database, number: int, day: int, name: str) -> None:
        """Takes up a file that is put down; nothing more where another was put in its place meanwhile."""
        named = ARCHIVES.c.id == number, ARCHIVES.c.name == name
        with database.reading() as connection:
            n_rows = connection.scalar(select(ARCHIVES.c.rows).where(*named))
        try:
            ids = [row[0] for _, row in self.read(name)] if n_rows is not None else []
        except DatabaseRefused:
            with database.reading() as connection:
                if connection.scalar(select(ARCHIVES.c.id).where(*named)) is not None:
                    raise
            return
        if n_rows not in (None, len(ids)):
            raise DatabaseRefused(f"{name} has {len(ids)} decisions of {n_rows}: put it back from a backup")
        for start in range(0, len(ids), SLICE_ROWS):
            with database.writing() as connection:
                move(connection, ids[start : start + SLICE_ROWS], number)
        with database.writing() as connection:
            database.lock(connection)
            if connection.execute(ARCHIVES.update().where(*named).values(done=True)).rowcount != 1:
                return
            if database.kind == POSTGRESQL and _is_empty(connection, day) and day in existing_days(connection):
                drop_day(connection, day)


def _may_be_held(connection: Connection, file: Any) -> bool:
    begin, end = file.from_ns, file.until_ns
    holds = active_holds(connection).values()
    return any((hold.from_ns or 0) <= end and (hold.until_ns or end + 1) > begin for hold in holds)


def _leave_over(connection: Connection, name: str) -> None:
    connection.execute(LEFTOVERS.insert().values(name=name, at_ns=time.time_ns()))


def _first_day(database: Database) -> int | None:
    """The day of the first id."""
    with database.reading() as connection:
        first = connection.scalar(select(DECISIONS.c.id).order_by(DECISIONS.c.id).limit(1))
    return None if first is None else int.from_bytes(first[:6], "big") // DAY_MS


def _rows(database: Database, day: int) -> Iterator[tuple[Any, ...]]:
    page, more = select(*DECISIONS.c).where(_on(day)).order_by(DECISIONS.c.id).limit(SLICE_ROWS), True
    after: bytes | None = None
    while more:
        with database.reading() as connection:
            rows = connection.execute(page if after is None else page.where(DECISIONS.c.id > after)).all()
        yield from (tuple(row) for row in rows)
        more = len(rows) == SLICE_ROWS
        after = rows[-1].id if rows else None


def _is_empty(connection: Connection, day: int) -> bool:
    return connection.scalar(select(DECISIONS.c.id).where(_on(day)).limit(1)) is None


def _on(day: int) -> Any:
    first, last = (bound.bytes for bound in bounds(day))
    return and_(DECISIONS.c.id >= first, DECISIONS.c.id < last)


def _parquet(name: str) -> Any:
    """A function of `records.parquet`, whose library is loaded by whoever archives."""
    try:
        return load(f"scoreline.records.parquet:{name}")
    except ModuleNotFoundError as error:
        raise SettingError(f"records.archive needs {error.name}: install scoreline[batch]") from None


def row_of(cells: Sequence[Any]) -> Row:
    """The decision in the cells of a file."""
    row = Row(*cells[: len(Row._fields)])
    return row if row.entity is not None else row._replace(entity=b"")


def is_erased(cells: Sequence[Any]) -> bool:
    """A decision that is erased has its leaf in place of its salt; one that was never in the log has neither."""
    return cells[_SALT] is None and cells[_LEAF] is not None
