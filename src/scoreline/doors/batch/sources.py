"""Input files, of any format, as a stream of chunks already judged by the schema."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import compress
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from scoreline.core.batch import NO_DEFAULTS
from scoreline.core.entities import entity_of
from scoreline.core.errors import BatchRefused, Problem
from scoreline.core.link import Floats
from scoreline.core.schema import Schema
from scoreline.doors.batch.columns import Cell, Numbers, read_columns
from scoreline.doors.batch.inputs import InputFile

Positions = npt.NDArray[np.int64]
Defaulted = Mapping[int, tuple[int, ...]]

# The kept fields of JSON lines have no types until the last line is read: parts hold them as one JSON object per row.
KEPT_OBJECT: Final = "\x00kept"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a job wants of its inputs: the fields, the columns to keep (None: all that are not fields), and the names
    its own output columns take. `entity` is the column of whom features are looked up for; empty: for nobody."""

    schema: Schema
    keep: tuple[str, ...] | None
    taken: tuple[str, ...]
    entity: str = ""

    def columns(self, names: Collection[str], fields: Collection[str], kept: Collection[str]) -> list[str]:
        """What is read of a file with columns of these names: fields, what is kept, and the entity's."""
        return list({*fields, *kept, *({self.entity}.intersection(names))})


@dataclass(frozen=True, slots=True)
class Judged:
    """Rows of an input file that can be scored, as far as is known, and the problems of those that cannot.

    `positions` int64 (n,) in the file, `values` float64 (n, n_fields), `defaulted` and the `kept` columns hold exactly
    the rows that passed; the `row` of a problem is its position in the file. `entities`: whom features are looked up
    for, empty where a row does not say.
    """

    positions: Positions
    values: Floats
    defaulted: Defaulted
    kept: Sequence[pa.Array]
    problems: Sequence[Problem]
    entities: Sequence[str] = ()

    def without(self, problems: Sequence[Problem]) -> "Judged":
        """The rows but those with these problems, whose `row` is their place here."""
        stays = np.ones(len(self.positions), dtype=bool)
        stays[[problem.row for problem in problems]] = False
        places = enumerate(np.flatnonzero(stays).tolist())
        return Judged(
            self.positions[stays],
            self.values[stays],
            {new: self.defaulted[old] for new, old in places if old in self.defaulted},
            [column.filter(pa.array(stays)) for column in self.kept],
            [*self.problems, *(replace(problem, row=int(self.positions[problem.row])) for problem in problems)],
            list(compress(self.entities, stays)),
        )


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive rows of an input file, up to the position `last`, read from its first `bytes_read` bytes or so."""

    last: int
    bytes_read: int
    rows: Judged


@dataclass(frozen=True, slots=True)
class Source:
    """An input file found fit for the job: its rows where known, the columns it keeps, and a way to read it.

    `chunks(first, rows_per_chunk)` reads from row `first` on; it raises BatchRefused where the file breaks off.
    """

    rows: int | None
    kept: pa.Schema
    chunks: Callable[[int, int], Iterator[Chunk]]


@contextmanager
def readable(file: InputFile) -> Iterator[None]:
    """Turns what Arrow and the system say of a broken file into BatchRefused, without the rows they quote."""
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise BatchRefused(f"{file.name} cannot be read as {file.format} ({reason}); replace the file") from None


def settle_columns(file: InputFile, names: Sequence[str], wanted: Wanted) -> tuple[list[str], list[str]]:
    """The columns that are fields and those to keep; raises BatchRefused where some are missing, twice, or clash."""
    present = Counter(names)
    fields = [field.name for field in wanted.schema.fields if field.name in present]
    missing = [field.name for field in wanted.schema.fields if field.name not in present and field.default is None]
    if missing:
        raise BatchRefused(f"{file.name} lacks {_columns(missing)}; the model needs them and has no default for them")
    kept = [name for name in present if name not in wanted.schema.index] if wanted.keep is None else list(wanted.keep)
    if unknown := [name for name in kept if name not in present]:
        raise BatchRefused(f"{file.name} has no {_columns(unknown)} to keep")
    if twice := [name for name in {*fields, *kept} if present[name] > 1]:
        raise BatchRefused(f"{file.name} has {_columns(sorted(twice))} more than once")
    check_clash(file, kept, wanted)
    return fields, kept


def check_clash(file: InputFile, kept: Collection[str], wanted: Wanted) -> None:
    """Raises BatchRefused where a column to keep has the name of an output column."""
    if clashing := [name for name in wanted.taken if name in kept]:
        raise BatchRefused(
            f"{file.name}: {_columns(clashing)} would stand twice in the output; name the columns to keep, or rename"
        )


def without_source(schema: Schema) -> Schema:
    """The schema of a file, in which fields of the feature store are columns like any other; defaults stay."""
    return Schema(tuple(field.unstored() for field in schema.fields))


def judge_columns(
    wanted: Wanted, table: pa.RecordBatch, kept: Sequence[str], positions: Positions, reader: tuple[Numbers, Cell]
) -> Judged:
    """The rows of a table as its columns are read by `reader`; `positions` int64 (n,) are theirs in the file."""
    columns = {name: table.column(name) for name in table.schema.names if name in wanted.schema.index}
    values, accepted, wrong = read_columns(wanted.schema, columns, len(positions), *reader)
    kept_rows = [table.column(name) for name in kept]
    entities = entities_of(table.column(wanted.entity)) if wanted.entity in table.schema.names else []
    problems = [Problem(int(positions[problem.row]), problem.field, problem.problem) for problem in wrong]
    if accepted is not None:
        values, positions, mask = values[accepted], positions[accepted], pa.array(accepted)
        kept_rows = [column.filter(mask) for column in kept_rows]
        entities = list(compress(entities, accepted))
    absent = tuple(place for place, name in enumerate(wanted.schema.names) if name not in columns)
    return Judged(positions, values, _all_rows(len(positions), absent), kept_rows, problems, entities)


def entities_of(column: pa.Array) -> list[str]:
    """Whom each row is about; empty where it does not say, or not as one says it."""
    return [entity_of(value) or "" for value in column.to_pylist()]


@lru_cache(maxsize=2)
def _all_rows(n_rows: int, absent: tuple[int, ...]) -> Defaulted:
    return dict.fromkeys(range(n_rows), absent) if absent else NO_DEFAULTS


def _columns(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:20]) + (" and more" if len(names) > 20 else "")
    return f"{'column' if len(names) == 1 else 'columns'} {shown}"
