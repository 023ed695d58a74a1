"""Sums of a rollout's counts by step and writer, instead of a row for each piece that was shipped.

No version that was released writes `windows`: what is in it goes into the sums, and it goes.
"""

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0004"
down_revision: Final = "0003"

NUMBERS: Final = ("k_c", "k_b", "late_c", "late_b", "new_c", "new_b", "step_c", "deaths_c", "deaths_b")


def upgrade() -> None:
    op.create_table(
        "counts",
        sa.Column("model", sa.String(100), primary_key=True),
        sa.Column("rollout", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("step", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("kind", sa.String(16), primary_key=True),
        sa.Column("writer", sa.String(24), primary_key=True),
        sa.Column("share", sa.Double, nullable=False),
        sa.Column("canary_ns", sa.BigInteger, nullable=False),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in NUMBERS),
    )
    sums = ", ".join("0" if name == "new_b" else f"SUM({name})" for name in NUMBERS)
    op.execute(
        f"INSERT INTO counts (model, rollout, step, kind, writer, share, canary_ns, {', '.join(NUMBERS)}) "
        f"SELECT model, rollout, epoch, kind, '', share, MAX(CASE WHEN n_c > 0 THEN at_ns ELSE 0 END), {sums} "
        "FROM windows GROUP BY model, rollout, epoch, kind, share"
    )
    op.drop_table("windows")
    op.execute("UPDATE schema_compatible SET since = 4")  # one of before would count where nobody looks
