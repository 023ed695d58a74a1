"""Features as they were known at a time: of everyone, or joined to rows that each say when. What training reads.

Nothing of after a row's own time is in it: that is what a request at that time could have looked up.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from scoreline.columnar import FORMATS, write_csv, write_jsonl, write_parquet
from scoreline.core.errors import FeaturesRefused
from scoreline.core.ports import FeatureRow
from scoreline.operations.featurefiles import FeatureFile

FEATURE_TIME: Final = "feature_time"


@dataclass(slots=True)
class History:
    """The rows of a view by entity, in the order of their times."""

    _rows: dict[str, list[FeatureRow]] = field(default_factory=lambda: defaultdict(list))

    def add(self, rows: Iterable[FeatureRow]) -> None:
        for row in rows:
            self._rows[row.entity].append(row)

    def sort(self) -> None:
        """By time; of several at the same time the one added last counts."""
        for rows in self._rows.values():
            rows.sort(key=lambda row: row.time_ns)

    def at(self, entity: str, time_ns: int, max_age_ns: float) -> FeatureRow | None:
        """The last row of an entity up to a time, unless it is too old by then."""
        rows = self._rows.get(entity, [])
        place = bisect_right(rows, time_ns, key=lambda row: row.time_ns)
        found = rows[place - 1] if place else None
        return found if found is not None and time_ns - found.time_ns <= max_age_ns else None

    def entities(self) -> list[str]:
        return sorted(self._rows)


def history_of(files: Iterable[FeatureFile], time_ns: int) -> Iterator[FeatureRow]:
    """What files would load: the history of a store that keeps only the latest."""
    for file in files:
        for rows in file.chunks(0, time_ns):
            yield from rows


def known_at(history: History, key: str, time_ns: int, max_age_ns: float) -> pa.Table:
    """Everyone's features as of a time: a row for each who has some."""
    found = [history.at(entity, time_ns, max_age_ns) for entity in history.entities()]
    rows = [row for row in found if row is not None]
    return pa.table({key: [row.entity for row in rows], **_columns(rows, ())})


def joined(history: History, asked: FeatureFile, max_age_ns: float) -> pa.Table:
    """The rows of a file, in their order, each with the features of whom it is about as of its time."""
    if not asked.time:
        raise FeaturesRefused("--time: which column says when each row was asked for?")
    given = [row for rows in asked.chunks(0, 0) for row in rows]
    if not given:
        raise FeaturesRefused(f"{asked.path.name} has no rows")
    found = [history.at(row.entity, row.time_ns, max_age_ns) for row in given]
    names = list(given[0].values)
    kept: dict[str, Any] = {
        asked.key: [row.entity for row in given],
        asked.time: _times([row.time_ns for row in given]),
    }
    kept |= {name: [row.values[name] for row in given] for name in names}
    return pa.table({**kept, **_columns(found, kept)})


def write_table(table: pa.Table, target: Path) -> int:
    """Writes a .parquet, .csv or .jsonl file that is not there yet, and gives its rows; raises FeaturesRefused."""
    kind = FORMATS.get(target.suffix.lower())
    if kind is None:
        raise FeaturesRefused(f"{target.name}: its name ends in {', '.join(FORMATS)}")
    if target.exists():
        raise FeaturesRefused(f"{target} exists; nothing is overwritten: move it or choose another")
    temporary = target.with_name(f".{target.name}.part")
    batches = table.to_batches()
    if kind == "parquet":
        rows = write_parquet(table.schema, batches, temporary, _nobody)
    else:
        rows = (
            write_csv(table.schema, batches, temporary, _nobody)
            if kind == "csv"
            else write_jsonl(batches, temporary, _nobody)
        )
    temporary.replace(target)
    return rows


def _columns(rows: list[FeatureRow | None] | list[FeatureRow], taken: Iterable[str]) -> dict[str, pa.Array]:
    """When each row was known, and its features; none where there is none."""
    names = list(dict.fromkeys(name for row in rows if row is not None for name in row.values))
    if twice := sorted({*names, FEATURE_TIME}.intersection(taken)):
        raise FeaturesRefused(f"{twice[0]!r} is a feature and a column of the rows; rename the column")
    times = _times([None if row is None else row.time_ns for row in rows])
    values = {name: [None if row is None else row.values.get(name) for row in rows] for name in names}
    return {FEATURE_TIME: times, **{name: _column(name, column) for name, column in values.items()}}


def _column(name: str, values: list[Any]) -> pa.Array:
    if float in {type(value) for value in values}:
        values = [float(value) if type(value) is int else value for value in values]
    try:
        return pa.array(values)
    except pa.ArrowException:
        raise FeaturesRefused(f"feature {name!r} has values of several types; load it anew with one") from None


def _times(times: list[int] | list[int | None]) -> pa.Array:
    return pa.array(times, pa.timestamp("ns", "UTC"))


def _nobody(_: int) -> None:
    """Tells nobody of progress."""
