"""What scikit-learn's column-wise transformers make of each field, told one output column at a time.

A number goes through arithmetic that is written down here; a category, which has finitely many values, goes through the
fitted transformer itself, once per word, and what comes out is a table.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    RobustScaler,
    StandardScaler,
)

from scoreline.core.errors import SealRefused
from scoreline.sealing.frames import column_of, dense, frame_of

REFUSED: Final = object()
Step = tuple[str, float]
_ENCODED: Final[Step] = ("Encoded", 0.0)


@dataclass(frozen=True, slots=True)
class Number:
    """A number field after steps of arithmetic: (ONNX operator, or `Fill` and `IsMissing`; its constant)."""

    source: int
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class Words:
    """A function of a category field: its value for every word in turn, for missing, and for a word never seen.

    REFUSED stands where the trainer's transformer raises.
    """

    source: int
    values: tuple[Any, ...]


Column = Number | Words


@dataclass(slots=True)
class Survey:
    """What the fields of a pipeline are, found on a first way through: categories by encoder, marks for missing."""

    categories: dict[int, list[Any]] = field(default_factory=dict)
    marks: dict[int, set[Any]] = field(default_factory=dict)


def transformed(step: Any, columns: Sequence[Column], survey: Survey | None = None) -> list[Column]:
    """The columns a fitted transformer makes of others; raises SealRefused for what is not supported.

    With `survey` it notes which fields are categories, and the columns it gives are placeholders.
    """
    if step is None or step == "passthrough":
        return list(columns)
    if step == "drop":
        return []
    if type(step) is Pipeline:
        for _, inner in step.steps:
            columns = transformed(inner, columns, survey)
        return list(columns)
    if type(step) is ColumnTransformer:
        return list(_in_parts(step, columns, survey))
    if type(step) is FunctionTransformer and step.func is None:
        return list(columns)
    if type(step) not in _COLUMN_WISE:
        raise SealRefused(
            f"{type(step).__name__} cannot be sealed inside a pipeline; what can: Pipeline, ColumnTransformer, "
            f"{', '.join(kind.__name__ for kind in _COLUMN_WISE)}"
        )
    return _column_by_column(step, columns, survey)


def _in_parts(step: ColumnTransformer, columns: Sequence[Column], survey: Survey | None) -> Iterator[Column]:
    if step.transformer_weights:
        raise SealRefused("a ColumnTransformer with transformer_weights cannot be sealed; weigh in the model instead")
    for name, inner, _ in step.transformers_:
        positions = step._transformer_to_input_indices[name]
        if len(positions):
            yield from transformed(inner, [columns[position] for position in positions], survey)


def _column_by_column(step: Any, columns: Sequence[Column], survey: Survey | None) -> list[Column]:
    places = _places(step, len(columns))
    found: dict[int, Column] = {}
    for position, column in enumerate(columns):
        if isinstance(column, Words):
            made: Sequence[Column] = _tables(step, columns, position, places[position])
        elif survey is not None:
            made = [_surveyed(step, position, column, survey)] * len(places[position])
        elif _encodes_flag(step, position):
            made = _flags(step, columns, position, places[position])
        else:
            made = [replace(column, steps=(*column.steps, *steps)) for steps in _arithmetic(step, position)]
        found |= dict(zip(places[position], made, strict=True))
    return [found[place] for place in sorted(found)]


def _places(step: Any, n_columns: int) -> list[list[int]]:
    """Where in a transformer's output the columns made of each input column stand."""
    if isinstance(step, OneHotEncoder):
        ends = np.cumsum([0, *step._n_features_outs])
        return [list(range(ends[position], ends[position + 1])) for position in range(n_columns)]
    if not isinstance(step, SimpleImputer):
        return [[position] for position in range(n_columns)]
    keeps = step.keep_empty_features or step.strategy == "constant"
    kept = [position for position, value in enumerate(step.statistics_) if keeps or not _is_missing(value)]
    made = [*kept, *(step.indicator_.features_ if step.add_indicator else ())]
    return [[place for place, source in enumerate(made) if source == position] for position in range(n_columns)]


def _tables(step: Any, columns: Sequence[Column], position: int, places: Sequence[int]) -> list[Words]:
    """A category through the transformer itself: its words together, missing and unseen each on its own."""
    column = columns[position]
    assert isinstance(column, Words)
    n_words = len(column.values) - 2
    known = _through(step, columns, position, column.values[:n_words])
    rows = [*known, *(_alone(step, columns, position, value) for value in column.values[n_words:])]
    return [Words(column.source, tuple(REFUSED if row is REFUSED else row[place] for row in rows)) for place in places]


def _encodes_flag(step: Any, position: int) -> bool:
    return type(step) in _ENCODERS and step.categories_[position].dtype == np.bool_


def _flags(step: Any, columns: Sequence[Column], position: int, places: Sequence[int]) -> list[Number]:
    """What an encoder of booleans makes of one: a mark of true, or of false; raises SealRefused for anything else."""
    column = columns[position]
    assert isinstance(column, Number)
    known = step.categories_[position].tolist()
    rows = _through(step, columns, position, known)
    marks = [tuple(float(row[place]) for row in rows) for place in places]
    if not set(marks) <= {(0.0, 1.0), (1.0, 0.0)}:
        raise SealRefused(
            f"the booleans in column {column.source} are not encoded as true and false; cast them to text"
        )
    return [replace(column, steps=(*column.steps, ("Equal", true))) for _, true in marks]


def _alone(step: Any, columns: Sequence[Column], position: int, value: Any) -> Any:
    if value is REFUSED:
        return REFUSED
    try:
        return _through(step, columns, position, [value])[0]
    except (ValueError, TypeError):
        return REFUSED


def _through(step: Any, columns: Sequence[Column], position: int, values: Sequence[Any]) -> Any:
    """The transformer's answer to rows that differ in one column only."""
    given = [
        column_of(values if at == position else [column.values[0]] * len(values), column.values)
        if isinstance(column, Words)
        else np.array(values if at == position else [0.0] * len(values))
        for at, column in enumerate(columns)
    ]
    return dense(step.transform(frame_of(given, getattr(step, "feature_names_in_", None))))


def _surveyed(step: Any, position: int, column: Number, survey: Survey) -> Number:
    if isinstance(step, SimpleImputer):
        survey.marks.setdefault(column.source, set()).add(None if step.missing_values is None else math.nan)
    if type(step) not in _ENCODERS or _ENCODED in column.steps:
        return column
    if not _encodes_flag(step, position):
        survey.categories.setdefault(column.source, []).append(step.categories_[position])
    return replace(column, steps=(_ENCODED,))


def _arithmetic(step: Any, position: int) -> list[list[Step]]:
    """The steps of every column that a transformer makes of one number."""
    if type(step) is not SimpleImputer:
        return [_SCALERS[type(step)](step, position)]
    if not _is_missing(step.missing_values):
        raise SealRefused("SimpleImputer: numbers are missing as NaN only; fit it with missing_values=nan")
    marked = step.add_indicator and position in step.indicator_.features_
    filled = not _is_missing(step.statistics_[position]) or step.keep_empty_features
    return [[("Fill", float(step.statistics_[position]))]] * filled + [[("IsMissing", 0.0)]] * marked


def _standardized(step: StandardScaler, position: int) -> list[Step]:
    return [*_step("Sub", step.mean_, step.with_mean, position), *_step("Div", step.scale_, step.with_std, position)]


def _robust(step: RobustScaler, position: int) -> list[Step]:
    centre = _step("Sub", step.center_, step.with_centering, position)
    return [*centre, *_step("Div", step.scale_, step.with_scaling, position)]


def _min_max(step: MinMaxScaler, position: int) -> list[Step]:
    if step.clip:
        raise SealRefused("MinMaxScaler with clip=True cannot be sealed; fit it without")
    return [("Mul", float(step.scale_[position])), ("Add", float(step.min_[position]))]


def _max_abs(step: MaxAbsScaler, position: int) -> list[Step]:
    return [("Div", float(step.scale_[position]))]


def _step(operator: str, constants: Any, wanted: bool, position: int) -> list[Step]:
    return [(operator, float(constants[position]))] if wanted else []


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


_ENCODERS: Final = (OneHotEncoder, OrdinalEncoder)
_SCALERS: Final[Mapping[type, Callable[[Any, int], list[Step]]]] = {
    StandardScaler: _standardized,
    MinMaxScaler: _min_max,
    MaxAbsScaler: _max_abs,
    RobustScaler: _robust,
}
_COLUMN_WISE: Final = (*_ENCODERS, SimpleImputer, *_SCALERS)
