"""The canary alone: events of units when they are first seen in a step; and an index of each author's decisions.

What was counted at a share of 1 before does not tell them: there a step is proven anew.
"""

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0006"
down_revision: Final = "0005"


def upgrade() -> None:
    op.add_column("counts", sa.Column("sight_c", sa.BigInteger, nullable=False, server_default="0"))
    op.execute("UPDATE counts SET step_c = 0 WHERE share >= 1")
    op.create_index(
        "decisions_author",
        "decisions",
        ["author", "id"],
        sqlite_where=sa.text("NOT (substr(id, 7, 1) NOT BETWEEN x'70' AND x'7f')"),
        postgresql_where=sa.text("NOT (get_byte(uuid_send(id), 6) / 16 <> 7)"),
    )
    op.execute("UPDATE schema_compatible SET since = 6")  # one of before would count units and none of their events
