"""Scores an input part by part: what a part holds is never computed again, however often a job is interrupted."""

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from operator import attrgetter
from pathlib import Path
from typing import Final

import pyarrow as pa

from scoreline.core.batch import Batch, Context
from scoreline.core.decision import Decisions
from scoreline.core.errors import BatchRefused, Problem, RowsRefused
from scoreline.core.manifest import Manifest
from scoreline.core.ports import Score
from scoreline.doors.batch.answers import answer_batch, answer_schema
from scoreline.doors.batch.inputs import InputFile
from scoreline.doors.batch.partial import Part, finished_parts, part_path
from scoreline.doors.batch.record import recording
from scoreline.doors.batch.report import Meter
from scoreline.doors.batch.sources import Chunk, Judged, Source
from scoreline.features.ladder import Lookup
from scoreline.operations.files import commit

CALLER: Final = "batch"


@dataclass(frozen=True, slots=True)
class Job:
    """What all inputs of a job share; `folder` is the partial one, the sizes are in rows.

    `records`: whether the decisions are kept too; `lookup`: what fills rows with features that the file does not bring.
    """

    score: Score
    manifest: Manifest
    folder: Path
    rows_per_chunk: int
    rows_per_part: int
    meter: Meter
    records: bool = False
    lookup: Lookup | None = None

    def schema(self, source: Source) -> pa.Schema:
        """The columns of the output of an input."""
        return answer_schema(self.manifest, source.kept, looked_up=self.lookup is not None)


def score_parts(job: Job, number: int, file: InputFile, source: Source) -> list[Part]:
    """All parts of an input, those finished by an earlier run included; raises BatchRefused, EngineFailed."""
    parts = finished_parts(job.folder, number)
    first = parts[-1].last if parts else 0
    if first:
        job.meter.resumed(first)
    schema = job.schema(source)
    chunks = source.chunks(first, job.rows_per_chunk)
    for chunk in chunks:
        parts.append(_score_part(job, number, file, schema, first, chain([chunk], chunks)))
        first = parts[-1].last
    return parts


def _score_part(job: Job, number: int, file: InputFile, schema: pa.Schema, first: int, chunks: Iterable[Chunk]) -> Part:
    answers, rejects, record = (job.folder / f"{what}.tmp" for what in ("part", "rejects", "record"))
    last = first
    with (
        pa.OSFile(str(answers), "wb") as sink,
        pa.ipc.new_stream(sink, schema) as writer,
        rejects.open("wb") as refused,
        recording(record if job.records else None) as recorder,
    ):
        for chunk in chunks:
            rows, decisions = _decide(job, file.name, chunk.rows)
            if decisions is not None:
                writer.write_batch(answer_batch(schema, rows, decisions))
                if recorder is not None:
                    recorder.write(decisions, rows.positions)
            refused.writelines(reject_lines(file.name, rows.problems))
            last = chunk.last
            job.meter.reached(last, chunk.bytes_read)
            if last - first >= job.rows_per_part:
                break
        has_rejects = refused.tell() > 0
    part = Part(part_path(job.folder, number, first, last), first, last)
    if has_rejects:
        commit(rejects, part.rejects)
    if job.records:
        commit(record, part.record)
    commit(answers, part.path)
    return part


def _decide(job: Job, name: str, rows: Judged) -> tuple[Judged, Decisions | None]:
    """The rows with a score and their decisions, if there are any; rows the model has no score for are rejected."""
    if not len(rows.positions):
        return rows, None
    context = Context(time.time_ns(), name, CALLER)
    try:
        batch = Batch(rows.values, context, rows.defaulted, rows.entities)
        decisions = job.score(job.lookup.all(batch) if job.lookup else batch)
    except RowsRefused as refused:
        return _decide(job, name, rows.without(refused.problems))
    if decisions.author.digest != job.manifest.digest:
        raise BatchRefused("another version of the model answered; a job is scored by one bundle: give its REF")
    return rows, decisions


def reject_lines(name: str, problems: Sequence[Problem]) -> Iterator[bytes]:
    """The lines of the rejects file, one per row that cannot be scored, in row order."""
    place = attrgetter("row")
    for row, wrong in groupby(sorted(problems, key=place), key=place):
        reasons = [{"field": problem.field, "problem": problem.problem} for problem in wrong]
        yield json.dumps({"file": name, "row": row, "problems": reasons}, ensure_ascii=False).encode() + b"\n"
