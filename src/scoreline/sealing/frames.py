"""Rows as the trainer's own pipeline takes them: pandas frames, or plain arrays where it was fitted without names."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api.types import is_numeric_dtype


def frame_of(columns: Sequence[Any], names: Sequence[str] | None) -> Any:
    """A frame of columns by name; an array (n_rows, n_columns) without names. Arrays keep their type."""
    found = pd.DataFrame(dict(enumerate(columns)))
    if names is None:
        return found.to_numpy()
    return found.set_axis(list(names), axis=1)


def typed(rows: pd.DataFrame, values: npt.NDArray[np.float64]) -> list[Any]:
    """The columns of `values`, those that are numbers in `rows` in the type they have there."""
    columns = [rows.iloc[:, at] for at in range(rows.shape[1])]
    given = zip(columns, values.T, strict=True)
    return [column.array if is_numeric_dtype(column.dtype) else plain for column, plain in given]


def dense(found: Any) -> Any:
    """What a transformer answers as an array, be it a frame, a sparse matrix or one already."""
    if isinstance(found, pd.DataFrame):
        return found.to_numpy()
    return found.toarray() if hasattr(found, "toarray") else np.asarray(found)


def column_of(values: Iterable[Any], words: Sequence[Any]) -> Any:
    """An array of the type that a column of these words has: texts and missing ones stay objects, one alone too."""
    is_text = any(isinstance(word, str) for word in words)
    found = pd.Series(list(values), dtype=object)
    return found.to_numpy() if is_text else found.infer_objects().to_numpy()
