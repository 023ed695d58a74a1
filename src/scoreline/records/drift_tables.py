"""The tables of drift in the decision database, as this version reads and writes them; `tables` has the others."""

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, String, Table, Text

from scoreline.records.tables import METADATA

# What shipped pieces say of a bundle's reference: counts that add up. `basis` names reference and tolerances. A row
# goes in the transaction that makes evidence of it.
INBOX: Final = Table(
    "drift_inbox",
    METADATA,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("model", String(100), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("basis", String(64), nullable=False),
    Column("at_ns", BigInteger, nullable=False),
    Column("counts", LargeBinary, nullable=False),
)
Index("drift_inbox_model", INBOX.c.model, INBOX.c.digest)
# The evidence about each version since `began_ns`, after so many ticks, the last of them at `ticked_ns`. While an
# incident is open: how many alarms it had, and how long traffic has been quiet since the last.
STATES: Final = Table(
    "drift_states",
    METADATA,
    Column("model", String(100), primary_key=True),
    Column("digest", String(64), primary_key=True),
    Column("basis", String(64), nullable=False),
    Column("ticks", BigInteger, nullable=False),
    Column("began_ns", BigInteger, nullable=False),
    Column("ticked_ns", BigInteger, nullable=False),
    Column("quiet_ns", BigInteger, nullable=False),
    Column("alarms", BigInteger, nullable=False),
    Column("state", LargeBinary, nullable=False),
)
# What was counted in each hour since 1970, for people, whatever the tolerances; `format` says what counts mean.
HOURS: Final = Table(
    "drift_hours",
    METADATA,
    Column("model", String(100), primary_key=True),
    Column("digest", String(64), primary_key=True),
    Column("hour", BigInteger, primary_key=True, autoincrement=False),
    Column("format", Integer, primary_key=True, autoincrement=False),
    Column("counts", LargeBinary, nullable=False),
)
# Only ever added to: the beginning and the end of each incident, numbered without a gap, with its evidence in JSON.
INCIDENTS: Final = Table(
    "drift_incidents",
    METADATA,
    Column("model", String(100), primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("at_ns", BigInteger, nullable=False),
    Column("action", String(16), nullable=False),
    Column("version", Text, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("why", Text, nullable=False),
    Column("evidence", Text, nullable=False),
)
# Up to which entry of the incidents somebody was notified.
NOTIFIED_OF_DRIFT: Final = Table(
    "drift_notified",
    METADATA,
    Column("model", String(100), primary_key=True),
    Column("seq", BigInteger, nullable=False),
)
