"""Reading the record wherever it is by now: in the spool still, in the database, or in the archive already."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from sqlalchemy import select

from scoreline.core.decision import Author, Decisions
from scoreline.core.errors import DatabaseRefused
from scoreline.core.ids import MAX_ROWS, ROW_BITS
from scoreline.core.names import load
from scoreline.records.archive import Archive, is_erased, row_of
from scoreline.records.database import Database
from scoreline.records.partitions import DAY_MS
from scoreline.records.rows import Row, author_of, decisions_of, request_of
from scoreline.records.spool import read_spool
from scoreline.records.tables import ARCHIVES, AUTHORS, DECISIONS

PAGE_ROWS: Final = 5000
_ROW: Final = [DECISIONS.c[name] for name in Row._fields]
_SALT: Final = DECISIONS.c.keys().index("salt")
_MS_BYTES: Final = 6
Found = tuple[Row, Author]


def read_record(folder: Path, database: Database, archive: Archive | None = None) -> Iterator[Decisions]:
    """Every decision that is in the archive, the database or the spool, once and in this order.

    The spool is looked at first, so that what is shipped meanwhile is not missed; what is found in both counts once.
    """
    waiting = list(read_spool(folder))
    also = {decisions.base >> ROW_BITS for decisions in waiting}
    yield from (kept for kept in read_decisions(database, archive) if kept.base >> ROW_BITS not in also)
    yield from waiting


def read_decisions(database: Database, archive: Archive | None = None) -> Iterator[Decisions]:
    """Every decision in the archive and the database, by request; raises DatabaseDown, DatabaseRefused or OSError.

    They are in the order of ids, and within a millisecond as they were taken up. It is read a page at a time: nobody
    waits for the reader. Erased decisions are passed over.
    """
    yield from _requests(_in_order(_everything(database, archive)))


def _requests(rows: Iterable[Found]) -> Iterator[Decisions]:
    request: list[Found] = []
    for row, author in rows:
        if request and not _goes_on(request, row, author):
            yield request_of([row for row, _ in request], request[0][1])
            request = []
        request.append((row, author))
    if request:
        yield request_of([row for row, _ in request], request[0][1])


def read_files(path: Path) -> Iterator[Decisions]:
    """Every decision in a file of the archive or of a batch job, or in the files of a folder, by request.

    Raises NotFound or SettingError.
    """
    files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
    for file in files:
        kept = load("scoreline.records.parquet:read_whole")(file)
        yield from _requests((row_of(cells), author_of(json)) for json, cells in kept if not is_erased(cells))


def find_decision(database: Database, id_: bytes, archive: Archive | None = None) -> Decisions | None:
    """The decision with an id of 16 bytes; None where there is none, or it is erased. Raises as `read_decisions`."""
    wanted = select(*_ROW, AUTHORS.c.json).join_from(DECISIONS, AUTHORS, DECISIONS.c.author == AUTHORS.c.id)
    with database.reading() as connection:
        found = connection.execute(wanted.where(DECISIONS.c.id == id_, DECISIONS.c.salt.is_not(None))).one_or_none()
    if found:
        return decisions_of(_row(found[:-1]), author_of(found[-1]))
    if archive is None:
        return None
    names = _files_of(database, id_)
    try:
        return _find_archived(archive, names, id_)
    except DatabaseRefused:
        now = _files_of(database, id_)
        if now == names:
            raise
        return _find_archived(archive, now, id_)  # a file was written anew meanwhile


def _files_of(database: Database, id_: bytes) -> list[str]:
    """The files that may have a decision."""
    day = int.from_bytes(id_[:_MS_BYTES], "big") // DAY_MS
    with database.reading() as connection:
        of_day = select(ARCHIVES.c.name).where(ARCHIVES.c.day == day).order_by(ARCHIVES.c.id)
        return list(connection.scalars(of_day))


def _find_archived(archive: Archive, names: Iterable[str], id_: bytes) -> Decisions | None:
    rows = (_archived(kept) for name in names for kept in archive.read(name, id_))
    return next((decisions_of(row, author) for row, author in rows if row is not None), None)


def _everything(database: Database, archive: Archive | None) -> Iterator[Found]:
    """Rows with their authors, in the order of their ids; what is on its way into a file is in that."""
    leaving: set[bytes] = set()
    if archive:
        with database.reading() as connection:
            files = connection.execute(select(ARCHIVES.c.name, ARCHIVES.c.done).order_by(ARCHIVES.c.day, ARCHIVES.c.id))
            names = files.all()
        for name, done in names:
            for kept in archive.read(name):
                row, author = _archived(kept)
                if not done:
                    leaving.add(kept[1][0])
                if row is not None:
                    yield row, author
    yield from (found for found in _pages(database) if found[0].id not in leaving)


def _pages(database: Database) -> Iterator[Found]:
    """Rows in the database, with their authors."""
    authors: dict[int, Author] = {}
    page, after = select(*_ROW, DECISIONS.c.author, DECISIONS.c.salt).order_by(DECISIONS.c.id).limit(PAGE_ROWS), None
    while True:
        with database.reading() as connection:
            rows = connection.execute(page if after is None else page.where(DECISIONS.c.id > after)).all()
            if {row.author for row in rows} - authors.keys():
                found = connection.execute(select(AUTHORS.c.id, AUTHORS.c.json))
                authors |= {id_: author_of(json) for id_, json in found}
        yield from ((_row(row[:-2]), authors[row.author]) for row in rows if row.salt is not None)
        if len(rows) < PAGE_ROWS:
            return
        after = rows[-1].id


def _archived(kept: tuple[str, tuple[Any, ...]]) -> tuple[Row | None, Author]:
    """The row of a file with its author; none where it is erased."""
    json, cells = kept
    erased = cells[_SALT] is None
    return None if erased else _row(cells[: len(_ROW)]), author_of(json)


def _row(found: Iterable[object]) -> Row:
    row = Row(*found)  # type: ignore[arg-type]
    return row if row.entity is not None else row._replace(entity=b"")


def _in_order(rows: Iterable[Found]) -> Iterator[Found]:
    """The same rows, those of one millisecond as they were taken up."""
    together: list[Found] = []
    for found in rows:
        if together and together[0][0].id[:_MS_BYTES] != found[0].id[:_MS_BYTES]:
            yield from sorted(together, key=_taken_up)
            together = []
        together.append(found)
    yield from sorted(together, key=_taken_up)


def _taken_up(found: Found) -> tuple[int, bytes]:
    return found[0].time_ns, found[0].id


def _goes_on(request: list[Found], row: Row, author: Author) -> bool:
    """Whether a row is the next of a request: its id is the base with its number in the last bits."""
    base = int.from_bytes(request[0][0].id, "big")
    return author is request[0][1] and base % MAX_ROWS == 0 and int.from_bytes(row.id, "big") == base + len(request)
