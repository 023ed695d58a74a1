"""The first schema: authors, segments, decisions, outcomes, holds, archives."""

from typing import Final

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: Final = "0001"
down_revision: Final = None


def upgrade() -> None:
    op.create_table(
        "authors",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("key", sa.LargeBinary, nullable=False, unique=True),
        sa.Column("json", sa.Text, nullable=False),
    )
    op.create_table(
        "segments",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("writer", sa.String(24), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("offset", sa.BigInteger, nullable=False),
        sa.Column("rows", sa.BigInteger, nullable=False),
        sa.Column("missed", sa.BigInteger, nullable=False),
        sa.Column("repeated", sa.BigInteger, nullable=False),
        sa.Column("tree", sa.LargeBinary, nullable=False),
        sa.Column("root", sa.LargeBinary),
        sa.Column("final", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("shipped_ns", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("writer", "number"),
    )
    make_decisions()
    make_outcomes()
    make_holds_and_archives()
    compatible = op.create_table("schema_compatible", sa.Column("since", sa.Integer, nullable=False))
    op.bulk_insert(compatible, [{"since": 1}])


def make_decisions() -> None:
    on_postgresql = op.get_context().dialect.name == "postgresql"
    id_type = postgresql.UUID() if on_postgresql else sa.LargeBinary()
    op.create_table(
        "decisions",
        sa.Column("id", id_type, primary_key=True),
        sa.Column("time_ns", sa.BigInteger, nullable=False),
        sa.Column("entity", sa.LargeBinary),
        *(sa.Column(name, sa.Text) for name in ("caller", "request_id", "trace")),
        *(sa.Column(name, sa.LargeBinary) for name in ("values", "margins", "scores")),
        sa.Column("outcome", sa.SmallInteger),
        *(sa.Column(name, sa.LargeBinary) for name in ("defaulted", "degraded")),
        sa.Column("model_ns", sa.BigInteger),
        sa.Column("author", sa.Integer, nullable=False),
        sa.Column("score", sa.Double),
        sa.Column("segment", sa.Integer, nullable=False),
        sa.Column("place", sa.Integer, nullable=False),
        sa.Column("salt", sa.LargeBinary),
        sa.Column("unsent", sa.Boolean, nullable=False, server_default=sa.false()),
        postgresql_partition_by="RANGE (id)",
        sqlite_with_rowid=False,
    )
    told = sa.column("entity").is_not(None)
    op.create_index("decisions_entity", "decisions", ["entity", "time_ns"], sqlite_where=told, postgresql_where=told)
    if on_postgresql:
        op.execute("CREATE TABLE decisions_other PARTITION OF decisions DEFAULT")


def make_outcomes() -> None:
    on_postgresql = op.get_context().dialect.name == "postgresql"
    op.create_table(
        "outcomes",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("key", sa.LargeBinary, nullable=False, unique=True),
        sa.Column("prediction", postgresql.UUID() if on_postgresql else sa.LargeBinary()),
        sa.Column("model", sa.Text),
        sa.Column("entity", sa.LargeBinary),
        sa.Column("event_ns", sa.BigInteger),
        sa.Column("value", sa.Double),
        sa.Column("label", sa.Text),
        sa.Column("observed_ns", sa.BigInteger, nullable=False),
        sa.Column("received_ns", sa.BigInteger, nullable=False),
        sa.Column("caller", sa.Text, nullable=False),
    )
    op.create_index("outcomes_prediction", "outcomes", ["prediction"])
    op.create_index("outcomes_entity", "outcomes", ["entity"])


def make_holds_and_archives() -> None:
    op.create_table(
        "holds",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("model", sa.Text),
        sa.Column("entity", sa.LargeBinary),
        sa.Column("from_ns", sa.BigInteger),
        sa.Column("until_ns", sa.BigInteger),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("at_ns", sa.BigInteger, nullable=False),
        sa.Column("released_by", sa.Text),
        sa.Column("released_ns", sa.BigInteger),
    )
    op.create_table(
        "archives",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("day", sa.Integer, nullable=False),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("rows", sa.BigInteger, nullable=False),
        sa.Column("from_ns", sa.BigInteger, nullable=False),
        sa.Column("until_ns", sa.BigInteger, nullable=False),
        sa.Column("done", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("at_ns", sa.BigInteger, nullable=False),
    )
