"""The canary alone: units when they are first seen, in both arms; and a model's own newest decisions."""

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0004"
down_revision: Final = "0003"


def upgrade() -> None:
    op.add_column("windows", sa.Column("new_b", sa.BigInteger))
    op.add_column("windows", sa.Column("sight_c", sa.BigInteger))
    op.create_index(
        "decisions_author",
        "decisions",
        ["author", "id"],
        sqlite_where=sa.text("NOT (substr(id, 7, 1) NOT BETWEEN x'70' AND x'7f')"),
        postgresql_where=sa.text("NOT (get_byte(uuid_send(id), 6) / 16 <> 7)"),
    )
