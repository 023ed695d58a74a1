"""From decoded rows to a batch: the reference reader that every faster one must equal."""

from collections.abc import Sequence

import numpy as np

from scoreline.core.batch import Batch, Context
from scoreline.core.entities import entity_of
from scoreline.core.errors import MAX_PROBLEMS, Problem, RowsRefused
from scoreline.core.schema import Schema


def read_rows(schema: Schema, rows: Sequence[object], context: Context) -> Batch:
    """A batch of all rows, in order; raises RowsRefused with the first 1,000 problems of every row that has some."""
    values = np.empty((len(rows), len(schema.fields)), dtype=np.float64)
    defaulted: dict[int, tuple[int, ...]] = {}
    entities = [""] * len(rows) if schema.entity else []
    problems: list[Problem] = []
    for number, given in enumerate(rows):
        found, took_default, wrong = schema.row(given, number)
        problems += wrong
        if len(problems) >= MAX_PROBLEMS:
            break
        if not wrong:
            values[number] = found
            if entities:
                entities[number] = entity_of(given.get(schema.entity)) or ""  # type: ignore[attr-defined]
            if took_default:
                defaulted[number] = took_default
    if problems:
        raise RowsRefused(problems[:MAX_PROBLEMS])
    return Batch(values, context, defaulted, entities if any(entities) else ())
