"""From the texts of a CSV file to rows of a model: an empty text is a missing value, the rest as the field reads it."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scoreline.core.columns import Mask, within
from scoreline.core.link import Floats
from scoreline.core.schema import Field
from scoreline.core.texts import text_value
from scoreline.doors.batch.columns import coded


def text_numbers(field: Field, texts: pa.Array) -> tuple[Floats, Mask | None]:
    """Reads a column of texts, without nulls."""
    if field.type in ("boolean", "category"):
        return coded(field, texts, _meaning)
    try:
        found = pc.cast(pc.if_else(pc.equal(texts, ""), None, texts), pa.float64())
    except pa.ArrowInvalid:
        return _one_by_one(field, texts)
    numbers = found.to_numpy(zero_copy_only=False)
    if np.count_nonzero(np.isnan(numbers)) != found.null_count:
        return _one_by_one(field, texts)
    return within(field, numbers)


def text_cell(field: Field, texts: pa.Array, row: int) -> object:
    """One cell of a column of texts, as `Schema.row` takes it."""
    return text_value(field, texts[row].as_py())


def _one_by_one(field: Field, texts: pa.Array) -> tuple[Floats, Mask | None]:
    read = [field.read(text_value(field, text)) for text in texts.to_pylist()]
    doubts = np.array([bool(problem) for _, problem in read])
    return np.array([number for number, _ in read]), doubts if doubts.any() else None


def _meaning(field: Field, value: object) -> object:
    return text_value(field, str(value))
