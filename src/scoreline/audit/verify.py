"""Verifying: the whole record, in a database with its archive or in an export of one, against the signed chain.

Every decision's leaf is computed anew and put into the tree of its segment, whose root must be the signed one at every
size that was signed. It reads one state of the database, once, in the order of ids, and keeps what waits for its turn.
"""

import hashlib
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, select

from scoreline.audit.grown import Grown
from scoreline.audit.report import Report
from scoreline.audit.signed import Name, OfSegment, read_chain
from scoreline.core.errors import DatabaseRefused
from scoreline.core.ids import MAX_ROWS
from scoreline.records.archive import Archive
from scoreline.records.chain import links, signed_of
from scoreline.records.database import Database
from scoreline.records.leaves import COLUMNS, Cells, leaf_of, with_authors
from scoreline.records.merkle import Stump
from scoreline.records.rows import author_key, author_of
from scoreline.records.tables import ARCHIVES, AUTHORS, DECISIONS, SEGMENTS, STUMPS
from scoreline.signing import TrustStore

PAGE_ROWS: Final = 5000
ID_BYTES: Final = 16
_KEPT: Final = frozenset(("id", "time_ns", "author", "segment", "place", "unsent", "leaf"))
_SAID: Final = [place for place, name in enumerate(COLUMNS) if name not in _KEPT]
_ID, _AUTHOR, _SEGMENT, _PLACE, _SALT, _SCORE, _SCORES, _UNSENT = (
    COLUMNS.index(name) for name in ("id", "author", "segment", "place", "salt", "score", "scores", "unsent")
)
_first: Final = struct.Struct("<d").unpack_from


@dataclass(slots=True)
class _Audit:
    """What one pass over the record needs."""

    report: Report
    segments: dict[int, Grown] = field(default_factory=dict)
    rows: dict[int, Any] = field(default_factory=dict)
    unsent: set[bytes] = field(default_factory=set)


def verify(database: Database, trust: TrustStore, archive: Archive | None = None, expected: str = "") -> Report:
    """Holds the record against the chain that trusted keys signed; `expected` is a link noted elsewhere.

    Raises DatabaseDown, DatabaseRefused or OSError where it cannot be read.
    """
    audit = _Audit(Report())
    with database.reading() as connection:
        signed = read_chain(links(connection), trust, audit.report, expected)
        _read_authors(connection, audit)
        _read_segments(connection, signed, audit)
        files = _files(connection)
        for cells, author in records(connection, archive):
            _take(cells, author, audit)
    _end(audit)
    if audit.report.n_findings and archive:
        with database.reading() as connection:
            if _files(connection) != files:
                raise DatabaseRefused("files of the archive were written anew meanwhile: verify once more")
    return audit.report


def _read_authors(connection: Connection, audit: _Audit) -> None:
    for id_, key, text in connection.execute(select(AUTHORS.c.id, AUTHORS.c.key, AUTHORS.c.json)):
        if hashlib.sha256(text.encode()).digest() != key:
            audit.report.add(
                "author", f"author {id_}", "what it says of model, version and bundle is not what was signed"
            )


def _read_segments(connection: Connection, signed: Mapping[Name, OfSegment], audit: _Audit) -> None:
    stumps: dict[int, list[Stump]] = {}
    for segment, *stump in connection.execute(select(STUMPS)):
        stumps.setdefault(segment, []).append(Stump(*stump))
    last: dict[str, int] = {}
    for row in connection.execute(select(SEGMENTS).order_by(SEGMENTS.c.writer, SEGMENTS.c.number)).all():
        of_segment = signed.get((row.writer, row.number), OfSegment())
        where = f"segment {row.writer}-{row.number}"
        grown = Grown(where, row.rows, stumps.pop(row.id, ()), of_segment)
        _compare(row, grown, audit)
        audit.segments[row.id], audit.rows[row.id] = grown, row
        for number in range(last.get(row.writer, -1) + 1, row.number):
            audit.report.add("missing segment", f"segment {row.writer}-{number}", "its writer's later ones are here")
        last[row.writer] = row.number
        audit.report.open_segments += not row.final
    for writer, number in signed.keys() - {(row.writer, row.number) for row in audit.rows.values()}:
        if number > last.get(writer, -1):  # else it is said already
            audit.report.add("missing segment", f"segment {writer}-{number}", "a checkpoint has it")
    for segment in stumps:
        audit.report.add("inserted", f"segment id {segment}", "there are hashes of decisions of no segment")
    audit.report.segments = len(audit.rows)


def _compare(row: Any, grown: Grown, audit: _Audit) -> None:
    """A segment's row against the last that was signed of it; it may have grown since."""
    states = grown.signed.states
    last = states[-1] if states else None
    try:
        now = signed_of(row)
    except DatabaseRefused as refused:
        audit.report.add("altered", grown.where, str(refused))
        return
    unsent = row.unsent or b""
    audit.unsent.update(unsent[start : start + ID_BYTES] for start in range(0, len(unsent), ID_BYTES))
    audit.report.unsigned += row.rows - min(row.rows, last.rows if last else 0)
    if last is None or (now.rows > last.rows and not last.final):
        return
    if now.rows < last.rows:
        audit.report.add("removed", grown.where, f"it has {now.rows} decisions, and {last.rows} were signed")
    elif last.final and now != last:
        audit.report.add("altered", grown.where, "what it says of itself is not what was signed")


def records(connection: Connection, archive: Archive | None) -> Iterator[tuple[Cells, bytes]]:
    """Every decision in the archive and the database, with its author's key; one on its way counts in the archive.

    Without the archive what is in there is missing.
    """
    leaving: set[bytes] = set()
    for name, done in _files(connection) if archive else ():
        for text, cells in archive.read(name) if archive else ():
            if not done:
                leaving.add(cells[_ID])
            yield cells, author_key(author_of(text))
    rows = connection.execute(select(*DECISIONS.c).order_by(DECISIONS.c.id).execution_options(yield_per=PAGE_ROWS))
    yield from (found for found in with_authors(connection, rows) if found[0][_ID] not in leaving)


def _files(connection: Connection) -> list[tuple[str, bool]]:
    """Files of the archive, and whether all that is in them has left the database."""
    wanted = select(ARCHIVES.c.name, ARCHIVES.c.done).order_by(ARCHIVES.c.day, ARCHIVES.c.id)
    return [(name, done) for name, done in connection.execute(wanted)]


def _take(cells: Cells, author: bytes, audit: _Audit) -> None:
    report, grown, id_ = audit.report, audit.segments.get(cells[_SEGMENT]), cells[_ID]
    if grown is None:
        report.add("inserted", f"decision {id_.hex()}", "it is of no segment")
        return
    place = cells[_PLACE]
    if not isinstance(place, int):  # SQLite takes anything anywhere
        report.add("inserted", grown.where, f"decision {id_.hex()} has no place")
        return
    if not grown.take(place, leaf_of(cells, author), report):
        return
    report.records += 1
    if cells[_SALT] is None:
        report.erased += 1
        if place not in grown.signed.erased:
            report.add("erased", grown.where, f"place {place}: no signature for its erasure")
        if any(cells[said] is not None for said in _SAID):
            report.add("altered", grown.where, f"place {place}: it was erased, and says something all the same")
    elif not _is_first(cells[_SCORE], cells[_SCORES]):
        report.add("altered", grown.where, f"place {place}: its `score` is not the first of its scores")
    if cells[_UNSENT] or audit.unsent:
        base = (int.from_bytes(id_, "big") & -MAX_ROWS).to_bytes(ID_BYTES, "big")
        if cells[_UNSENT] != (base in audit.unsent):
            report.add("altered", grown.where, f"place {place}: whether its answer left is not what was recorded")


def _is_first(score: Any, scores: Any) -> bool:
    try:
        (first,) = _first(scores)
    except (TypeError, struct.error):
        return False
    return score == first or (first != first and score in (None, first)) or (score != score and first != first)


def _end(audit: _Audit) -> None:
    for id_, grown in audit.segments.items():
        row = audit.rows[id_]
        root = grown.end(audit.report)
        if root is not None and row.final and root != row.root:
            audit.report.add("altered", grown.where, "its root is not that of its decisions")
        for first, count in grown.left_out():
            audit.report.left_out += count
            if audit.report.export is None:
                audit.report.add("removed", grown.where, f"places {first} to {first + count - 1}: no signature for it")
    said = audit.report.export
    if said is not None and (said.get("rows"), said.get("left_out")) != (audit.report.records, audit.report.left_out):
        audit.report.add("removed", "the export", "it does not hold as many decisions as its maker signed")
