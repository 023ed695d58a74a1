"""Files of archived decisions: Parquet in a folder or an object store, each readable without the database."""

import json
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import fs

from scoreline.core.errors import DatabaseRefused, NotFound, SettingError

GROUP_ROWS: Final = 20_000
COMPRESSION: Final = "zstd"
AUTHORS: Final = b"scoreline.authors"
# What was never in the log, as a batch job's decisions, has no segment, and the row of its input as place.
SCHEMA: Final = pa.schema(
    [
        pa.field("id", pa.binary(16), nullable=False),
        pa.field("time_ns", pa.int64(), nullable=False),
        pa.field("entity", pa.binary()),
        *(pa.field(name, pa.string()) for name in ("caller", "request_id", "trace")),
        *(pa.field(name, pa.binary()) for name in ("values", "margins", "scores")),
        pa.field("outcome", pa.int16()),
        *(pa.field(name, pa.binary()) for name in ("defaulted", "degraded")),
        pa.field("model_ns", pa.int64()),
        pa.field("author", pa.int32(), nullable=False),
        pa.field("score", pa.float64()),
        pa.field("segment", pa.int32()),
        pa.field("place", pa.int64(), nullable=False),
        pa.field("salt", pa.binary()),
        pa.field("unsent", pa.bool_(), nullable=False),
        pa.field("leaf", pa.binary()),
    ]
)
NAMES: Final = tuple(SCHEMA.names)


def write_file(place: str, name: str, rows: Iterable[Sequence[Any]], authors: Mapping[int, str]) -> int:
    """Writes rows in the order of NAMES, and under their ids the authors as JSON; returns how many rows.

    The file has its name once it is whole. `place` is a folder, or the URI of a place in an object store.
    """
    system, folder = _open(place)
    system.create_dir(folder, recursive=True)
    part, n_rows, left = f"{folder}/.{name}.part", 0, iter(rows)
    schema = SCHEMA.with_metadata({AUTHORS: json.dumps(authors)})
    with pq.ParquetWriter(part, schema, filesystem=system, compression=COMPRESSION) as writer:
        while group := list(islice(left, GROUP_ROWS)):
            columns = zip(*group, strict=True)
            arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
            n_rows += len(group)
    system.move(part, f"{folder}/{name}")
    return n_rows


def read_whole(path: Path) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """What `read_file` reads of a file that people name; raises NotFound, or SettingError where it has no decisions."""
    if not path.is_file():
        raise NotFound(f"no file at {path}")
    try:
        if AUTHORS not in (pq.read_schema(path).metadata or {}):
            raise SettingError(f"{path.name} holds no decisions: name a file of the archive, or of `batch --record`")
        yield from read_file(str(path.absolute().parent), path.name)
    except (pa.ArrowException, OSError) as error:
        raise SettingError(f"{path.name} cannot be read as Parquet ({type(error).__name__})") from None
    except DatabaseRefused as refused:
        raise SettingError(str(refused)) from None


def read_file(place: str, name: str, id_: bytes | None = None) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Every row, or that with an id, behind its author's JSON; raises DatabaseRefused where it cannot be read."""
    with _opened(place, name) as file:
        authors = {int(known): text for known, text in json.loads(file.schema_arrow.metadata[AUTHORS]).items()}
        by = NAMES.index("author")
        for group in range(file.num_row_groups):
            if id_ is not None and not _may_hold(file.metadata.row_group(group).column(0).statistics, id_):
                continue
            columns = file.read_row_group(group).to_pydict().values()
            yield from ((authors[row[by]], row) for row in zip(*columns, strict=True) if id_ in (None, row[0]))


def read_some(place: str, name: str, ids: Sequence[bytes]) -> Iterator[tuple[Any, ...]]:
    """The rows with these ids, in the order of NAMES; raises as `read_file`."""
    asked = sorted(ids)
    wanted = pa.array(asked, SCHEMA.field("id").type)
    with _opened(place, name) as file:
        for group in range(file.num_row_groups):
            if _may_hold_some(file.metadata.row_group(group).column(0).statistics, asked):
                table = file.read_row_group(group)
                found = table.filter(pc.is_in(table["id"], value_set=wanted))
                yield from zip(*found.to_pydict().values(), strict=True)


def read_about(place: str, name: str, entity: bytes) -> Iterator[tuple[str, bytes, int]]:
    """Author's JSON, id and time of every row about an entity; raises as `read_file`."""
    with _opened(place, name) as file:
        authors = {int(known): text for known, text in json.loads(file.schema_arrow.metadata[AUTHORS]).items()}
        for group in range(file.num_row_groups):
            table = file.read_row_group(group, columns=["id", "time_ns", "entity", "author"])
            found = table.filter(pc.equal(table["entity"], pa.scalar(entity, pa.binary()))).to_pylist()
            yield from ((authors[row["author"]], row["id"], row["time_ns"]) for row in found)


@contextmanager
def _opened(place: str, name: str) -> Iterator[Any]:
    """A file of decisions; raises DatabaseRefused where it is missing or is none, also while it is read."""
    system, folder = _open(place)
    try:
        with pq.ParquetFile(f"{folder}/{name}", filesystem=system) as file:
            if tuple(file.schema_arrow.names) != NAMES or AUTHORS not in (file.schema_arrow.metadata or {}):
                raise DatabaseRefused(f"{name} holds no decisions, or other columns: put it back from a backup")
            yield file
    except FileNotFoundError:
        raise DatabaseRefused(
            f"{name} is missing: put it back from a backup, or try again where an erasure has just written it anew"
        ) from None
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        said = type(error).__name__
        raise DatabaseRefused(f"{name} cannot be read as Parquet ({said}): put it back from a backup") from None


def delete_file(place: str, name: str) -> None:
    """Deletes a file and what was begun of it, where they are there."""
    system, folder = _open(place)
    for path in (f"{folder}/{name}", f"{folder}/.{name}.part"):
        if system.get_file_info(path).type != fs.FileType.NotFound:
            system.delete_file(path)


def _open(place: str) -> tuple[Any, str]:
    system, folder = fs.FileSystem.from_uri(place if "://" in place else str(Path(place).absolute()))
    return system, folder


def _may_hold(statistics: Any, id_: bytes) -> bool:
    return statistics is None or not statistics.has_min_max or statistics.min <= id_ <= statistics.max


def _may_hold_some(statistics: Any, ids: Sequence[bytes]) -> bool:
    if statistics is None or not statistics.has_min_max:
        return True
    following = bisect_left(ids, statistics.min)
    return following < len(ids) and ids[following] <= statistics.max
