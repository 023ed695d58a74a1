"""From decisions to the columns of an output."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import pyarrow as pa

from scoreline.core.decision import Decisions
from scoreline.core.manifest import Manifest
from scoreline.doors.batch.sources import Judged

ROW: Final = "row"
OUTCOME: Final = "outcome"
DEFAULTED: Final = "defaulted"
DEGRADED: Final = "degraded"
_NAMES: Final = pa.dictionary(pa.int32(), pa.string())
_TYPES: Final = {ROW: pa.int64(), OUTCOME: _NAMES, DEFAULTED: _NAMES, DEGRADED: _NAMES}


def answer_columns(manifest: Manifest, *, looked_up: bool = False) -> tuple[str, ...]:
    """Every column an output has besides the kept ones, in order: `row` before them, the others after them.

    `looked_up`: features come from a store, so that some may be degraded.
    """
    scores = [f"{manifest.output}_{name}" for name in manifest.classes] or [manifest.output]
    outcome = [OUTCOME] if manifest.policy.outcomes else []
    defaulted = [DEFAULTED] if any(field.default is not None for field in manifest.schema.fields) else []
    degraded = [DEGRADED] if looked_up else []
    return (ROW, *scores, *outcome, *defaulted, *degraded)


def answer_schema(manifest: Manifest, kept: pa.Schema, *, looked_up: bool = False) -> pa.Schema:
    """The columns of an output with their types."""
    row, *after = [
        pa.field(name, _TYPES.get(name, pa.float64())) for name in answer_columns(manifest, looked_up=looked_up)
    ]
    return pa.schema([row, *kept, *after])


def answer_batch(schema: pa.Schema, rows: Judged, decisions: Decisions) -> pa.RecordBatch:
    """The answers to some rows of an input, one row each, in the same order."""
    author, scores = decisions.author, decisions.scores
    columns = [pa.array(rows.positions), *rows.kept, *(pa.array(column) for column in scores.T)]
    if author.outcomes:
        codes = pa.array(np.fromiter(decisions.outcomes, np.int32, len(decisions)))
        columns.append(pa.DictionaryArray.from_arrays(codes, pa.array(author.outcomes)))
    for name, told in ((DEFAULTED, decisions.defaulted), (DEGRADED, decisions.degraded)):
        if name in schema.names[-2:]:
            columns.append(_names(author.fields, told, len(decisions)))
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _names(fields: Sequence[str], told: Mapping[int, Sequence[int]], n_rows: int) -> pa.Array:
    """The names of the fields told of each row, comma between; mostly they are the same for all rows."""
    kinds = set(map(tuple, told.values()))
    texts = {kind: ",".join(fields[place] for place in kind) for kind in kinds | {()}}
    if not kinds or (len(kinds) == 1 and len(told) == n_rows):
        zeros = pa.array(np.zeros(n_rows, dtype=np.int32))
        return pa.DictionaryArray.from_arrays(zeros, pa.array([texts[next(iter(kinds), ())]]))
    return pa.array([texts[tuple(told.get(row, ()))] for row in range(n_rows)]).dictionary_encode()
