"""Rollouts: the ledger, what is counted of a canary's and a champion's requests, and what challengers make of them."""

from typing import Final

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: Final = "0003"
down_revision: Final = "0002"


def upgrade() -> None:
    make_ledger()
    make_counts()
    make_shadow()


def make_ledger() -> None:
    op.create_table(
        "ledger",
        sa.Column("model", sa.String(100), primary_key=True),
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("at_ns", sa.BigInteger, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("why", sa.Text, nullable=False),
        sa.Column("stage", sa.Text, nullable=False),
        sa.Column("evidence", sa.Text, nullable=False),
    )
    op.create_table(
        "notified",
        sa.Column("model", sa.String(100), primary_key=True),
        sa.Column("seq", sa.BigInteger, nullable=False),
    )


def make_counts() -> None:
    numbers = (
        "n_c", "n_b", "k_c", "k_b", "late_c", "late_b", "new_c", "step_c", "deaths_c", "deaths_b",
    )  # fmt: skip
    op.create_table(
        "windows",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("model", sa.String(100), nullable=False),
        sa.Column("rollout", sa.BigInteger, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("share", sa.Double, nullable=False),
        sa.Column("sticky", sa.Boolean, nullable=False),
        sa.Column("at_ns", sa.BigInteger, nullable=False),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in numbers),
    )
    op.create_index("windows_rollout", "windows", ["model", "rollout", "id"])
    op.create_table(
        "units",
        sa.Column("model", sa.String(100), primary_key=True),
        sa.Column("rollout", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("kind", sa.String(16), primary_key=True),
        sa.Column("unit", sa.LargeBinary, primary_key=True),
    )


def make_shadow() -> None:
    on_postgresql = op.get_context().dialect.name == "postgresql"
    op.create_table(
        "shadow_scores",
        sa.Column("author", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("id", postgresql.UUID() if on_postgresql else sa.LargeBinary(), primary_key=True),
        sa.Column("scores", sa.LargeBinary, nullable=False),
        sa.Column("outcome", sa.SmallInteger),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "shadow_offsets",
        sa.Column("writer", sa.String(24), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("author", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("offset", sa.BigInteger, nullable=False),
        sa.Column("scored", sa.BigInteger, nullable=False),
        sa.Column("missed", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "shadow_faults",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("author", sa.Integer, nullable=False),
        sa.Column("at_ns", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("place", sa.Text, nullable=False),
    )
