"""Exporting decisions with their labels as a training set: a file that is there whole or not at all.

Order:
  1. the file is written under a hidden name beside its own;
  2. its bytes are on the disk, and hashed;
  3. it is entered in the list of exports, durably;
  4. only then it gets its name, never over another file.
A death before 4 leaves no file of that name; after 3 the list names one that nobody has.
"""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from scoreline.columnar import FORMATS, write_csv, write_jsonl, write_parquet
from scoreline.core.errors import SettingError
from scoreline.operations.decisions import Query, Seen, told
from scoreline.operations.files import sync
from scoreline.operations.training import TrainingSet
from scoreline.records.database import Database
from scoreline.records.exports import Export, enter_export
from scoreline.records.outcomes import has_texts

PAGE_ROWS: Final = 5000
KIND: Final = "decisions"


@dataclass(frozen=True, slots=True)
class Exported:
    """What was exported: how many rows, which sensitive fields were left out, versions whose bundle is not here."""

    rows: int
    left_out: tuple[str, ...]
    unknown: tuple[str, ...]


@dataclass(slots=True)
class _Span:
    """The first and the last time that went by."""

    first_ns: int | None = None
    last_ns: int | None = None

    def of(self, page: list[Seen]) -> None:
        times = [seen.row.time_ns for seen in page]
        self.first_ns = min([*times, *([] if self.first_ns is None else [self.first_ns])])
        self.last_ns = max([*times, *([] if self.last_ns is None else [self.last_ns])])


def export_decisions(database: Database, query: Query, target: Path, who: str, *, sensitive: bool = False) -> Exported:
    """Writes all that a query finds to a .parquet, .csv or .jsonl file; raises SettingError, DatabaseDown, OSError."""
    kind = FORMATS.get(target.suffix.lower())
    if kind is None:
        raise SettingError(f"--out: the name must end in {', '.join(FORMATS)}")
    _check_free(target)
    made = _training_set(database, query, sensitive=sensitive)
    span, hidden = _Span(), target.with_name(f".{target.name}.{os.urandom(4).hex()}.part")
    batches = (made.batch(page) for page in _pages(query, span))
    try:
        if kind == "parquet":
            rows = write_parquet(made.schema, batches, hidden, _tell_nobody)
        elif kind == "csv":
            rows = write_csv(made.schema, batches, hidden, _tell_nobody)
        else:
            rows = write_jsonl(batches, hidden, _tell_nobody)
        sync(hidden)
        filter_ = told(query.wanted, query.labels) | ({"sensitive": True} if sensitive else {})
        facts = (KIND, target.name, _digest(hidden), filter_, rows, span.first_ns, span.last_ns, who, query.now_ns)
        enter_export(database, Export(*facts))
        _place(hidden, target)
    finally:
        hidden.unlink(missing_ok=True)
    return Exported(rows, made.left_out, made.unknown)


def _training_set(database: Database, query: Query, *, sensitive: bool) -> TrainingSet:
    authors = query.places.authors(query.wanted)
    models = sorted({author.model for author in authors})
    if len(models) > 1:
        raise SettingError(f"a training set is of one model: choose with --model one of {', '.join(models)}")
    with database.reading() as connection:
        text_labels = has_texts(connection, models[0]) if models else False
    return TrainingSet(authors, query.manifests, sensitive=sensitive, text_labels=text_labels)


def _pages(query: Query, span: _Span) -> Iterator[list[Seen]]:
    found = query.run()
    while page := list(islice(found, PAGE_ROWS)):
        span.of(page)
        yield page


def _check_free(target: Path) -> None:
    if os.path.lexists(target):
        raise SettingError(f"--out: {target.name} exists; nothing is overwritten: move it or choose another name")


def _place(hidden: Path, target: Path) -> None:
    try:
        os.link(hidden, target)
    except OSError:
        _check_free(target)
        hidden.rename(target)  # a file system without hard links
    sync(target.absolute().parent)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _tell_nobody(_: int) -> None:
    """Nobody waits to be told."""
