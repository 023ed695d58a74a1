"""Walking through what is shipped, filtered by the database: a page at a time, so that nobody waits for the reader.

A decision is in `decisions` or, once it is archived, in `moved`, and each page sees both as they stand at one moment:
none is missed and none comes twice, however long the walk takes and whatever is archived meanwhile. Rows of `moved` are
read from their files. Ids of version 7 tell the time of their decision, and are walked through by the key; others (of
streams) by their time; those of one entity by its index.
"""

import heapq
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, Table, and_, or_, select, text

from scoreline.core.decision import Author
from scoreline.core.errors import DatabaseRefused
from scoreline.records.archive import Archive
from scoreline.records.authors import authors_of
from scoreline.records.database import Database
from scoreline.records.moved import SHIPPED
from scoreline.records.rows import Row
from scoreline.records.tables import ARCHIVES, DECISIONS, OTHER_TIME

_MS: Final = 1_000_000
_LAST_NS: Final = 2**63 - 1
_ROW: Final = [DECISIONS.c[name] for name in Row._fields]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which decisions: empty and None are any. Times are nanoseconds since 1970, from one on until before another."""

    model: str = ""
    version: str = ""
    role: str = ""
    caller: str | None = None
    outcome: str = ""
    entity: bytes = b""
    from_ns: int = 0
    until_ns: int = _LAST_NS

    def by(self, author: Author) -> bool:
        """Whether decisions of this author may be wanted."""
        mine = ((self.model, author.model), (self.version, author.version), (self.role, author.role))
        return all(not wanted or wanted == there for wanted, there in mine) and (
            not self.outcome or self.outcome in author.outcomes
        )

    def takes(self, row: Row, author: Author) -> bool:
        """Whether it is this decision, by an author whose decisions may be wanted."""
        return (
            self.from_ns <= row.time_ns < self.until_ns
            and (self.caller is None or row.caller == self.caller)
            and (not self.outcome or outcome_of(row, author) == self.outcome)
            and (not self.entity or row.entity == self.entity)
        )


class Found(NamedTuple):
    """A decision of the record."""

    row: Row
    author: Author


def outcome_of(row: Row, author: Author) -> str | None:
    """What the policy made of the score, None where there is none."""
    return author.outcomes[row.outcome] if 0 <= row.outcome < len(author.outcomes) else None


def order_of(found: Found) -> int:
    """Decisions are walked through in the order of the milliseconds they were taken up in."""
    return found.row.time_ns // _MS


def walk(
    database: Database, archive: Archive | None, wanted: Wanted, *, newest: bool, page_rows: int
) -> Iterator[Found]:
    """The decisions wanted that are shipped and not erased, the oldest first, or the newest.

    Without the archive its decisions are passed over. Raises DatabaseDown, DatabaseRefused or OSError.
    """
    authors = _authors(database, wanted)
    if not authors:
        return
    ways = ("entity",) if wanted.entity else ("told", "other")
    walks = [_Way(way, wanted, authors, newest=newest, page_rows=page_rows).walk(database, archive) for way in ways]
    yield from heapq.merge(*walks, key=order_of, reverse=newest)


def authors_in(database: Database, wanted: Wanted) -> list[Author]:
    """The authors whose decisions may be wanted, as they first came."""
    return list(_authors(database, wanted).values())


class _Stub(NamedTuple):
    """A decision of a page; its `row` is in a file where there is none."""

    id: bytes
    time_ns: int
    author: int
    archive: int
    row: Row | None
    erased: bool = False


class _Way:
    """One of the ways to walk: by the key, where ids tell the time; by the time; by the entity and the time."""

    def __init__(self, way: str, wanted: Wanted, authors: dict[int, Author], *, newest: bool, page_rows: int) -> None:
        self._way, self._wanted, self._authors = way, wanted, authors
        self._newest, self._page_rows = newest, page_rows

    def walk(self, database: Database, archive: Archive | None) -> Iterator[Found]:
        after: _Stub | None = None
        while True:
            with database.reading() as connection:
                page = self._page(connection, after)
            archived = _archived(database, archive, page) if archive else {}
            for stub in page:
                row = stub.row or archived.get(stub.id)
                author = self._authors[stub.author]
                if row is not None and not stub.erased and self._wanted.takes(row, author):
                    yield Found(row, author)
            if len(page) < self._page_rows:
                return
            after = page[-1]

    def _page(self, connection: Connection, after: _Stub | None) -> list[_Stub]:
        """The next of both tables, in order."""
        kind = connection.dialect.name
        page: list[_Stub] = []
        for table in SHIPPED:
            asked = self._asked(table, kind, after).limit(self._page_rows)
            page += map(_stub if table is DECISIONS else _moved, connection.execute(asked))
        return sorted(page, key=self._key, reverse=self._newest)[: self._page_rows]

    def _key(self, stub: _Stub) -> tuple[int, bytes]:
        return (0 if self._way == "told" else stub.time_ns), stub.id

    def _asked(self, table: Table, kind: str, after: _Stub | None) -> Select[Any]:
        row = table.c
        order = [row.id] if self._way == "told" else [row.time_ns, row.id]
        where = [row.salt] if table is DECISIONS else [row.archive]
        columns = [*(_ROW if table is DECISIONS else (row.id, row.time_ns)), row.author, *where]
        asked = select(*columns).where(*self._conditions(table, kind))
        if after is not None:
            asked = asked.where(self._beyond(table, after))
        return asked.order_by(*(column.desc() for column in order) if self._newest else order)

    def _beyond(self, table: Table, after: _Stub) -> ColumnElement[bool]:
        time_ns, id_ = table.c.time_ns, table.c.id
        following = id_ < after.id if self._newest else id_ > after.id
        if self._way == "told":
            return following
        later = time_ns < after.time_ns if self._newest else time_ns > after.time_ns
        there = time_ns <= after.time_ns if self._newest else time_ns >= after.time_ns
        return and_(there, or_(later, following))

    def _conditions(self, table: Table, kind: str) -> Iterator[ColumnElement[bool]]:
        wanted, row = self._wanted, table.c
        timed = wanted.from_ns > 0 or wanted.until_ns < _LAST_NS
        yield row.author.in_(list(self._authors))
        if timed:
            yield and_(row.time_ns >= wanted.from_ns, row.time_ns < wanted.until_ns)
        if self._way == "entity":
            yield row.entity == wanted.entity
        else:
            other = f"({OTHER_TIME[kind]})"
            yield text(other if self._way == "other" else f"NOT {other}")  # type: ignore[misc]
        if self._way == "told" and timed:
            yield and_(row.id >= _first_id(wanted.from_ns), row.id < _first_id(wanted.until_ns + _MS - 1))
        if table is DECISIONS:
            yield from self._on_rows()

    def _on_rows(self) -> Iterator[ColumnElement[bool]]:
        """What only whole rows can be asked for; of those in files it is seen when they are read."""
        wanted, row = self._wanted, DECISIONS.c
        if wanted.caller is not None:
            yield row.caller == wanted.caller
        if wanted.outcome:
            codes = {number: author.outcomes.index(wanted.outcome) for number, author in self._authors.items()}
            yield or_(*(and_(row.author == number, row.outcome == code) for number, code in codes.items()))


def _stub(found: Any) -> _Stub:
    row = Row(*found[: len(_ROW)])
    row = row if row.entity is not None else row._replace(entity=b"")
    return _Stub(row.id, row.time_ns, found.author, 0, row, erased=found.salt is None)


def _moved(found: Any) -> _Stub:
    return _Stub(found.id, found.time_ns, found.author, found.archive, None)


def _authors(database: Database, wanted: Wanted) -> dict[int, Author]:
    with database.reading() as connection:
        found = authors_of(connection, wanted.model)
    return {number: author for number, author in found.items() if wanted.by(author)}


def _archived(database: Database, archive: Archive, page: Sequence[_Stub]) -> dict[bytes, Row]:
    """The rows of a page that are in files; of a file that has just expired there are none."""
    wanted: dict[int, list[bytes]] = defaultdict(list)
    for stub in page:
        if stub.row is None:
            wanted[stub.archive].append(stub.id)
    return {row.id: row for number, ids in wanted.items() for row in _rows(database, archive, number, ids)}


def _rows(database: Database, archive: Archive, number: int, ids: Sequence[bytes]) -> list[Row]:
    """These rows of a file; where it is written anew meanwhile, as erasure does, of the new one."""
    rows, name, before = list[Row](), _name(database, number), ""
    while name and name != before:
        before = name
        try:
            rows = list(archive.rows(name, ids))
        except DatabaseRefused:
            name = _name(database, number)
            if name == before:
                raise
            rows = []
        else:
            name = name if len(rows) == len(ids) else _name(database, number)
    return rows


def _name(database: Database, number: int) -> str:
    with database.reading() as connection:
        return connection.scalar(select(ARCHIVES.c.name).where(ARCHIVES.c.id == number)) or ""


def _first_id(time_ns: int) -> bytes:
    """The first id of a millisecond."""
    return (min(max(0, time_ns), _LAST_NS) // _MS << 80).to_bytes(16, "big")
