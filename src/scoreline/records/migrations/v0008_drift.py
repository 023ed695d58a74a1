"""Drift: what was counted and is not evidence yet, evidence, what was counted by the hour, and incidents."""

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0008"
down_revision: Final = "0007"


def upgrade() -> None:
    make_counts()
    make_incidents()


def make_counts() -> None:
    op.create_table(
        "drift_inbox",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("model", sa.String(100), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("basis", sa.String(64), nullable=False),
        sa.Column("at_ns", sa.BigInteger, nullable=False),
        sa.Column("counts", sa.LargeBinary, nullable=False),
    )
    op.create_index("drift_inbox_model", "drift_inbox", ["model", "digest"])
    op.create_table(
        "drift_states",
        sa.Column("model", sa.String(100), primary_key=True),
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("basis", sa.String(64), nullable=False),
        sa.Column("ticks", sa.BigInteger, nullable=False),
        sa.Column("began_ns", sa.BigInteger, nullable=False),
        sa.Column("ticked_ns", sa.BigInteger, nullable=False),
        sa.Column("quiet_ns", sa.BigInteger, nullable=False),
        sa.Column("alarms", sa.BigInteger, nullable=False),
        sa.Column("state", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "drift_hours",
        sa.Column("model", sa.String(100), primary_key=True),
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("hour", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("format", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("counts", sa.LargeBinary, nullable=False),
    )


def make_incidents() -> None:
    op.create_table(
        "drift_incidents",
        sa.Column("model", sa.String(100), primary_key=True),
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("at_ns", sa.BigInteger, nullable=False),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("why", sa.Text, nullable=False),
        sa.Column("evidence", sa.Text, nullable=False),
    )
    op.create_table(
        "drift_notified",
        sa.Column("model", sa.String(100), primary_key=True),
        sa.Column("seq", sa.BigInteger, nullable=False),
    )
