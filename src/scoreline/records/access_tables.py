"""The tables of access in the decision database, as this version reads and writes them; `tables` has the others."""

from typing import Final

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, String, Table, Text

from scoreline.records.tables import METADATA

# Keys of callers, only ever added to: a revoked one stays. `digest` is the key's SHA-256, `scopes` and `models` are
# JSON arrays of names; no `models` is every one. `used_ns` is when it was last used, to the minute.
API_KEYS: Final = Table(
    "api_keys",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("models", Text),
    Column("priority", String(16), nullable=False),
    Column("expires_ns", BigInteger),
    Column("created_by", Text, nullable=False),
    Column("created_ns", BigInteger, nullable=False),
    Column("revoked_by", Text),
    Column("revoked_ns", BigInteger),
    Column("used_ns", BigInteger),
)
# What admins did that no other table tells, only ever added to: who, from which address (none: on the command line),
# what, and about what, as JSON.
ACTIONS: Final = Table(
    "actions",
    METADATA,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("at_ns", BigInteger, nullable=False),
    Column("who", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("facts", Text, nullable=False),
)
