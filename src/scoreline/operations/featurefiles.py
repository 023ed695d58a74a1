"""A file of features as rows of a view: a column says whom a row is about, another may say since when it holds."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from scoreline.core.entities import ENTITY_PROBLEM, entity_of
from scoreline.core.errors import FeaturesRefused, NotFound
from scoreline.core.ports import FeatureRow

CHUNK_ROWS: Final = 20_000
SUFFIXES: Final = (".parquet", ".csv")


@dataclass(frozen=True, slots=True)
class FeatureFile:
    """A .parquet or .csv file: `key` is the column of whom a row is about, `time` that of its event time (empty: none).

    A time is a timestamp, without a zone in UTC, or a number of seconds since 1970. All other columns are features.
    """

    path: Path
    key: str
    time: str = ""

    def chunks(self, first: int, time_ns: int) -> Iterator[list[FeatureRow]]:
        """Rows from `first` on, those without a time of their own at `time_ns`; raises NotFound or FeaturesRefused."""
        position = 0
        with self._readable():
            for batch in self._batches():
                last = position + batch.num_rows
                if last > first:
                    start = max(first, position)
                    yield self._rows(batch.slice(start - position), start, time_ns)
                position = last

    def rows_total(self) -> int | None:
        """How many rows it has, where that is known beforehand."""
        if self.path.suffix == ".csv":
            return None
        with self._readable(), pq.ParquetFile(self.path) as file:
            return int(file.metadata.num_rows)

    def _batches(self) -> Iterator[pa.RecordBatch]:
        if self.path.suffix == ".parquet":
            with pq.ParquetFile(self.path) as file:
                self._check(file.schema_arrow.names)
                yield from file.iter_batches(CHUNK_ROWS, use_threads=False)
            return
        as_text = pa.csv.ConvertOptions(column_types={self.key: pa.string()}, strings_can_be_null=True)
        with pa.csv.open_csv(self.path, convert_options=as_text) as reader:
            self._check(reader.schema.names)
            for batch in reader:
                for start in range(0, batch.num_rows, CHUNK_ROWS):
                    yield batch.slice(start, CHUNK_ROWS)

    def _check(self, names: Sequence[str]) -> None:
        missing = [name for name in (self.key, self.time) if name and name not in names]
        if missing:
            raise FeaturesRefused(f"{self.path.name} has no column {missing[0]!r}; it has {', '.join(names[:20])}")
        if len(set(names)) < len(names) or len(names) <= 1 + bool(self.time):
            raise FeaturesRefused(
                f"{self.path.name}: a column stands twice, or there is no feature beside key and time"
            )

    def _rows(self, batch: pa.RecordBatch, first: int, time_ns: int) -> list[FeatureRow]:
        names = [name for name in batch.schema.names if name not in (self.key, self.time)]
        entities = [entity_of(value) for value in batch.column(self.key).to_pylist()]
        times = self._times(batch, first, time_ns)
        columns = [self._values(name, batch.column(name)) for name in names]
        for row, entity in enumerate(entities, first):
            if not entity:
                raise FeaturesRefused(f"{self.path.name}, row {row}: {self.key!r} {ENTITY_PROBLEM}")
        told = zip(entities, times, zip(*columns, strict=True), strict=True)
        return [FeatureRow(str(entity), time, dict(zip(names, values, strict=True))) for entity, time, values in told]

    def _times(self, batch: pa.RecordBatch, first: int, time_ns: int) -> Sequence[int]:
        if not self.time:
            return [time_ns] * batch.num_rows
        column = batch.column(self.time)
        kind = column.type
        if column.null_count:
            row = first + column.is_null().to_pylist().index(True)
            raise FeaturesRefused(f"{self.path.name}, row {row}: {self.time!r} is missing")
        if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
            return column.cast(pa.timestamp("ns", getattr(kind, "tz", None))).cast(pa.int64()).to_pylist()  # type: ignore[no-any-return]
        if pa.types.is_integer(kind) or pa.types.is_floating(kind):
            return [round(seconds * 1e6) * 1000 for seconds in column.to_pylist()]
        raise FeaturesRefused(f"{self.path.name}: {self.time!r} holds {kind}, and no time; write 2026-11-24T10:00:00Z")

    def _values(self, name: str, column: pa.Array) -> list[Any]:
        kind = column.type
        if pa.types.is_dictionary(kind):
            return self._values(name, column.dictionary_decode())
        if pa.types.is_decimal(kind):
            column = column.cast(pa.float64())
        if pa.types.is_floating(column.type):
            column = pc.if_else(pc.is_finite(column), column, None)
        plain = pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind)
        text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
        if not (plain or text or pa.types.is_floating(column.type)):
            raise FeaturesRefused(
                f"{self.path.name}: {name!r} holds {kind}; a feature is a number, a boolean or a text"
            )
        return column.to_pylist()  # type: ignore[no-any-return]

    @contextmanager
    def _readable(self) -> Iterator[None]:
        """Says of a broken file that it is, without the rows that Arrow quotes."""
        if self.path.suffix not in SUFFIXES:
            raise FeaturesRefused(f"{self.path.name}: features are read from {' and '.join(SUFFIXES)} files")
        try:
            yield
        except FileNotFoundError:
            raise NotFound(f"no file at {self.path}") from None
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            raise FeaturesRefused(f"{self.path.name} cannot be read ({reason}); a column keeps one type") from None
