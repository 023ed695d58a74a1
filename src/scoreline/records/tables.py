"""The tables of the decision database, as this version reads and writes them; `migrations/` makes them.

A row of `decisions` is a `rows.Row`, and where it stands: its author, its segment, its place in it (the position of its
leaf) and the salt of its leaf. What erasure takes away may be NULL; a row without a salt is erased, and has its leaf
instead. An `entity` that was not told is NULL too.
"""

import uuid
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Dialect,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.dialects import postgresql

METADATA: Final = MetaData()


class Id(TypeDecorator[bytes]):
    """The 16 bytes of a UUID: PostgreSQL's own type, a BLOB in SQLite. Both sort as the bytes do."""

    impl = LargeBinary
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        return dialect.type_descriptor(postgresql.UUID() if dialect.name == "postgresql" else LargeBinary())

    def process_bind_param(self, value: bytes | None, dialect: Dialect) -> Any:
        return uuid.UUID(bytes=value) if value is not None and dialect.name == "postgresql" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> bytes | None:  # noqa: ARG002
        return value.bytes if isinstance(value, uuid.UUID) else value


# `model` is the one in `json`; NULL where a steward of before wrote the row.
AUTHORS: Final = Table(
    "authors",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("key", LargeBinary, nullable=False, unique=True),
    Column("json", Text, nullable=False),
    Column("model", Text),
)
Index("authors_model", AUTHORS.c.model)
# `offset` is where shipping goes on, `tree` the Merkle tree so far, `missed` counts what was answered without a record,
# `repeated` what had been shipped under the same id before; `root` and `final` come when its writer has ended. `unsent`
# are the bases of requests whose answers never left, 16 bytes each; `signed` is the offset that the last checkpoint
# has, -1 once it has the end.
SEGMENTS: Final = Table(
    "segments",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("writer", String(24), nullable=False),
    Column("number", Integer, nullable=False),
    Column("host", Text, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("missed", BigInteger, nullable=False),
    Column("repeated", BigInteger, nullable=False),
    Column("tree", LargeBinary, nullable=False),
    Column("root", LargeBinary),
    Column("final", Boolean, nullable=False, server_default=false()),
    Column("shipped_ns", BigInteger, nullable=False),
    Column("unsent", LargeBinary),
    Column("signed", BigInteger),
    UniqueConstraint("writer", "number"),
)
DECISIONS: Final = Table(
    "decisions",
    METADATA,
    Column("id", Id, primary_key=True),
    Column("time_ns", BigInteger, nullable=False),
    Column("entity", LargeBinary),
    Column("caller", Text),
    Column("request_id", Text),
    Column("trace", Text),
    Column("values", LargeBinary),
    Column("margins", LargeBinary),
    Column("scores", LargeBinary),
    Column("outcome", SmallInteger),
    Column("defaulted", LargeBinary),
    Column("degraded", LargeBinary),
    Column("model_ns", BigInteger),
    Column("author", Integer, nullable=False),
    Column("score", Double),
    Column("segment", Integer, nullable=False),
    Column("place", Integer, nullable=False),
    Column("salt", LargeBinary),
    Column("unsent", Boolean, nullable=False, server_default=false()),
    Column("leaf", LargeBinary),
    postgresql_partition_by="RANGE (id)",
    sqlite_with_rowid=False,
)
Index(
    "decisions_entity",
    DECISIONS.c.entity,
    DECISIONS.c.time_ns,
    sqlite_where=DECISIONS.c.entity.is_not(None),
    postgresql_where=DECISIONS.c.entity.is_not(None),
)
# Only ever added to. `key` is a hash of target, time and value: the same report twice is one row. The target is either
# `prediction`, or `model`, `entity` and `event_ns`; what is known is `value` or, of a class, its `label`.
OUTCOMES: Final = Table(
    "outcomes",
    METADATA,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("key", LargeBinary, nullable=False, unique=True),
    Column("prediction", Id),
    Column("model", Text),
    Column("entity", LargeBinary),
    Column("event_ns", BigInteger),
    Column("value", Double),
    Column("label", Text),
    Column("observed_ns", BigInteger, nullable=False),
    Column("received_ns", BigInteger, nullable=False),
    Column("caller", Text, nullable=False),
)
Index("outcomes_prediction", OUTCOMES.c.prediction)
Index("outcomes_entity", OUTCOMES.c.entity)
# What must not be removed: decisions of a model, about an entity, taken up from one time until another; NULL is any.
HOLDS: Final = Table(
    "holds",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("model", Text),
    Column("entity", LargeBinary),
    Column("from_ns", BigInteger),
    Column("until_ns", BigInteger),
    Column("reason", Text, nullable=False),
    Column("who", Text, nullable=False),
    Column("at_ns", BigInteger, nullable=False),
    Column("released_by", Text),
    Column("released_ns", BigInteger),
)
# Files of days that were moved out of the database, with decisions taken up from one time until another, both included;
# until `done`, some of their rows may be in the database still.
ARCHIVES: Final = Table(
    "archives",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("day", Integer, nullable=False),
    Column("name", Text, nullable=False, unique=True),
    Column("rows", BigInteger, nullable=False),
    Column("from_ns", BigInteger, nullable=False),
    Column("until_ns", BigInteger, nullable=False),
    Column("done", Boolean, nullable=False, server_default=false()),
    Column("at_ns", BigInteger, nullable=False),
)
# What is left of a segment's tree where decisions were removed: the hash over so many leaves, a power of two, from a
# place on.
STUMPS: Final = Table(
    "stumps",
    METADATA,
    Column("segment", Integer, primary_key=True, autoincrement=False),
    Column("place", BigInteger, primary_key=True, autoincrement=False),
    Column("leaves", BigInteger, nullable=False),
    Column("hash", LargeBinary, nullable=False),
)
# The chain: `body` is canonical JSON that names the hash of the one before, `signature` an ECDSA over it.
CHECKPOINTS: Final = Table(
    "checkpoints",
    METADATA,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("at_ns", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
    Column("signature", LargeBinary, nullable=False),
)
# Who may do what one steward does for all; `until_ns` is by the database's clock.
LEASES: Final = Table(
    "leases",
    METADATA,
    Column("name", String(64), primary_key=True),
    Column("holder", Text, nullable=False),
    Column("until_ns", BigInteger, nullable=False),
)
# Whose decisions of before `at_ns` are erased, also those that come up later. Those that were in a spool then have come
# up once the segments up to `last_segment` have ended: since `done_ns`. `link` is the checkpoint that signs for it.
ERASURES: Final = Table(
    "erasures",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("entity", LargeBinary, nullable=False),
    Column("reason", Text, nullable=False),
    Column("who", Text, nullable=False),
    Column("at_ns", BigInteger, nullable=False),
    Column("decisions", BigInteger, nullable=False, server_default="0"),
    Column("outcomes", BigInteger, nullable=False, server_default="0"),
    Column("last_segment", Integer, nullable=False),
    Column("link", BigInteger, nullable=False),
    Column("done_ns", BigInteger),
)
# Files that decisions left in: what kind, under which name and SHA-256, by which filter (JSON), how many rows, and the
# first and last time among them.
EXPORTS: Final = Table(
    "exports",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("filter", Text, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("from_ns", BigInteger),
    Column("until_ns", BigInteger),
    Column("who", Text, nullable=False),
    Column("at_ns", BigInteger, nullable=False),
)
# Decisions that are in a file of the archive, as far as outcomes are joined to them: in `decisions` or here, not both.
MOVED: Final = Table(
    "moved",
    METADATA,
    Column("id", Id, primary_key=True),
    Column("time_ns", BigInteger, nullable=False),
    Column("entity", LargeBinary),
    Column("author", Integer, nullable=False),
    Column("archive", Integer, nullable=False),
    sqlite_with_rowid=False,
)
Index(
    "moved_entity",
    MOVED.c.entity,
    MOVED.c.time_ns,
    sqlite_where=MOVED.c.entity.is_not(None),
    postgresql_where=MOVED.c.entity.is_not(None),
)
# Files of the archive that count for nothing: not put down yet, or not any more.
LEFTOVERS: Final = Table(
    "leftovers",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("at_ns", BigInteger, nullable=False),
)
# An id of version 7 tells the time of its decision; one of a stream may tell any, and is found by `time_ns`.
OTHER_TIME: Final = {
    "sqlite": "substr(id, 7, 1) NOT BETWEEN x'70' AND x'7f'",
    "postgresql": "get_byte(uuid_send(id), 6) / 16 <> 7",
}
Index(
    "decisions_author",
    DECISIONS.c.author,
    DECISIONS.c.id,
    sqlite_where=text(f"NOT ({OTHER_TIME['sqlite']})"),
    postgresql_where=text(f"NOT ({OTHER_TIME['postgresql']})"),
)
for _table in (DECISIONS, MOVED):
    _where: Any = {f"{kind}_where": text(condition) for kind, condition in OTHER_TIME.items()}
    Index(f"{_table.name}_time", _table.c.time_ns, _table.c.id, **_where)
# Spools whose decisions come here. All that was in one at `through_ns`, by its host's clock, is shipped; the database's
# clock says when it was heard of last.
SPOOLS: Final = Table(
    "spools",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("through_ns", BigInteger, nullable=False),
    Column("heard_ns", BigInteger, nullable=False),
)
# Decisions of a model, the first of `from_ns`, that a spool brought when those up to `passed_ns` might have been folded
# without them.
LATE: Final = Table(
    "late",
    METADATA,
    Column("spool", Text, primary_key=True),
    Column("passed_ns", BigInteger, primary_key=True, autoincrement=False),
    Column("model", String(100), primary_key=True),
    Column("rows", BigInteger, nullable=False),
    Column("from_ns", BigInteger, nullable=False),
)
# One row: the oldest schema a steward must know to use this database. Contracting steps raise it.
COMPATIBLE: Final = Table("schema_compatible", METADATA, Column("since", Integer, nullable=False))
