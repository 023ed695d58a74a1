"""The chain: signed checkpoints over all that is shipped and all that was taken away, each naming the one before.

A checkpoint's body is canonical JSON. It has every segment that has grown or ended since the last checkpoint, with the
root of its tree, and where leaves were taken away why and which. Who alters, removes, inserts or reorders decisions and
cannot sign is found by `scoreline.audit`.
"""

import hashlib
import json
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, case, or_, select

from scoreline.core.errors import DatabaseRefused
from scoreline.records.database import Database
from scoreline.records.merkle import Tree
from scoreline.records.ranges import Ranges
from scoreline.records.tables import CHECKPOINTS, SEGMENTS
from scoreline.signing import Signer

KIND: Final = "application/vnd.scoreline.checkpoint+json"
FORMAT: Final = 1
GENESIS: Final = "0" * 64
RETENTION: Final = "retention"
ERASURE: Final = "erasure"
EXPORT: Final = "export"
KEY: Final = "key"
ID_BYTES: Final = 16
_ENDED: Final = -1


@dataclass(frozen=True, slots=True)
class Signed:
    """A segment as a checkpoint has it: how many leaves, and the root over them; hashes in hexadecimal.

    `unsent` counts the requests whose answers never left, `unsent_hash` is the SHA-256 over their bases.
    """

    writer: str
    number: int
    rows: int
    root: str
    final: bool
    missed: int
    repeated: int
    unsent: int
    unsent_hash: str


@dataclass(frozen=True, slots=True)
class Taken:
    """Places of a segment that were erased, or taken away; in `erased` those of the latter that were erased before."""

    writer: str
    number: int
    ranges: Ranges
    erased: Ranges = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Act:
    """What was done: `kind` is retention, erasure, export or key, `facts` say more."""

    kind: str
    facts: Mapping[str, Any]
    taken: Sequence[Taken] = ()


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One link. `previous` is the SHA-256 of the body before, `key` the fingerprint of who signed, on `host`."""

    seq: int
    previous: str
    at_ns: int
    host: str
    key: str
    segments: tuple[Signed, ...] = ()
    act: Act | None = None

    def body(self) -> str:
        found = {"format": FORMAT, **asdict(self)}
        return json.dumps(found, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    @classmethod
    def from_body(cls, body: str) -> "Checkpoint":
        """What `body` wrote: `Checkpoint.from_body(c.body()) == c`; raises ValueError for anything else."""
        try:
            found = json.loads(body)
            if found.pop("format") != FORMAT:
                raise ValueError("a checkpoint of another format")
            act = found.pop("act")
            segments = tuple(Signed(**segment) for segment in found.pop("segments"))
            return cls(segments=segments, act=_act(act) if act else None, **found)
        except (KeyError, TypeError, AttributeError, RecursionError):
            raise ValueError("not a checkpoint") from None


def hash_of(body: str) -> str:
    """The hash that the next checkpoint names, in hexadecimal."""
    return hashlib.sha256(body.encode()).hexdigest()


def sign_pending(database: Database, signer: Signer, now_ns: int, *, pulse: bool = False) -> Checkpoint | None:
    """A checkpoint over what has grown or ended since the last one; None where nothing has.

    `pulse`: one all the same, which says that nothing has. Raises DatabaseDown or DatabaseRefused.
    """
    with database.writing(durable=True) as connection:
        database.lock(connection)
        if not pulse and connection.scalar(select(SEGMENTS.c.id).where(_pending()).limit(1)) is None:
            return None
        return append(connection, signer, now_ns)


def append(connection: Connection, signer: Signer, now_ns: int, act: Act | None = None) -> Checkpoint:
    """The next link, over all that is pending and what was done; in a transaction that holds the database's lock."""
    found = connection.execute(select(SEGMENTS).where(_pending()).order_by(SEGMENTS.c.writer, SEGMENTS.c.number)).all()
    link = add_link(connection, signer, now_ns, tuple(signed_of(row) for row in found), act)
    for row in found:
        signed = _ENDED if row.final else row.offset
        connection.execute(SEGMENTS.update().where(SEGMENTS.c.id == row.id).values(signed=signed))
    return link


def add_link(
    connection: Connection, signer: Signer, now_ns: int, segments: tuple[Signed, ...], act: Act | None
) -> Checkpoint:
    """The next link as given."""
    seq, previous = _head_for(connection, signer, act)
    link = Checkpoint(seq + 1, previous, now_ns, socket.gethostname(), signer.fingerprint, segments, act)
    body = link.body()
    signed = {"seq": link.seq, "at_ns": now_ns, "body": body, "signature": signer.sign(KIND, body.encode())}
    connection.execute(CHECKPOINTS.insert().values(**signed))
    return link


def head(connection: Connection) -> tuple[int, str]:
    """The number of the last checkpoint and the hash of its body; 0 where there is none."""
    last = select(CHECKPOINTS.c.seq, CHECKPOINTS.c.body).order_by(CHECKPOINTS.c.seq.desc()).limit(1)
    found = connection.execute(last).one_or_none()
    return (found.seq, hash_of(found.body)) if found else (0, GENESIS)


def links(connection: Connection) -> Iterator[tuple[int, str, bytes]]:
    """Number, body and signature of every checkpoint, in order."""
    found = select(CHECKPOINTS.c.seq, CHECKPOINTS.c.body, CHECKPOINTS.c.signature).order_by(CHECKPOINTS.c.seq)
    for row in connection.execute(found.execution_options(yield_per=1000)):
        yield row.seq, row.body, row.signature


def _head_for(connection: Connection, signer: Signer, act: Act | None) -> tuple[int, str]:
    """The head, for one who may follow it; raises DatabaseRefused. Another key is no accident, or it would be one."""
    last = select(CHECKPOINTS.c.seq, CHECKPOINTS.c.body).order_by(CHECKPOINTS.c.seq.desc()).limit(1)
    found = connection.execute(last).one_or_none()
    if found is None:
        return 0, GENESIS
    if f'"key":"{signer.fingerprint}"' not in found.body and (act is None or act.kind not in (KEY, EXPORT)):
        raise DatabaseRefused(
            "the chain of this database is signed with another key: give the same one with records.audit_key on every "
            "host, or go on with this one by `scoreline audit rekey`"
        )
    return found.seq, hash_of(found.body)


def signed_of(row: Any) -> Signed:
    """A row of `segments` as a checkpoint has it."""
    try:
        root = Tree(row.rows, row.tree).root.hex()
    except (TypeError, ValueError):
        raise DatabaseRefused(
            f"segment {row.writer}-{row.number} has a tree that is none: see `audit verify`"
        ) from None
    bases = row.unsent or b""
    unsent = len(bases) // ID_BYTES, hashlib.sha256(bases).hexdigest()
    return Signed(row.writer, row.number, row.rows, root, bool(row.final), row.missed, row.repeated, *unsent)


def _pending() -> Any:
    now = case((SEGMENTS.c.final, _ENDED), else_=SEGMENTS.c.offset)
    return or_(SEGMENTS.c.signed.is_(None), SEGMENTS.c.signed != now)


def _act(found: Mapping[str, Any]) -> Act:
    return Act(found["kind"], found["facts"], tuple(_taken(one) for one in found["taken"]))


def _taken(found: Mapping[str, Any]) -> Taken:
    ranges, erased = ([(int(first), int(n)) for first, n in found[name]] for name in ("ranges", "erased"))
    return Taken(found["writer"], found["number"], ranges, erased)


def lock_open(connection: Connection) -> None:
    """Locks the segments that `append` may sign, before decisions are locked: shippers take both in this order."""
    may_grow = or_(SEGMENTS.c.signed.is_(None), SEGMENTS.c.signed != _ENDED)
    connection.execute(select(SEGMENTS.c.id).where(may_grow).order_by(SEGMENTS.c.id).with_for_update()).all()
