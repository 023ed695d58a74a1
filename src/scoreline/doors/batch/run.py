"""A batch job from beginning to end.

Delivery order:
  1. the inputs are found, and every one is checked to have the columns the job needs: a job that cannot end well does
     not begin;
  2. the hidden folder beside the target is locked, and found to be of this very job or made anew;
  3. every input is scored in parts; each part, with its rejects, is on disk before the next one begins;
  4. the parts of an input become its output, which is on disk before they are removed;
  5. the rejects get their place beside the target, then the decisions theirs, where they are kept, then the outputs
     theirs, then the hidden folder is removed.

Whatever ends a run before 5, the same call goes on where it stopped.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from scoreline.columnar import Format
from scoreline.core import ids
from scoreline.core.errors import BatchRefused
from scoreline.core.manifest import Manifest
from scoreline.core.ports import Score
from scoreline.doors.batch.answers import answer_columns
from scoreline.doors.batch.inputs import InputFile, find_inputs, format_of
from scoreline.doors.batch.outputs import check_writable, write_output
from scoreline.doors.batch.partial import (
    concatenate,
    partial_folder,
    put,
    put_anywhere,
    read_json,
    remove,
    working_in,
    write_json,
)
from scoreline.doors.batch.parts import Job, score_parts
from scoreline.doors.batch.read_csv import open_csv
from scoreline.doors.batch.read_jsonl import open_jsonl
from scoreline.doors.batch.read_parquet import open_parquet
from scoreline.doors.batch.record import join_records
from scoreline.doors.batch.report import BatchReport, Meter, Progress
from scoreline.doors.batch.sources import Source, Wanted, without_source
from scoreline.features.ladder import Lookup
from scoreline.operations.files import whole

# Of the files in the hidden folder: a run does not go on with those of another form.
PARTS_FORMAT: Final = 1
OUTPUTS: Final = "outputs"
RECORDS: Final = "records"
PARQUET: Final = ".parquet"
_OPENERS: Final[Mapping[Format, Callable[[InputFile, Wanted], Source]]] = {
    "parquet": open_parquet,
    "csv": open_csv,
    "jsonl": open_jsonl,
}


@dataclass(frozen=True, slots=True)
class Work:
    """One input of a job: its place among them, what it is, how it is read, and the format of its output."""

    number: int
    file: InputFile
    source: Source
    kind: Format
    output: str

    @property
    def record(self) -> str:
        """The name of the file of its decisions, below their folder."""
        return self.output if self.output.endswith(PARQUET) else self.output + PARQUET


def tell_nobody(_: Progress) -> None:
    """Shows progress to nobody."""


def run_batch(
    score: Score,
    manifest: Manifest,
    source: Path,
    target: Path,
    *,
    rows_per_chunk: int = 65_536,
    rows_per_part: int = 1_048_576,
    keep: Sequence[str] | None = None,
    record: Path | None = None,
    lookup: Lookup | None = None,
    progress: Callable[[Progress], None] = tell_nobody,
) -> BatchReport:
    """Scores a file, or every file of a folder, into `target`, which appears whole or not at all.

    A file's target is a .parquet, .csv or .jsonl file; a folder's is a folder with the same names and formats. Rows
    that break the schema go to `<stem of target>.rejects.jsonl`, with the reason and without their values. `keep` names
    the input columns to copy; None copies all that are not fields. `record` is where every decision goes too: a
    .parquet file, or for a folder's a folder with one for each input. `lookup` fills in the features that a file does
    not bring. `rows_per_chunk` are in memory at a time, at most 1,048,576; `rows_per_part` is how many an interruption
    can cost.

    Raises NotFound, BatchRefused, EngineFailed or StoreDown. After these, as after any other interruption, what is
    finished is kept and the same call resumes it.
    """
    if not 1 <= rows_per_chunk <= ids.MAX_ROWS or rows_per_part < 1:
        raise BatchRefused(f"rows_per_chunk is 1 to {ids.MAX_ROWS:,}, and rows_per_part at least 1")
    source, target = source.absolute(), target.absolute()
    record = record.absolute() if record else None
    works = _plan(manifest, source, target, keep, manifest.schema.entity if lookup else "")
    if record:
        _check_record(source, target, record, works)
    folder = partial_folder(target)
    meter = Meter(progress, _rows_total(works), sum(work.file.size for work in works))
    job = Job(score, manifest, folder, rows_per_chunk, rows_per_part, meter, record is not None, lookup)
    rejects = target.with_name(f"{target.name if source.is_dir() else target.stem}.rejects.jsonl")
    free = target, rejects, *([record] if record else [])
    made, decided = folder / OUTPUTS, folder / RECORDS
    if not source.is_dir():
        made, decided = made / works[0].output, decided / works[0].record
    with _kept(folder), working_in(folder, _identity(job, works, keep, record), free):
        done = [_finish(job, work) for work in works]
        placed = _place_rejects(job, works, rejects)
        if record:
            put_anywhere(decided, record)
        put(made, target)
        remove(folder)
    rows, scored = (sum(counts) for counts in zip(*done, strict=True))
    return BatchReport(rows, scored, rows - scored, target, placed, meter.rows_resumed, meter.elapsed_s, record)


def _plan(manifest: Manifest, source: Path, target: Path, keep: Sequence[str] | None, entity: str) -> list[Work]:
    """The inputs, each found fit for the job; raises NotFound or BatchRefused."""
    if os.path.lexists(target):
        raise BatchRefused(f"{target} exists; nothing is overwritten: move it or choose another target")
    if target.resolve().is_relative_to(source.resolve()):
        raise BatchRefused(f"{target} lies in the folder it would be made from; choose a target outside")
    if twice := [name for name, count in Counter(keep or ()).items() if count > 1]:
        raise BatchRefused(f"column {twice[0]!r} is to be kept twice; name it once")
    files = find_inputs(source)
    kept, taken = None if keep is None else tuple(keep), answer_columns(manifest, looked_up=bool(entity))
    wanted = Wanted(without_source(manifest.schema), kept, taken, entity)
    works = []
    for number, file in enumerate(files):
        kind = file.format if source.is_dir() else format_of(target)
        opened = _OPENERS[file.format](file, wanted)
        check_writable(kind, opened.kept)
        works.append(Work(number, file, opened, kind, file.name if source.is_dir() else target.name))
    return works


def _check_record(source: Path, target: Path, record: Path, works: Sequence[Work]) -> None:
    """Raises BatchRefused where decisions cannot go there."""
    if not source.is_dir() and record.suffix.lower() != PARQUET:
        raise BatchRefused(f"{record.name}: decisions are kept as Parquet; the name must end in {PARQUET}")
    near = record.resolve()
    if near.is_relative_to(source.resolve()) or near.is_relative_to(target.resolve()):
        raise BatchRefused(f"{record} is, or lies in, the input or the target; choose a place outside")
    if twice := [name for name, count in Counter(work.record for work in works).items() if count > 1]:
        raise BatchRefused(f"two inputs would have their decisions in {twice[0]!r}; rename one")


def _identity(job: Job, works: Sequence[Work], keep: Sequence[str] | None, record: Path | None) -> dict[str, Any]:
    """What must be the same for a run to go on with the parts of another."""
    return {
        "form of the parts": PARTS_FORMAT,
        "bundle": job.manifest.digest,
        "columns to keep": None if keep is None else list(keep),
        "inputs": [[work.file.name, work.file.size, work.file.mtime_ns] for work in works],
        **({"record": str(record)} if record else {}),
        **({"features": "looked up"} if job.lookup else {}),
    }


def _finish(job: Job, work: Work) -> tuple[int, int]:
    """The rows of an input and how many were scored, once its output is on disk."""
    marker, output = job.folder / f"done-{work.number:05d}.json", job.folder / OUTPUTS / work.output
    done = read_json(marker)
    if done is None or not output.exists():
        parts = score_parts(job, work.number, work.file, work.source)
        work.file.check_unchanged()
        with whole(output) as temporary:
            scored = write_output(work.kind, job.schema(work.source), parts, temporary, job.meter.wrote)
        if job.records:
            with whole(job.folder / RECORDS / work.record) as temporary:
                join_records([part.record for part in parts], temporary)
        concatenate([part.rejects for part in parts], _rejects_of(job, work))
        done = {"rows": parts[-1].last if parts else 0, "scored": scored}
        write_json(marker, done)
    else:
        job.meter.resumed(done["rows"])
    job.meter.reached(done["rows"], work.file.size)
    for path in job.folder.glob(f"{work.number:05d}-*"):
        path.unlink()
    job.meter.next_file(done["rows"], work.file.size)
    return done["rows"], done["scored"]


def _place_rejects(job: Job, works: Sequence[Work], rejects: Path) -> Path | None:
    """Puts the rejects of all inputs where they belong; None where there are none."""
    joined = job.folder / "rejects.jsonl"
    if not concatenate([_rejects_of(job, work) for work in works], joined):
        return None
    put(joined, rejects)
    return rejects


def _rows_total(works: Sequence[Work]) -> int | None:
    known = [work.source.rows for work in works if work.source.rows is not None]
    return sum(known) if len(known) == len(works) else None


def _rejects_of(job: Job, work: Work) -> Path:
    return job.folder / f"rejects-{work.number:05d}.jsonl"


@contextmanager
def _kept(folder: Path) -> Iterator[None]:
    """Says of a disk that is full or gone what the user can do about it."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise BatchRefused(f"cannot write in {folder} ({reason}); what is finished is kept: run it again") from None
