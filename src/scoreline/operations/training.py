"""Decisions with their labels as the columns of a training set: features by their names, in their own types.

Features have the names of their fields. A column of ours that would have the name of a field, whether that is exported
or not, gets `scoreline_` before its own. Of several versions of a model the fields are put together; where a field is
of several types it is a number, if they are numbers, else a text.
"""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, Final

import numpy as np
import pyarrow as pa

from scoreline.core import ids
from scoreline.core.decision import Author
from scoreline.core.link import Floats
from scoreline.core.schema import EXACT_INTEGER_MAX, Field
from scoreline.operations.decisions import Seen
from scoreline.operations.maturity import Manifests
from scoreline.records.walk import outcome_of

PREFIX: Final = "scoreline_"
SCORE: Final = "score"
_MOMENT: Final = pa.timestamp("us", "UTC")
_TYPES: Final = {"number": pa.float64(), "integer": pa.int64(), "boolean": pa.bool_(), "text": pa.string()}
_BEFORE: Final = {"prediction_id": pa.string(), "time": _MOMENT, "model": pa.string(), "version": pa.string()}
_AFTER: Final = ("decision", "label", "label_observed_at", "label_status")


class TrainingSet:
    """The columns of decisions of these authors; the schema is known before any decision is read.

    `left_out` are sensitive fields, which are not exported unless `sensitive`. `unknown` are versions whose bundle is
    not here: nothing says which of their fields are sensitive, nor what their categories are called. Their fields are
    left out, or exported as the numbers of the record.
    """

    def __init__(self, authors: Sequence[Author], manifests: Manifests, *, sensitive: bool, text_labels: bool) -> None:
        newest = list(reversed(authors))
        known = [(author, manifests.of(author)) for author in newest]
        self.unknown = tuple(dict.fromkeys(author.version for author, manifest in known if manifest is None))
        fields = [field for _, manifest in known if manifest for field in manifest.schema.fields]
        hidden = set() if sensitive else {field.name for field in fields if field.sensitive}
        self.left_out = tuple(dict.fromkeys(field.name for field in fields if field.name in hidden))
        self._fields: dict[Author, dict[str, tuple[int, Field | None]]] = {}
        self._kinds: dict[str, str] = {}
        for author, manifest in known:
            there: Sequence[Field | None] = manifest.schema.fields if manifest else [None] * len(author.fields)
            exported = zip(author.fields, there, strict=True) if manifest or sensitive else ()
            self._fields[author] = {
                name: (place, field) for place, (name, field) in enumerate(exported) if name not in hidden
            }
            for name, (_, field) in self._fields[author].items():
                self._kinds[name] = _together(self._kinds.get(name), _kind(field))
        self._taken = set(chain.from_iterable(author.fields for author in newest))
        classes = dict.fromkeys(chain.from_iterable(author.classes for author in newest))
        self._scores = [SCORE] * any(not author.classes for author in newest) + [f"{SCORE}_{name}" for name in classes]
        self._text_labels = text_labels or bool(classes)
        self.schema = pa.schema(list(self._columns()))

    def _columns(self) -> Iterator[tuple[str, pa.DataType]]:
        yield from ((self._own(name), kind) for name, kind in _BEFORE.items())
        yield from ((name, _TYPES[kind]) for name, kind in self._kinds.items())
        yield from ((self._own(name), pa.float64()) for name in self._scores)
        label = pa.string() if self._text_labels else pa.float64()
        yield from zip(map(self._own, _AFTER), (pa.string(), label, _MOMENT, pa.string()), strict=True)

    def _own(self, name: str) -> str:
        while name in self._taken:
            name = PREFIX + name
        return name

    def batch(self, page: Sequence[Seen]) -> pa.RecordBatch:
        """Some decisions as rows, in their order."""
        by_author: dict[Author, list[int]] = {}
        for place, seen in enumerate(page):
            by_author.setdefault(seen.author, []).append(place)
        parts = [self._of_one(author, [page[place] for place in places]) for author, places in by_author.items()]
        order = np.argsort(np.concatenate([np.array(places) for places in by_author.values()]))
        return pa.Table.from_batches(parts).take(pa.array(order)).combine_chunks().to_batches()[0]

    def _of_one(self, author: Author, rows: Sequence[Seen]) -> pa.RecordBatch:
        values = _matrix([seen.row.values for seen in rows], len(author.fields))
        scores = _matrix([seen.row.scores for seen in rows], len(author.classes) or 1)
        names = [f"{SCORE}_{name}" for name in author.classes] or [SCORE]
        labels = [seen.label for seen in rows]
        found: dict[str, Any] = {
            "prediction_id": [ids.text(int.from_bytes(seen.row.id, "big")) for seen in rows],
            "time": [seen.row.time_ns // 1000 for seen in rows],
            "model": [author.model] * len(rows),
            "version": [author.version] * len(rows),
            **{name: _numbers(scores[:, place]) for place, name in enumerate(names)},
            "decision": [outcome_of(seen.row, author) for seen in rows],
            "label": [None if label is None else self._label(label.value) for label in labels],
            "label_observed_at": [None if label is None else label.observed_ns // 1000 for label in labels],
            "label_status": [seen.status for seen in rows],
        }
        columns = {self._own(name): column for name, column in found.items()}
        for name, (place, field) in self._fields.get(author, {}).items():
            columns[name] = _feature(values[:, place], field).cast(_TYPES[self._kinds[name]])
        cells = [columns.get(column.name, [None] * len(rows)) for column in self.schema]
        arrays = [
            made if isinstance(made, pa.Array) else pa.array(made, column.type)
            for made, column in zip(cells, self.schema, strict=True)
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)

    def _label(self, value: float | str) -> float | str | None:
        """A text among numbers has come while this is read: what is known of that decision is not told."""
        if not self._text_labels:
            return None if isinstance(value, str) else value
        if isinstance(value, str):
            return value
        return str(int(value)) if value.is_integer() else repr(value)


def _kind(field: Field | None) -> str:
    if field is None:
        return "number"
    if field.type != "category":
        return field.type
    return "text" if isinstance(field.categories[0], str) else "integer"


def _together(one: str | None, other: str) -> str:
    if one is None or one == other:
        return other
    return "number" if {one, other} == {"number", "integer"} else "text"


def _matrix(cells: list[bytes], width: int) -> Floats:
    """The numbers of each row; missing where a record that was altered has more or fewer."""
    nothing = np.full(width, np.nan).tobytes()
    raw = b"".join(cell if len(cell) == len(nothing) else nothing for cell in cells)
    return np.frombuffer(raw, dtype="<f8").reshape(len(cells), width)


def _numbers(column: Floats) -> pa.Array:
    return pa.array(column, mask=~np.isfinite(column))


def _feature(numbers: Floats, field: Field | None) -> pa.Array:
    """Values as a caller would send them, null for missing, and for what the field cannot have."""
    if field is None or field.type == "number":
        return _numbers(numbers)
    missing = ~np.isfinite(numbers) | (np.abs(numbers) > EXACT_INTEGER_MAX)
    whole = np.where(missing, 0, numbers).astype(np.int64)
    if field.type == "boolean":
        return pa.array(whole != 0, mask=missing)
    if field.type == "integer":
        return pa.array(whole, mask=missing)
    missing |= (whole < 0) | (whole >= len(field.categories))
    return pa.array(field.categories).take(pa.array(whole, mask=missing))
