"""What a batch job says of itself: while it runs, and when it is done."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Phase = Literal["scoring", "writing"]


@dataclass(frozen=True, slots=True)
class BatchReport:
    """A finished job, in rows of the input: `rows` = `scored` + `rejected`; `resumed_rows` of them were done before.

    `outputs` is the target, `rejects` the file of rejected rows or None where there are none, `record` where the
    decisions are, or None; `elapsed_s` is this run.
    """

    rows: int
    scored: int
    rejected: int
    outputs: Path
    rejects: Path | None
    resumed_rows: int
    elapsed_s: float
    record: Path | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is. Rows and bytes are of the input and include what an earlier run did (`*_resumed`).

    `rows_total` is None unless every input is Parquet; bytes of CSV and JSON lines are read a little ahead. In the
    phase `writing` the parts of one file are put together: only `rows_written` moves then, and it ends at the rows
    scored.
    """

    phase: Phase
    rows_done: int
    rows_total: int | None
    rows_resumed: int
    rows_written: int
    bytes_done: int
    bytes_total: int
    bytes_resumed: int
    elapsed_s: float

    @property
    def rows_per_s(self) -> float:
        """Rows scored per second, in this run."""
        return (self.rows_done - self.rows_resumed) / self.elapsed_s if self.elapsed_s > 0 else 0.0

    @property
    def left_s(self) -> float | None:
        """Seconds left at the pace of this run so far, None before there is one."""
        if self.rows_total is not None:
            done, total, resumed = self.rows_done, self.rows_total, self.rows_resumed
        else:
            done, total, resumed = self.bytes_done, self.bytes_total, self.bytes_resumed
        return self.elapsed_s * (total - done) / (done - resumed) if done > resumed else None


class Meter:
    """Counts for `Progress`, and calls whoever wants to see it."""

    def __init__(self, show: Callable[[Progress], None], rows_total: int | None, bytes_total: int) -> None:
        self._show = show
        self._rows_total = rows_total
        self._bytes_total = bytes_total
        self._start_ns = time.perf_counter_ns()
        self._rows_of_file = self._rows_before = self._rows_written = self.rows_resumed = 0
        self._bytes_of_file = self._bytes_before = self._bytes_resumed = 0
        self._is_resuming = False

    @property
    def elapsed_s(self) -> float:
        return (time.perf_counter_ns() - self._start_ns) / 1e9

    def resumed(self, rows: int) -> None:
        """Says that an earlier run did this many rows of the present file."""
        self.rows_resumed += rows
        self._is_resuming = True
        self._rows_of_file = rows
        self._tell("scoring")

    def reached(self, row: int, bytes_read: int) -> None:
        """Says how far the present file is."""
        if self._is_resuming:
            self._is_resuming = False
            self._bytes_resumed += bytes_read
        self._rows_of_file, self._bytes_of_file = row, bytes_read
        self._tell("scoring")

    def wrote(self, rows: int) -> None:
        """Says that this many rows went into an output."""
        self._rows_written += rows
        self._tell("writing")

    def next_file(self, rows: int, size: int) -> None:
        """Says that the present file, of so many rows and bytes, is done."""
        self._rows_before += rows
        self._bytes_before += size
        self._rows_of_file = self._bytes_of_file = 0

    def _tell(self, phase: Phase) -> None:
        self._show(
            Progress(
                phase=phase,
                rows_done=self._rows_before + self._rows_of_file,
                rows_total=self._rows_total,
                rows_resumed=self.rows_resumed,
                rows_written=self._rows_written,
                bytes_done=self._bytes_before + self._bytes_of_file,
                bytes_total=self._bytes_total,
                bytes_resumed=self._bytes_resumed,
                elapsed_s=self.elapsed_s,
            )
        )
