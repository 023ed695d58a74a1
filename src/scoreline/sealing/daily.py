"""How far a reference's own days lie from the whole of it: what drift takes for usual where rows say when they were."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import pyarrow as pa

from scoreline.core.errors import SealRefused
from scoreline.core.link import Floats
from scoreline.evidence.tolerance import logits

LEAST_ROWS: Final = 100  # of a day that counts
LEAST_DAYS: Final = 7
USUAL: Final = 0.99  # of days lie as near as that
Ints = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True, slots=True)
class Days:
    """The positions of each day's rows, of days that have enough; nothing where the reference does not say."""

    rows: tuple[Ints, ...] = ()

    @classmethod
    def of(cls, table: pa.Table, name: str, picked: range) -> Self:
        """By a column of times or dates, in UTC where it has no zone; raises SealRefused."""
        if name not in table.column_names:
            raise SealRefused(f"--time: the reference has no column {name!r}")
        times = _times(table.column(name).take(pa.array(picked)))
        if times is None:
            raise SealRefused(f"--time: column {name!r} does not hold times: timestamps, dates or ISO 8601")
        if times.null_count:
            raise SealRefused(f"--time: column {name!r} has rows without a time")
        days = times.to_numpy().astype("datetime64[D]").astype(np.int64)
        order = np.argsort(days, kind="stable")
        _, first = np.unique(days[order], return_index=True)
        found = tuple(day for day in np.split(order, first[1:]) if len(day) >= LEAST_ROWS)
        if len(found) < LEAST_DAYS:
            raise SealRefused(
                f"--time: {len(found)} days of the reference have {LEAST_ROWS} rows; {LEAST_DAYS} are needed"
            )
        return cls(found)

    def away(self, of: Callable[[Floats], Floats], column: Floats) -> list[float]:
        """How far what `of` makes of a day's part of a column lies from what it makes of all, on 99 % of the days."""
        whole = of(column)
        found: list[float] = np.quantile([np.abs(of(column[day]) - whole) for day in self.rows], USUAL, axis=0).tolist()
        return found


def logit_of(hits: Any, n_rows: int) -> Floats:
    """The logit of hits among rows, of each a half more: a day without any is not infinitely far."""
    return logits((np.asarray(hits, dtype=np.float64) + 0.5) / (n_rows + 1))


def _times(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """In microseconds since 1970; texts with a zone are read as such. None where it holds something else."""
    for kind in (pa.timestamp("us"), pa.timestamp("us", "UTC")):
        with suppress(pa.ArrowException):
            return column.cast(kind, safe=False)
    return None
