"""Audit and the join to archived decisions: leaves, stumps, checkpoints, leases, erasures, exports, moved, times."""

from typing import Final

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: Final = "0002"
down_revision: Final = "0001"


def upgrade() -> None:
    op.add_column("decisions", sa.Column("leaf", sa.LargeBinary))
    op.add_column("segments", sa.Column("unsent", sa.LargeBinary))
    op.add_column("segments", sa.Column("signed", sa.BigInteger))
    make_chain()
    make_erasures_and_exports()
    make_moved_and_leftovers()
    make_times()
    op.execute("UPDATE schema_compatible SET since = 2")  # one of before would remove without signing


def make_chain() -> None:
    op.create_table(
        "stumps",
        sa.Column("segment", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("place", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("leaves", sa.BigInteger, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "checkpoints",
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("at_ns", sa.BigInteger, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("signature", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("until_ns", sa.BigInteger, nullable=False),
    )


def make_erasures_and_exports() -> None:
    op.create_table(
        "erasures",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("entity", sa.LargeBinary, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("at_ns", sa.BigInteger, nullable=False),
        sa.Column("decisions", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("outcomes", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("last_segment", sa.Integer, nullable=False),
        sa.Column("link", sa.BigInteger, nullable=False),
        sa.Column("done_ns", sa.BigInteger),
    )
    op.create_table(
        "exports",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("filter", sa.Text, nullable=False),
        sa.Column("rows", sa.BigInteger, nullable=False),
        sa.Column("from_ns", sa.BigInteger),
        sa.Column("until_ns", sa.BigInteger),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("at_ns", sa.BigInteger, nullable=False),
    )


def make_moved_and_leftovers() -> None:
    on_postgresql = op.get_context().dialect.name == "postgresql"
    op.create_table(
        "moved",
        sa.Column("id", postgresql.UUID() if on_postgresql else sa.LargeBinary(), primary_key=True),
        sa.Column("time_ns", sa.BigInteger, nullable=False),
        sa.Column("entity", sa.LargeBinary),
        sa.Column("author", sa.Integer, nullable=False),
        sa.Column("archive", sa.Integer, nullable=False),
        sqlite_with_rowid=False,
    )
    told = sa.column("entity").is_not(None)
    op.create_index("moved_entity", "moved", ["entity", "time_ns"], sqlite_where=told, postgresql_where=told)
    op.create_table(
        "leftovers",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("at_ns", sa.BigInteger, nullable=False),
    )


def make_times() -> None:
    """Ids of version 7 tell the time of their decision; all others are found by it here."""
    if op.get_context().dialect.name == "postgresql":
        other = sa.text("get_byte(uuid_send(id), 6) / 16 <> 7")
    else:
        other = sa.text("substr(id, 7, 1) NOT BETWEEN x'70' AND x'7f'")
    for table in ("decisions", "moved"):
        op.create_index(f"{table}_time", table, ["time_ns", "id"], sqlite_where=other, postgresql_where=other)
