"""How far each spool is in the database, and what came late; authors by model."""

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0007"
down_revision: Final = "0006"
# An author's JSON is canonical, and a model's name has nothing in it that JSON would write otherwise.
_MODEL: Final = {
    "sqlite": "json_extract(json, '$.model')",
    "postgresql": """substring(json from '"model":"([^"]*)"')""",
}


def upgrade() -> None:
    kind = op.get_context().dialect.name
    op.create_table(
        "spools",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("through_ns", sa.BigInteger, nullable=False),
        sa.Column("heard_ns", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "late",
        sa.Column("spool", sa.Text, primary_key=True),
        sa.Column("passed_ns", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("model", sa.String(100), primary_key=True),
        sa.Column("rows", sa.BigInteger, nullable=False),
        sa.Column("from_ns", sa.BigInteger, nullable=False),
    )
    op.add_column("authors", sa.Column("model", sa.Text))
    op.execute(f"UPDATE authors SET model = {_MODEL[kind]}")
    op.create_index("authors_model", "authors", ["model"])
