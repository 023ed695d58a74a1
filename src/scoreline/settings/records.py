"""`[records]`: how decisions are kept."""

from dataclasses import dataclass
from typing import Final

from scoreline.core.errors import SettingError
from scoreline.settings.option import option

ON_FULL: Final = ("refuse", "answer")
FSYNC: Final = ("never", "second", "always")


@dataclass(frozen=True, slots=True)
class Records:
    segment_bytes: int = option(64 * 1024 * 1024, "A spool file is closed and a new one begun at this size.")
    database: str = option(
        "",
        "URL of the decision database, as postgresql+psycopg://USER:PASSWORD@HOST/NAME; else SQLite in `state_dir`.",
        secret=True,
    )
    retention_days: int = option(0, "Decisions older than this are removed, unless a legal hold covers them; 0: never.")
    archive: str = option(
        "", "Folder, or URI as s3://BUCKET/PLACE, where decisions go as Parquet after `archive_days`."
    )
    archive_days: int = option(90, "Days that decisions stay in the database, where `archive` is set.")
    max_bytes: int = option(8 * 1024**3, "Most bytes of the spool, looked at once a second; 0: what the disk holds.")
    on_full: str = option("refuse", "While nothing can be recorded: `refuse` (503), or `answer` and count.")
    entity_key: str = option("", "Secret that entities are hashed with; hosts of one database share it.", secret=True)
    audit_key: str = option(
        "", "Private EC key (PEM) that checkpoints are signed with; else one is made in `state_dir`."
    )
    segment_s: int = option(
        3600, "A spool file is closed after this time, whatever its size; what is in it can go then."
    )
    fsync: str = option("never", "When the spool is put on the disk: `never` by us, each `second`, `always` first.")

    def __post_init__(self) -> None:
        if not 1 << 12 <= self.segment_bytes <= 1 << 32:
            raise SettingError("records.segment_bytes: between 4 KiB and 4 GiB")
        if self.segment_s < 1:
            raise SettingError("records.segment_s: at least 1")
        if self.max_bytes and self.max_bytes < 2 * self.segment_bytes:
            raise SettingError("records.max_bytes: 0, or at least twice records.segment_bytes")
        if self.retention_days < 0:
            raise SettingError("records.retention_days: at least 0")
        if self.archive_days < 1:
            raise SettingError("records.archive_days: at least 1")
        if self.entity_key and len(self.entity_key) < 32:
            raise SettingError("records.entity_key: at least 32 characters; `openssl rand -hex 32` makes one")
        for name, known in (("on_full", ON_FULL), ("fsync", FSYNC)):
            if getattr(self, name) not in known:
                raise SettingError(f"records.{name}: one of {', '.join(known)}")
