"""Exporting the record with all that proves it: one SQLite file, which `scoreline audit verify` takes as it is.

Decisions that the filter leaves out have their stumps in it, so that what is there can still be proven. The last link
of its chain is the export's own: it is signed for the filter, and for which places have no decision.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Table, select, text

from scoreline.audit.verify import coverage, files_of, records
from scoreline.core.errors import DatabaseDown, DatabaseRefused, SettingError
from scoreline.records.archive import Archive
from scoreline.records.chain import EXPORT, Act, append, sign_pending
from scoreline.records.database import Database, open_database, open_file
from scoreline.records.exports import Export, enter_export
from scoreline.records.leaves import COLUMNS, leaf_of
from scoreline.records.merkle import Stump, merged
from scoreline.records.ranges import joined
from scoreline.records.rows import author_of
from scoreline.records.tables import AUTHORS, CHECKPOINTS, DECISIONS, SEGMENTS, STUMPS
from scoreline.signing import Signer

PAGE_ROWS: Final = 5000
MERGE_STUMPS: Final = 4096
_AUTHOR, _SEGMENT, _PLACE, _TIME = (COLUMNS.index(name) for name in ("author", "segment", "place", "time_ns"))


@dataclass(frozen=True, slots=True)
class Filter:
    """Which decisions: of a model, taken up from one time until before another; nothing is any."""

    model: str = ""
    from_ns: int | None = None
    until_ns: int | None = None

    def to_json(self) -> dict[str, Any]:
        return {"model": self.model or None, "from_ns": self.from_ns, "until_ns": self.until_ns}


@dataclass(slots=True)
class _Counts:
    rows: int = 0
    left_out: int = 0
    first_ns: int | None = None
    last_ns: int | None = None


def export(
    database: Database, archive: Archive | None, file: Path, signer: Signer, by: Filter, who: str, now_ns: int
) -> tuple[int, int]:
    """Writes the file, whole or not at all, and notes that it left; how many decisions are in it, and are left out.

    Raises SettingError where the file is there, DatabaseRefused where somebody was erased meanwhile, DatabaseDown,
    OSError.
    """
    if file.exists():
        raise SettingError(f"{file} exists; an export is never overwritten: choose another name")
    sign_pending(database, signer, now_ns)
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        counts = _write(database, archive, temporary, signer, by, now_ns)
        with temporary.open("rb") as raw:
            digest = hashlib.file_digest(raw, "sha256").hexdigest()
        times = counts.first_ns, counts.last_ns
        enter_export(database, Export("audit", file.name, digest, by.to_json(), counts.rows, *times, who, now_ns))
        temporary.replace(file)
    finally:
        for rest in (temporary, *(temporary.with_name(temporary.name + end) for end in ("-wal", "-shm"))):
            with suppress(FileNotFoundError):
                rest.unlink()
    return counts.rows, counts.left_out


def open_export(file: Path) -> Database:
    """An export to be verified; raises NotFound, or DatabaseRefused where it is none.

    Whoever made the file may have put views in the place of tables: they do not count.
    """
    database = open_file(file)
    wanted = {table.name for table in (AUTHORS, SEGMENTS, STUMPS, CHECKPOINTS, DECISIONS)}
    try:
        with database.reading() as connection:
            found = set(connection.scalars(text("SELECT name FROM sqlite_master WHERE type = 'table'")))
    except (DatabaseDown, DatabaseRefused):
        found = set()
    if not wanted <= found:
        database.close()
        raise DatabaseRefused(f"{file.name} is no export of `scoreline audit export`")
    return database


def _write(database: Database, archive: Archive | None, file: Path, signer: Signer, by: Filter, now_ns: int) -> _Counts:
    counts = _Counts()
    with closing(open_database("", file)) as target:
        target.prepare()
        with database.reading() as source, target.writing(durable=True) as to:
            for table in (AUTHORS, SEGMENTS, CHECKPOINTS):
                _copy(source, to, table)
            stumps = _copy_records(source, to, archive, by, counts)
            _put(to, STUMPS, (_stump(segment, stump) for segment, several in stumps for stump in several))
            if files_now(database) != files_of(source):
                raise DatabaseRefused("files of the archive were written anew meanwhile: export once more")
            facts = {"filter": by.to_json(), "rows": counts.rows, "left_out": counts.left_out}
            append(to, signer, now_ns, Act(EXPORT, {**facts, "without": _coverage(to, dict(stumps))}))
        target.close_file()
    return counts


def _copy_records(
    source: Connection, to: Connection, archive: Archive | None, by: Filter, counts: _Counts
) -> Iterable[tuple[int, list[Stump]]]:
    """Copies what the filter lets through; the stumps of all segments, with those of what it does not."""
    stumps: dict[int, list[Stump]] = {}
    for segment, *stump in source.execute(select(STUMPS)):
        stumps.setdefault(segment, []).append(Stump(*stump))
    authors = source.execute(select(AUTHORS.c.id, AUTHORS.c.json))
    wanted = {id_ for id_, json in authors if by.model in ("", author_of(json).model)}

    def chosen() -> Iterator[dict[str, Any]]:
        for cells, author in records(source, archive):
            time_ns = cells[_TIME]
            within = (by.from_ns or time_ns) <= time_ns and (by.until_ns is None or time_ns < by.until_ns)
            if within and cells[_AUTHOR] in wanted:
                counts.rows += 1
                counts.first_ns = min(time_ns, counts.first_ns or time_ns)
                counts.last_ns = max(time_ns, counts.last_ns or time_ns)
                yield dict(zip(COLUMNS, cells, strict=True))
            else:
                counts.left_out += 1
                several = stumps.setdefault(cells[_SEGMENT], [])
                several.append(Stump(cells[_PLACE], 1, leaf_of(cells, author)))
                if len(several) % MERGE_STUMPS == 0:
                    several[:] = merged(several)

    _put(to, DECISIONS, chosen())
    return [(segment, merged(several)) for segment, several in stumps.items()]


def files_now(database: Database) -> list[tuple[str, bool]]:
    with database.reading() as connection:
        return files_of(connection)


def _coverage(to: Connection, stumps: Mapping[int, list[Stump]]) -> str:
    names = {row.id: (row.writer, row.number) for row in to.execute(select(SEGMENTS))}
    empty = {id_: joined((stump.place, stump.leaves) for stump in several) for id_, several in stumps.items()}
    return coverage({names[id_]: ranges for id_, ranges in empty.items() if id_ in names})


def _copy(source: Connection, to: Connection, table: Table) -> None:
    rows = source.execute(select(table).execution_options(yield_per=PAGE_ROWS))
    _put(to, table, (dict(row._mapping) for row in rows))


def _put(to: Connection, table: Table, rows: Iterator[dict[str, Any]]) -> None:
    while some := list(islice(rows, PAGE_ROWS)):
        to.execute(table.insert(), some)


def _stump(segment: int, stump: Stump) -> dict[str, Any]:
    return {"segment": segment, "place": stump.place, "leaves": stump.leaves, "hash": stump.hash}
