"""Rows of a Parquet file as plain objects; times as datetimes with their zone."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from scoreline.core.errors import SettingError


def rows_of(path: Path, chunk: int) -> Iterator[dict[str, Any]]:
    """Row after row, read `chunk` at a time; raises SettingError where the file is none of Parquet's."""
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(chunk):
                yield from _in_microseconds(batch).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise SettingError(
            f"{path.name} cannot be read as Parquet ({type(error).__name__}); replace the file"
        ) from None


def _in_microseconds(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Python's datetimes hold no nanoseconds."""
    fields = [
        pa.field(found.name, pa.timestamp("us", found.type.tz)) if pa.types.is_timestamp(found.type) else found
        for found in batch.schema
    ]
    return batch.cast(pa.schema(fields), safe=False)
