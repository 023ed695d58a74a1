"""What challengers make of recorded decisions: their scores, and how far in the spool they are.

Delivery order of a piece of a segment, for one challenger:
  1. it is read from the offset that the database has for segment and challenger;
  2. its rows are scored;
  3. a transaction moves the offset on where it still is the old one, and takes the scores in.
A death between any two steps loses nothing and scores nothing twice.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, exists, func, not_, select, text

from scoreline.core.decision import Author
from scoreline.records.authors import authors_of
from scoreline.records.database import SQLITE, Database
from scoreline.records.load import author_ids
from scoreline.records.rollout_tables import SHADOW_FAULTS, SHADOW_OFFSETS, SHADOW_SCORES
from scoreline.records.rows import author_key
from scoreline.records.segments import BEGIN, Segment
from scoreline.records.tables import AUTHORS, DECISIONS

Score = tuple[bytes, int]  # float64, and the outcome's code: -1 where there is none
CHALLENGER: Final = "challenger"
# What a challenger scores, and is compared by: all that was answered, but not where a version was asked for. Such a
# request is no evidence.
ANSWERED: Final = ("champion", "canary", "canary_failed", "mixed", "lapsed")
GIVEN_UP: Final = 2  # faults at one place
FAULTS: Final = 20  # and on one host, wherever: one that comes back each time it is tried again is no use either
SLICE_ROWS: Final = 5000
_MS: Final = 1_000_000
_SLACK_MS: Final = 60_000  # between a writer's beginning and the first id in it
_ADD: Final = text(
    'INSERT INTO shadow_offsets (writer, number, author, "offset", scored, missed) '
    "VALUES (:writer, :number, :author, :begin, 0, 0) ON CONFLICT DO NOTHING"
)
_MOVE: Final = text(
    'UPDATE shadow_offsets SET "offset" = :end, scored = scored + :scored, missed = missed + :missed '
    'WHERE writer = :writer AND number = :number AND author = :author AND "offset" = :begin'
)
_FAULT: Final = text(
    "INSERT INTO shadow_faults (author, at_ns, kind, place) SELECT :author, :at_ns, :kind, :place WHERE NOT EXISTS "
    "(SELECT 1 FROM shadow_faults WHERE author = :author AND at_ns = :at_ns AND place = :place)"
)
_SCORE: Final = "INSERT INTO shadow_scores (author, id, scores, outcome) VALUES ({}) ON CONFLICT DO NOTHING"


_DONE: Final = text(
    'SELECT "offset", scored + missed FROM shadow_offsets '
    "WHERE writer = :writer AND number = :number AND author = :author"
)
_SHIPPED: Final = text(
    'SELECT id, "offset", shipped_ns FROM segments WHERE writer = :writer AND number = :number AND final'
)


class Scored(NamedTuple):
    """A challenger's answer to a decision: its id as 16 bytes, scores as float64, outcome -1 without a policy."""

    id: bytes
    scores: bytes
    outcome: int


def add_scores(
    database: Database, author: Author, segment: Segment, begin: int, end: int, found: Sequence[Scored], missed: int
) -> bool:
    """Takes in the scores of a piece; False, and nothing taken, where another was there before.

    Raises DatabaseDown or DatabaseRefused.
    """
    with database.writing() as connection:
        (place,) = author_ids(connection, [author]).values()
        named: dict[str, Any] = {"writer": segment.writer, "number": segment.number, "author": place, "begin": begin}
        if begin == BEGIN:
            connection.execute(_ADD, named)
        moved = {**named, "end": end, "scored": len(found), "missed": missed}
        if connection.execute(_MOVE, moved).rowcount != 1:
            return False
        if found:
            raw: Any = connection.connection
            mark, named_by = ("?", bytes) if database.kind == SQLITE else ("%s", bytes.hex)
            rows = ((place, named_by(one.id), one.scores, _code(one.outcome)) for one in found)
            raw.cursor().executemany(_SCORE.format(", ".join([mark] * 4)), rows)
    return True


def offset_of(database: Database, author: Author, segment: Segment) -> int:
    """Up to where a challenger has scored a segment."""
    wanted = (SHADOW_OFFSETS.c.writer == segment.writer, SHADOW_OFFSETS.c.number == segment.number)
    with database.reading() as connection:
        place = _place(connection, author)
        one = select(SHADOW_OFFSETS.c.offset).where(*wanted, SHADOW_OFFSETS.c.author == place)
        return connection.scalar(one) or BEGIN


def scores_of(connection: Connection, numbers: Sequence[int], ids: Sequence[bytes]) -> Mapping[bytes, Score]:
    """What a challenger made of decisions, by their ids; `numbers` are those of its authors."""
    wanted = select(SHADOW_SCORES.c.id, SHADOW_SCORES.c.scores, SHADOW_SCORES.c.outcome).where(
        SHADOW_SCORES.c.author.in_(numbers), SHADOW_SCORES.c.id.in_(ids)
    )
    return {bytes(row.id): (bytes(row.scores), _outcome(row.outcome)) for row in connection.execute(wanted)}


def forget_scores(database: Database, before_ns: int) -> bool:
    """One slice of what challengers made of decisions of before a time that are gone; whether there may be more.

    Raises DatabaseDown or DatabaseRefused.
    """
    first = (before_ns // 1_000_000 << 80).to_bytes(16, "big")
    kept = exists().where(DECISIONS.c.id == SHADOW_SCORES.c.id)
    gone = select(SHADOW_SCORES.c.id).where(SHADOW_SCORES.c.id < first, not_(kept)).limit(SLICE_ROWS)
    with database.writing() as connection:
        ids = [bytes(id_) for id_ in connection.scalars(gone)]
        connection.execute(SHADOW_SCORES.delete().where(SHADOW_SCORES.c.id.in_(ids)))
    return len(ids) == SLICE_ROWS


def add_fault(database: Database, author: Author, kind: str, place: str, at_ns: int) -> None:
    """Keeps that a challenger failed, and at which place of a host's spool; the same one is kept once."""
    with database.writing() as connection:
        (number,) = author_ids(connection, [author]).values()
        connection.execute(_FAULT, {"author": number, "kind": kind, "place": place, "at_ns": at_ns})


def place_of(host: str, segment: Segment, offset: int) -> str:
    return f"{host}:{segment.path.name}@{offset}"


def is_given_up(database: Database, numbers: Sequence[int], host: str) -> bool:
    """Whether a challenger, by the numbers of its authors, is scored no more on a host."""
    named = select(SHADOW_FAULTS.c.place).where(SHADOW_FAULTS.c.author.in_(numbers))
    with database.reading() as connection:
        return _is_hopeless(place for place in connection.scalars(named) if place.startswith(f"{host}:"))


def _is_hopeless(places: Iterable[str]) -> bool:
    """Whether faults at these places of one host or more are enough for one of them."""
    by_place = Counter(places)
    by_host = Counter[str]()
    for place, count in by_place.items():
        by_host[place.partition(":")[0]] += count
    return max(by_place.values(), default=0) >= GIVEN_UP or max(by_host.values(), default=0) >= FAULTS


def add_lost(database: Database, author: Author, segment: Segment) -> int:
    """Counts what a challenger has not scored of a segment that is shipped and gone; how many decisions that is.

    They are those the database has of it, less what was counted before: nothing comes twice.
    """
    with database.writing() as connection:
        (place,) = author_ids(connection, [author]).values()
        named: dict[str, Any] = {"writer": segment.writer, "number": segment.number, "author": place, "begin": BEGIN}
        connection.execute(_ADD, named)
        offset, done = connection.execute(_DONE, named).one()
        shipped = connection.execute(_SHIPPED, named).one_or_none()
        if shipped is None or shipped.offset <= offset:
            return 0
        lost = max(0, _answered(connection, author.model, segment, shipped) - done)
        moved = {**named, "begin": offset, "end": shipped.offset, "scored": 0, "missed": lost}
        return lost if connection.execute(_MOVE, moved).rowcount == 1 else 0


class Progress(NamedTuple):
    """Of a challenger, over all hosts: decisions scored, and not; faults by kind; whether any host has given it up."""

    scored: int
    missed: int
    faults: Mapping[str, int]
    given_up: bool


def progress(database: Database, numbers: Sequence[int]) -> Progress:
    """How far a challenger is, by the numbers of its authors; raises DatabaseDown or DatabaseRefused."""
    sums = func.coalesce(func.sum(SHADOW_OFFSETS.c.scored), 0), func.coalesce(func.sum(SHADOW_OFFSETS.c.missed), 0)
    with database.reading() as connection:
        scored, missed = connection.execute(select(*sums).where(SHADOW_OFFSETS.c.author.in_(numbers))).one()
        faults = connection.execute(
            select(SHADOW_FAULTS.c.kind, SHADOW_FAULTS.c.place).where(SHADOW_FAULTS.c.author.in_(numbers))
        ).all()
    given_up = _is_hopeless(place for _, place in faults)
    return Progress(int(scored), int(missed), dict(Counter(kind for kind, _ in faults)), given_up)


def numbers_of(database: Database, model: str, digest: str, since: int) -> list[int]:
    """The numbers of a challenger's authors: hosts may have its library in several versions."""
    with database.reading() as connection:
        found = authors_of(connection, model, digest)
    return [number for number, one in found.items() if (one.role, one.epoch) == (CHALLENGER, since)]


def _answered(connection: Connection, model: str, segment: Segment, shipped: Any) -> int:
    """Decisions of a model in a segment. Nothing leads from a segment to them but the times in their ids."""
    wanted = [number for number, one in authors_of(connection, model).items() if one.role in ANSWERED]
    first_ms, last_ms = int(segment.writer[:16], 16) // _MS - _SLACK_MS, shipped.shipped_ns // _MS + _SLACK_MS
    within = DECISIONS.c.id.between(_first_id(max(0, first_ms)), _first_id(last_ms))
    found = select(func.count()).select_from(DECISIONS).where(within, DECISIONS.c.segment == shipped.id)
    return connection.scalar(found.where(DECISIONS.c.author.in_(wanted))) or 0


def _first_id(time_ms: int) -> bytes:
    """The least id of a millisecond."""
    return min(time_ms, (1 << 48) - 1).to_bytes(6, "big") + bytes(10)


def _code(outcome: int) -> int | None:
    return None if outcome < 0 else outcome


def _outcome(code: int | None) -> int:
    return -1 if code is None else code


def _place(connection: Connection, author: Author) -> int | None:
    found: int | None = connection.scalar(select(AUTHORS.c.id).where(AUTHORS.c.key == author_key(author)))
    return found
