"""The tables of rollouts in the decision database, as this version reads and writes them; `tables` has the others."""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    String,
    Table,
    Text,
)

from scoreline.records.tables import METADATA, Id

# Only ever added to: every action on a model, numbered without a gap. `stage` is what it left the model in, `evidence`
# what it was based on, both JSON.
LEDGER: Final = Table(
    "ledger",
    METADATA,
    Column("model", String(100), primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("at_ns", BigInteger, nullable=False),
    Column("action", Text, nullable=False),
    Column("who", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("stage", Text, nullable=False),
    Column("evidence", Text, nullable=False),
)
# Up to which entry of the ledger somebody was notified.
NOTIFIED: Final = Table(
    "notified",
    METADATA,
    Column("model", String(100), primary_key=True),
    Column("seq", BigInteger, nullable=False),
)
# What a shipped piece of a segment says of a rollout, final with the transaction that ships it: units exposed (n) and
# with their first event of a kind (k), of the canary (c) and the baseline (b). Sticky units stay in their arm
# (entities), others are requests; `share` is what arms were drawn with. `late`: of k, those first seen in an earlier
# window; `new_c` and `step_c`: the canary's units seen for the first time in the rollout, and in the step.
WINDOWS: Final = Table(
    "windows",
    METADATA,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("model", String(100), nullable=False),
    Column("rollout", BigInteger, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("share", Double, nullable=False),
    Column("sticky", Boolean, nullable=False),
    Column("at_ns", BigInteger, nullable=False),
    Column("n_c", BigInteger, nullable=False),
    Column("n_b", BigInteger, nullable=False),
    Column("k_c", BigInteger, nullable=False),
    Column("k_b", BigInteger, nullable=False),
    Column("late_c", BigInteger, nullable=False),
    Column("late_b", BigInteger, nullable=False),
    Column("new_c", BigInteger, nullable=False),
    Column("step_c", BigInteger, nullable=False),
    Column("deaths_c", BigInteger, nullable=False),
    Column("deaths_b", BigInteger, nullable=False),
)
Index("windows_rollout", WINDOWS.c.model, WINDOWS.c.rollout, WINDOWS.c.id)
# Entities that had their first event of a kind in a rollout, over all hosts. Of kind `seen` they were seen in it, of a
# kind that is an epoch the canary answered them in that step.
UNITS: Final = Table(
    "units",
    METADATA,
    Column("model", String(100), primary_key=True),
    Column("rollout", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", String(16), primary_key=True),
    Column("unit", LargeBinary, primary_key=True),
)
# What a challenger (an author in that role) made of a recorded decision.
SHADOW_SCORES: Final = Table(
    "shadow_scores",
    METADATA,
    Column("author", Integer, primary_key=True, autoincrement=False),
    Column("id", Id, primary_key=True),
    Column("scores", LargeBinary, nullable=False),
    Column("outcome", SmallInteger),
    sqlite_with_rowid=False,
)
# Up to where a challenger has scored a segment, how many decisions of it, and how many it has no score for.
SHADOW_OFFSETS: Final = Table(
    "shadow_offsets",
    METADATA,
    Column("writer", String(24), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("author", Integer, primary_key=True, autoincrement=False),
    Column("offset", BigInteger, nullable=False),
    Column("scored", BigInteger, nullable=False),
    Column("missed", BigInteger, nullable=False),
)
# When a challenger ended the process that scores it (`crashed`, `hung`) or its engine failed (`raised`), and where in
# the spool that was.
SHADOW_FAULTS: Final = Table(
    "shadow_faults",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("author", Integer, nullable=False),
    Column("at_ns", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("place", Text, nullable=False),
)
