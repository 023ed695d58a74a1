"""Reporting outcomes: a list as a caller sends it, or a file of them."""

import csv
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Final

from scoreline.core.entities import entity_hash
from scoreline.core.errors import MAX_PROBLEMS, NotFound, Problem, RowsRefused, SettingError
from scoreline.core.names import load
from scoreline.core.outcome import Outcome, read_outcomes
from scoreline.core.strictjson import strict_json
from scoreline.records.database import Database
from scoreline.records.outcomes import add_outcomes, match, models_of

CHUNK: Final = 5000
_NOT_THEIRS: Final = "is of no model of this key, or not known yet: a decision is shipped within seconds"
_NUMBER: Final = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_BOOLEANS: Final = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class Reported:
    """What became of reported outcomes: how many there were, were new, have a decision by now, and have none yet.

    `others` counts the decisions about the same entities before those that outcomes by entity were joined to.
    """

    outcomes: int = 0
    new: int = 0
    matched: int = 0
    unmatched: int = 0
    others: int = 0

    def plus(self, other: "Reported") -> "Reported":
        return Reported(*(mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)))

    @property
    def counts(self) -> tuple[int, ...]:
        return self.outcomes, self.new, self.matched, self.unmatched, self.others


def report_outcomes(
    database: Database,
    rows: Sequence[object],
    entity_key: bytes,
    caller: str,
    now_ns: int,
    models: Collection[str] | None = None,
) -> Reported:
    """Keeps outcomes as decoded from JSON, all or none; raises RowsRefused, DatabaseDown or DatabaseRefused.

    `models` are those that the caller may report of, None: any. An id that is not known yet could be of any model.
    """
    outcomes = [(found, entity_hash(found.entity, entity_key)) for found in read_outcomes(rows)]
    if models is not None:
        _check_models(database, [found for found, _ in outcomes], models)
    kept, new = add_outcomes(database, outcomes, caller, now_ns)
    with database.reading() as connection:
        matches = list(match(connection, kept))
    matched = sum(1 for found in matches if found.prediction)
    return Reported(len(kept), new, matched, len(kept) - matched, sum(found.others for found in matches))


def _check_models(database: Database, outcomes: Sequence[Outcome], models: Collection[str]) -> None:
    with database.reading() as connection:
        known = models_of(connection, sorted({found.prediction for found in outcomes} - {b""}))
    problems = [
        Problem(row, "model" if found.model else "prediction_id", _NOT_THEIRS)
        for row, found in enumerate(outcomes)
        if (found.model or known.get(found.prediction)) not in models
    ]
    if problems:
        raise RowsRefused(problems[:MAX_PROBLEMS], "what an outcome is")


def import_outcomes(
    path: Path, report: Callable[[Sequence[object]], Reported], on_progress: Callable[[Reported], None]
) -> Reported:
    """Reports every row of a .csv, .jsonl or .parquet file, 5,000 at a time; returns the sum.

    What is imported again changes nothing, so a file that is refused midway is mended and imported as a whole. Raises
    NotFound, SettingError, and what `report` raises, rows counted from the first of the file.
    """
    total, all_rows = Reported(), _rows_of(path)
    while rows := list(islice(all_rows, CHUNK)):
        try:
            total = total.plus(report(rows))
        except RowsRefused as refused:
            moved = [replace(problem, row=problem.row + total.outcomes) for problem in refused.problems]
            raise RowsRefused(moved, "what an outcome is") from None
        on_progress(total)
    return total


def _rows_of(path: Path) -> Iterator[object]:
    readers = {".csv": _csv_rows, ".jsonl": _json_rows, ".ndjson": _json_rows, ".parquet": _parquet_rows}
    if path.suffix.lower() not in readers:
        raise SettingError(f"{path.name}: the name must end in {', '.join(readers)}")
    if not path.is_file():
        raise NotFound(f"no file at {path}")
    return readers[path.suffix.lower()](path)


def _json_rows(path: Path) -> Iterator[object]:
    with path.open("rb") as lines:
        for number, line in enumerate(line for line in lines if not line.isspace()):
            try:
                yield strict_json(line)
            except ValueError:
                raise RowsRefused([Problem(number, "", "is not JSON")], "what an outcome is") from None


def _csv_rows(path: Path) -> Iterator[object]:
    with path.open(encoding="utf-8-sig", newline="") as text:
        for row in csv.DictReader(text, strict=True):
            yield {name: _cell(name, cell) for name, cell in row.items() if cell}


def _cell(name: str, text: Any) -> Any:
    """Only a value may be other than a text: a number, true or false."""
    if name != "value" or not isinstance(text, str):
        return text
    if _NUMBER.fullmatch(text):
        return float(text)
    return _BOOLEANS.get(text.lower(), text)


def _parquet_rows(path: Path) -> Iterator[object]:
    rows: Iterable[Mapping[str, Any]] = load("scoreline.operations.parquet:rows_of")(path, CHUNK)
    for row in rows:
        yield {name: cell for name, cell in row.items() if cell is not None}
