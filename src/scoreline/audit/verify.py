"""Verifying: the whole record, in a database with its archive or in an export of one, against the signed chain.

Every decision's leaf is computed anew and put into the tree of its segment, whose root must be the signed one at every
size that was signed. It reads one state of the database, once, in the order of ids, and keeps what waits for its turn.
Whoever could write to the database may have put anything anywhere: what is not of its kind is a finding.
"""

import hashlib
import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, select

from scoreline.audit.grown import Grown, has_unsent
from scoreline.audit.report import Report
from scoreline.audit.signed import Name, OfSegment, read_chain
from scoreline.core.errors import DatabaseRefused
from scoreline.core.ids import MAX_ROWS
from scoreline.records.archive import Archive
from scoreline.records.chain import ID_BYTES, links, signed_of
from scoreline.records.database import Database
from scoreline.records.leaves import COLUMNS, Cells, leaf_of, with_authors
from scoreline.records.merkle import Stump
from scoreline.records.rows import author_key, author_of
from scoreline.records.tables import ARCHIVES, AUTHORS, DECISIONS, SEGMENTS, STUMPS
from scoreline.signing import TrustStore

PAGE_ROWS: Final = 5000
_KEPT: Final = frozenset(("id", "time_ns", "author", "segment", "place", "unsent", "leaf"))
_SAID: Final = [place for place, name in enumerate(COLUMNS) if name not in _KEPT]
_ID, _SEGMENT, _PLACE, _SALT, _SCORE, _SCORES, _UNSENT = (
    COLUMNS.index(name) for name in ("id", "segment", "place", "salt", "score", "scores", "unsent")
)
_MALFORMED: Final = (TypeError, ValueError, AttributeError, KeyError, OverflowError, struct.error)
_ENDED: Final = -1
_first: Final = struct.Struct("<d").unpack_from


@dataclass(slots=True)
class _Audit:
    """What one pass over the record needs."""

    report: Report
    segments: dict[int, Grown] = field(default_factory=dict)
    rows: dict[int, Any] = field(default_factory=dict)
    unsent: set[bytes] = field(default_factory=set)


def verify(
    database: Database,
    trust: TrustStore,
    archive: Archive | None = None,
    expected: str = "",
    *,
    is_export: bool = False,
) -> Report:
    """Holds the record against the chain that trusted keys signed; `expected` is a link noted elsewhere.

    Raises DatabaseDown, DatabaseRefused or OSError where it cannot be read.
    """
    audit = _Audit(Report())
    with database.reading() as connection:
        files = files_of(connection)
        if files and archive is None:
            raise DatabaseRefused("decisions are in an archive: set records.archive to where it is")
        signed = read_chain(links(connection), trust, audit.report, expected)
        if audit.report.export is not None and not is_export:
            audit.report.add("chain", "the database", "it is an export: give it as FILE, and look for the real one")
        _read_authors(connection, audit)
        _read_segments(connection, signed, audit)
        for cells, author in records(connection, archive):
            try:
                _take(cells, author, audit)
            except _MALFORMED:
                audit.report.add("altered", _where(cells, audit), "a decision has a value that is none of its column")
    _end(audit)
    if audit.report.n_findings and archive:
        with database.reading() as connection:
            if files_of(connection) != files:
                raise DatabaseRefused("files of the archive were written anew meanwhile: verify once more")
    return audit.report


def _read_authors(connection: Connection, audit: _Audit) -> None:
    for id_, key, text, model in connection.execute(select(AUTHORS)):
        whole = isinstance(text, str) and hashlib.sha256(text.encode("utf-8", "replace")).digest() == key
        if not whole or model not in (None, author_of(text).model):  # a steward of before wrote no model
            audit.report.add("author", f"author {id_}", "its model, version and bundle are not what was signed")


def _read_segments(connection: Connection, signed: Mapping[Name, OfSegment], audit: _Audit) -> None:
    stumps: dict[int, list[Stump]] = {}
    for segment, *stump in connection.execute(select(STUMPS)):
        if _are(stump, int, int, bytes):
            stumps.setdefault(segment, []).append(Stump(*stump))
        else:
            audit.report.add("inserted", f"segment id {segment}", "there is a hash that stands for nothing")
    last: dict[str, int] = {}
    for row in connection.execute(select(SEGMENTS).order_by(SEGMENTS.c.writer, SEGMENTS.c.number)).all():
        where = f"segment {row.writer}-{row.number}"
        if not _are((row.writer, row.number, row.rows, row.unsent or b""), str, int, int, bytes):
            audit.report.add("altered", where, "it has a value that is none of its column")
            continue
        of_segment = signed.get((row.writer, row.number), OfSegment())
        before = last.get(row.writer, -1)
        if row.number != before + 1:
            says = "there is another of this number" if row.number <= before else "its writer's later ones are here"
            audit.report.add("missing segment", f"{where}, after {before}", says)
        last[row.writer] = row.number
        grown = Grown(where, row.rows, stumps.pop(row.id, ()), of_segment, audit.report)
        _compare(row, where, of_segment, audit)
        audit.segments[row.id], audit.rows[row.id] = grown, row
        audit.report.open_segments += not row.final
    for writer, number in signed.keys() - {(row.writer, row.number) for row in audit.rows.values()}:
        audit.report.add("missing segment", f"segment {writer}-{number}", "a checkpoint has it")
    for segment in stumps:
        audit.report.add("inserted", f"segment id {segment}", "there are hashes of decisions of no segment")
    audit.report.segments = len(audit.rows)


def _compare(row: Any, where: str, signed: OfSegment, audit: _Audit) -> None:
    """A segment's row against the last that was signed of it; it may have grown since."""
    report, last, unsent = audit.report, signed.states[-1] if signed.states else None, row.unsent or b""
    audit.unsent.update(unsent[start : start + ID_BYTES] for start in range(0, len(unsent), ID_BYTES))
    report.unsigned += row.rows - min(row.rows, last.rows if last else 0)
    is_signed = last and (last.final if row.signed == _ENDED else row.signed != row.offset or last.rows == row.rows)
    if row.signed is not None and not is_signed:
        report.add("altered", where, "it is marked as signed, and was not: it would never be")
    if last is None:
        return
    try:
        now = signed_of(row)
    except DatabaseRefused as refused:
        report.add("altered", where, str(refused))
        return
    if now.rows < last.rows:
        report.add("removed", where, f"it has {now.rows} decisions, and {last.rows} were signed")
    elif last.final and now != last:
        report.add("altered", where, "what it says of itself is not what was signed")
    elif (now.missed, now.repeated) < (last.missed, last.repeated) or not has_unsent(unsent, last):
        report.add("altered", where, "what it says of answers that are missing, or never left, is not what was signed")


def records(connection: Connection, archive: Archive | None) -> Iterator[tuple[Cells, bytes]]:
    """Every decision in the archive and the database, with its author's key.

    One on its way counts in the archive, and once more where the database has it otherwise.
    """
    leaving: set[bytes] = set()
    for name, done in files_of(connection) if archive else ():
        for text, cells in archive.read(name) if archive else ():
            author = author_key(author_of(text))
            if not done:
                leaving.add(cells[_ID] + leaf_of(cells, author))
            yield cells, author
    rows = connection.execute(select(*DECISIONS.c).order_by(DECISIONS.c.id).execution_options(yield_per=PAGE_ROWS))
    for row, author in with_authors(connection, rows):
        if not leaving or row[_ID] + leaf_of(row, author) not in leaving:
            yield row, author


def files_of(connection: Connection) -> list[tuple[str, bool]]:
    """Files of the archive, and whether all that is in them has left the database."""
    wanted = select(ARCHIVES.c.name, ARCHIVES.c.done).order_by(ARCHIVES.c.day, ARCHIVES.c.id)
    return [(name, done) for name, done in connection.execute(wanted)]


def coverage(segments: Mapping[Name, Any]) -> str:
    """The SHA-256 over which places of which segments have no decision; what an export signs for."""
    found = [[writer, number, covered] for (writer, number), covered in sorted(segments.items()) if covered]
    return hashlib.sha256(json.dumps(found, separators=(",", ":")).encode()).hexdigest()


def _where(cells: Cells, audit: _Audit) -> str:
    grown = audit.segments.get(cells[_SEGMENT]) if isinstance(cells[_SEGMENT], int) else None
    return grown.where if grown else "no segment"


def _take(cells: Cells, author: bytes, audit: _Audit) -> None:
    report, grown, id_, place = audit.report, audit.segments.get(cells[_SEGMENT]), cells[_ID], cells[_PLACE]
    if grown is None:
        report.add("inserted", f"decision {id_.hex()}", "it is of no segment")
        return
    if not _are((place, id_), int, bytes):
        raise TypeError
    erased = cells[_SALT] is None
    if not grown.take(place, leaf_of(cells, author), report, erased=erased):
        return
    report.records += 1
    if erased:
        report.erased += 1
        if any(cells[said] is not None for said in _SAID):
            report.add("altered", grown.where, f"place {place}: it was erased, and says something all the same")
    elif not _is_first(cells[_SCORE], cells[_SCORES]):
        report.add("altered", grown.where, f"place {place}: its `score` is not the first of its scores")
    if cells[_UNSENT] or audit.unsent:
        base = (int.from_bytes(id_, "big") & -MAX_ROWS).to_bytes(ID_BYTES, "big")
        if cells[_UNSENT] not in (True, False) or cells[_UNSENT] != (base in audit.unsent):
            report.add("altered", grown.where, f"place {place}: whether its answer left is not what was recorded")


def _is_first(score: Any, scores: Any) -> bool:
    (first,) = _first(scores)
    return bool(score == first or (first != first and (score is None or score != score)))


def _are(values: Any, *kinds: type) -> bool:
    """Whether values are of these kinds; SQLite takes anything anywhere."""
    return all(isinstance(value, kind) for value, kind in zip(values, kinds, strict=True))


def _end(audit: _Audit) -> None:
    report = audit.report
    for id_, grown in audit.segments.items():
        row = audit.rows[id_]
        root = grown.end(report)
        if row.final not in (True, False) or (root is not None and row.final and root != row.root):
            report.add("altered", grown.where, "its end or its root is not that of its decisions")
        for first, count in grown.left_out():
            report.left_out += count
            if report.export is None:
                report.add("removed", grown.where, f"places {first} to {first + count - 1}: no signature for it")
    if report.export is not None:
        empty = {
            (audit.rows[id_].writer, audit.rows[id_].number): grown.covered for id_, grown in audit.segments.items()
        }
        if report.export.get("without") != coverage(empty):
            report.add("removed", "the export", "it does not hold the decisions that its maker signed for")
