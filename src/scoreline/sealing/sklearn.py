"""Reads scikit-learn's pipelines and estimators, on the raw columns they were fitted with.

What stands before the estimator becomes a float64 graph. A model of XGBoost or LightGBM at the end runs in its own
engine behind that graph; every other estimator is part of it.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import numpy as np
import sklearn
from sklearn.base import is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from scoreline.core.errors import SealRefused
from scoreline.core.link import Floats
from scoreline.core.schema import Unseen
from scoreline.engines.prepared import PIECE
from scoreline.sealing.columns import Column, Number, Survey, Words, transformed
from scoreline.sealing.estimators import ending
from scoreline.sealing.frames import column_of, dense, frame_of, typed
from scoreline.sealing.graph import Graph
from scoreline.sealing.parity import TOLERANCE
from scoreline.sealing.prepare import matrix, zeros_as_missing
from scoreline.sealing.read import library_of, read_model
from scoreline.sealing.trained import Iterations, Split, TrainedModel

_BEYOND: Final = (
    "the pipeline itself refuses some parity rows, at the ends of the fields' ranges: declare a range in schema.toml "
    "for every field whose size has no limit yet"
)
_UNSEEN: Final = "\N{REPLACEMENT CHARACTER} never seen"
_INVERSE: Final[Mapping[str, Callable[[float, float], float]]] = {
    "Sub": lambda value, constant: value + constant,
    "Div": lambda value, constant: value * constant,
    "Mul": lambda value, constant: value / constant if constant else math.nan,
    "Add": lambda value, constant: value - constant,
    "Fill": lambda value, _: value,
}


@dataclass(frozen=True, slots=True)
class _Trainer:
    """The pipeline as its trainer calls it, on all columns it was fitted with.

    `used` are the columns that reach the estimator, which are the fields of the schema; `words` are the categories of a
    column, and last the mark of a missing one.
    """

    model: Any
    before: Sequence[Any]
    names: Sequence[str] | None
    n_columns: int
    used: Sequence[int]
    words: dict[int, list[Any]]

    def frame(self, values: Floats, rows: Any = None) -> Any:
        """Rows of the schema (categories as codes, missing as NaN) as the pipeline takes them.

        With `rows`, the frame they were read from, numbers are in the types they have there, else in float64.
        """
        fields = dict(zip(self.used, values.T, strict=True))
        numbers = fields if rows is None else dict(zip(self.used, typed(rows, values), strict=True))
        columns, zeros = [], np.zeros(len(values))
        for column in range(self.n_columns):
            given, words = fields.get(column, zeros), self.words.get(column)
            if words is None:
                columns.append(numbers.get(column, zeros))
            else:
                codes = np.where(np.isnan(given), len(words) - 1, given).astype(np.int64)
                columns.append(column_of(np.array(words, dtype=object)[codes], words))
        return frame_of(columns, self.names)

    def prepared(self, values: Floats, rows: Any = None) -> Any:
        """What the estimator at the end is given."""
        found = self.frame(values, rows)
        for step in self.before:
            found = found if step in (None, "passthrough") else step.transform(found)
        return found

    def scores(self, values: Floats, rows: Any = None) -> Floats:
        return self.scores_of(self.frame(values, rows))

    def scores_of(self, rows: Any) -> Floats:
        try:
            if not hasattr(self.model, "predict_proba"):
                return np.asarray(self.model.predict(rows), np.float64).reshape(len(rows), -1)
            found = np.asarray(self.model.predict_proba(rows), np.float64)
        except ValueError:
            raise SealRefused(_BEYOND) from None
        return found[:, 1:] if found.shape[1] == 2 else found

    def takes(self, column: int, value: Any) -> bool:
        """Whether the pipeline scores a row with this value in one column, and zero or the first word in the others."""
        words = [self.words.get(at, [0.0]) for at in range(self.n_columns)]
        row = [column_of([value if at == column else known[0]], known) for at, known in enumerate(words)]
        try:
            self.scores_of(frame_of(row, self.names))
        except (SealRefused, TypeError):
            return False
        return True


def read_sklearn(model: object, iterations: Iterations = "best") -> TrainedModel:
    """A fitted `Pipeline`, search over one, or bare estimator of scikit-learn; raises SealRefused with the reason."""
    model = getattr(model, "best_estimator_", model)
    before, last = _steps(model)
    trainer = _trainer(model, before)
    fields = {column: field for field, column in enumerate(trainer.used)}
    columns: Sequence[Column] = [
        Words(fields.get(column, -1), (*trainer.words[column], _never_seen(trainer.words[column])))
        if column in trainer.words
        else Number(fields.get(column, -1))
        for column in range(trainer.n_columns)
    ]
    for step in before:
        columns = transformed(step, columns)
    lineage = {"source": type(model).__name__, "estimator": type(last).__name__}
    inner = _boosted if library_of(type(last)) != "sklearn" else _in_one_graph
    found = inner(trainer, last, columns, iterations)
    return replace(
        found,
        n_features=len(trainer.used),
        feature_names=() if trainer.names is None else tuple(str(trainer.names[column]) for column in trainer.used),
        categories={field: _plain(trainer.words[at][:-1]) for at, field in fields.items() if at in trainer.words},
        fits=lambda _position, _words: None,
        splits=_before(columns, found.splits),
        slopes=[],
        unseen={field: _unseen(trainer, at, field, columns) for at, field in fields.items() if at in trainer.words},
        refuses_missing=frozenset(
            field for at, field in fields.items() if not trainer.takes(at, trainer.words.get(at, [math.nan])[-1])
        ),
        lineage={**found.lineage, **lineage, "pipeline": f"scikit-learn {sklearn.__version__}"},
    )


def _steps(model: Any) -> tuple[list[Any], Any]:
    before, last = (
        ([step for _, step in model.steps[:-1]], model.steps[-1][1]) if type(model) is Pipeline else ([], model)
    )
    if not hasattr(last, "predict"):
        raise SealRefused(f"{type(last).__name__} is neither a classifier nor a regressor of scikit-learn")
    try:
        check_is_fitted(last)
    except NotFittedError:
        raise SealRefused(f"the {type(last).__name__} is not fitted") from None
    return before, last


def _trainer(model: Any, before: Sequence[Any]) -> _Trainer:
    """Finds the categories of every field on a first way through the transformers."""
    try:
        n_columns = int(model.n_features_in_)
    except AttributeError:
        raise SealRefused("the pipeline does not know how many columns it was fitted with; fit it again") from None
    survey = Survey()
    columns: Sequence[Column] = [Number(column) for column in range(n_columns)]
    for step in before:
        columns = transformed(step, columns, survey)
    if not columns:
        raise SealRefused("the pipeline leaves no column to its estimator")
    words = {at: _words(at, found, survey.marks.get(at, set())) for at, found in survey.categories.items()}
    names = getattr(model, "feature_names_in_", None)
    used = range(n_columns) if names is None else sorted({column.source for column in columns})
    return _Trainer(model, before, names, n_columns, used, words)


def _words(column: int, found: Sequence[Any], marks: set[Any]) -> list[Any]:
    """The categories an encoder was fitted with, and last the mark of a missing one: None or NaN."""
    lists = [[word for word in categories.tolist() if word is not None and word == word] for categories in found]
    words = lists[0]
    if any(other != words for other in lists[1:]):
        raise SealRefused(f"column {column} goes into several encoders with different categories; fit them on one list")
    kinds = {type(word) for word in words}
    is_whole = found[0].dtype != object and kinds <= {int, float} and all(word == int(word) for word in words)
    if not words or (kinds != {str} and not is_whole):
        raise SealRefused(f"the categories of column {column} are neither all texts nor all integers; fit with texts")
    kept = {None if word is None else "nan" for word in found[0].tolist() if word is None or word != word}
    used = kept or {None if mark is None else "nan" for mark in marks}
    if len(used) > 1:
        raise SealRefused(f"column {column} was fitted with both None and NaN as missing; fit it with one of them")
    return [*words, None if used == {None} else math.nan]


def _plain(words: Sequence[Any]) -> list[str] | list[int]:
    return list(words) if isinstance(words[0], str) else [int(word) for word in words]


def _never_seen(words: Sequence[Any]) -> Any:
    return _UNSEEN if isinstance(words[0], str) else max(words[:-1]) + 1


def _unseen(trainer: _Trainer, at: int, field: int, columns: Sequence[Column]) -> Unseen:
    """Whether a word never seen is to the pipeline what a missing one is; if it is anything else, it is refused."""
    tables = [column.values for column in columns if isinstance(column, Words) and column.source == field]
    alike = all(_same(missing, unseen) for *_, missing, unseen in tables)
    return "missing" if alike and trainer.takes(at, _never_seen(trainer.words[at])) else "refuse"


def _same(one: Any, other: Any) -> bool:
    return one is other or one == other or bool(one != one and other != other)


def _before(columns: Sequence[Column], splits: Sequence[Split]) -> list[Split]:
    """Splits by field: thresholds brought back through the arithmetic of their column, those of categories left out."""
    found: set[Split] = set()
    for place, threshold in splits:
        column = columns[place]
        if isinstance(column, Number) and all(operator in _INVERSE for operator, _ in column.steps):
            for operator, constant in reversed(column.steps):
                threshold = _INVERSE[operator](threshold, constant)
            if math.isfinite(threshold):
                found.add((column.source, threshold))
    return sorted(found)


def _boosted(trainer: _Trainer, last: Any, columns: Sequence[Column], iterations: Iterations) -> TrainedModel:
    """A booster in its own engine, bit for bit: the graph before it repeats the transformers' own arithmetic."""
    inner = read_model(last, iterations)
    if inner.categories:
        raise SealRefused(
            f"the {type(last).__name__} splits by category itself; encode categories in the pipeline only"
        )
    graph = Graph(len(trainer.used))
    values = matrix(graph, columns)
    probe = np.zeros((1, len(trainer.used)))
    holes = inner.kind == "xgboost" and hasattr(trainer.prepared(probe), "tocsr")
    if holes:
        values = zeros_as_missing(graph, values)
    given = partial(_given, trainer, holes)
    return replace(
        inner,
        prepare=graph.finish(values, len(columns)),
        sources=tuple(column.source for column in columns),
        margins=_behind(given, inner.margins) if inner.margins else None,
        scores=trainer.scores if iterations == "best" else _behind(given, inner.scores),
        as_given=trainer.scores if iterations == "best" else lambda values, rows: inner.scores(given(values, rows)),
    )


def _behind(given: Callable[[Floats], Floats], predict: Callable[[Floats], Floats]) -> Callable[[Floats], Floats]:
    def behind(rows: Floats) -> Floats:
        try:
            pieces = [rows[at : at + PIECE] for at in range(0, len(rows), PIECE)]
            return np.concatenate([predict(given(piece)) for piece in pieces])
        except ValueError:  # what is beyond float32 after the transformers, to XGBoost
            raise SealRefused(_BEYOND) from None

    return behind


def _given(trainer: _Trainer, holes: bool, values: Floats, rows: Any = None) -> Floats:
    found = np.array(dense(trainer.prepared(values, rows)), dtype=np.float64)
    if holes:
        found[found == 0.0] = np.nan
    return found


def _in_one_graph(trainer: _Trainer, last: Any, columns: Sequence[Column], _iterations: Iterations) -> TrainedModel:
    classes = tuple(map(str, last.classes_)) if is_classifier(last) else ()
    if len(classes) == 1:
        raise SealRefused("the model knows one class only")
    n_outputs = len(classes) if len(classes) > 2 else 1
    graph = Graph(len(trainer.used))
    end = ending(graph, last, columns, n_outputs)
    return TrainedModel(
        kind="onnx",
        file="model.onnx",
        raw=graph.finish(end.margins, n_outputs),
        n_features=len(trainer.used),
        n_outputs=n_outputs,
        link=end.link,
        feature_names=(),
        categories={},
        fits=lambda _position, _words: None,
        classes=classes if n_outputs > 1 else (),
        twin=None,
        twin_reason="the pipeline is one graph",
        splits=end.splits,
        slopes=[],
        margins=None,
        scores=trainer.scores,
        as_given=trainer.scores,
        precision="float64",
        tolerance=TOLERANCE,
        lineage={"library": f"scikit-learn {sklearn.__version__}", "objective": end.link},
    )
