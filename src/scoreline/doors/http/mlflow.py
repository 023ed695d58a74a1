"""The protocol of MLflow's scoring server, and of SageMaker: `POST /invocations` with JSON or CSV.

Reference: mlflow.pyfunc.scoring_server. Its own client writes a missing number as NaN, which is read as null here.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, Final

from scoreline.core.batch import Batch, Context
from scoreline.core.columns import read_table
from scoreline.core.decision import Decisions
from scoreline.core.errors import MAX_PROBLEMS, Malformed, Problem, RowsRefused, ScorelineError, WrongType
from scoreline.core.schema import Schema
from scoreline.core.strictjson import Body
from scoreline.core.texts import text_value
from scoreline.doors.http.dialect import JSON, check_json_type, mime_type, plain_refusal
from scoreline.doors.http.instances import (
    check_columns,
    check_rows,
    only_keys,
    predictions,
    read_instances,
    read_object,
    read_split,
    request_fields,
)
from scoreline.web.asgi import Answer, Headers

CSV: Final = b"text/csv"
_FORMATS: Final = ("dataframe_split", "dataframe_records", "instances", "inputs")
_CODES: Final = {404: "RESOURCE_DOES_NOT_EXIST", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED"}


class MlflowDialect:
    """A `dialect.Dialect`; refusals are an object with `error_code` and `message`."""

    def __init__(self, schema: Schema, max_rows: int, *, csv_header: bool) -> None:
        self._schema = schema
        self._max_rows = max_rows
        self._csv_header = csv_header

    def check_type(self, headers: Mapping[bytes, bytes]) -> None:
        if mime_type(headers) == CSV:
            return
        try:
            check_json_type(headers)
        except WrongType:
            raise WrongType("send rows as application/json or text/csv") from None

    def read(self, headers: Mapping[bytes, bytes], body: Body, context: Context) -> tuple[Batch, None]:
        return (self._read_csv(body, context) if mime_type(headers) == CSV else self._read_json(body, context)), None

    def write(self, decisions: Decisions, _: None) -> tuple[Headers, bytes]:
        return [(b"content-type", JSON)], predictions(decisions)

    @staticmethod
    def refuse(error: ScorelineError) -> Answer:
        return plain_refusal(error, "message", _code)

    def _read_json(self, body: Body, context: Context) -> Batch:
        found = read_object(body, self._schema, self._max_rows, nan_is_null=True)
        only_keys(found, *_FORMATS, "params")
        given = [name for name in _FORMATS if name in found]
        if len(given) != 1:
            raise Malformed(f"the body is an object with exactly one of {', '.join(_FORMATS)}")
        if found.get("params"):
            raise Malformed("this model takes no params")
        rows = found[given[0]]
        if given[0] == "dataframe_split":
            return self._read_split(rows, context)
        if given[0] == "inputs" and isinstance(rows, dict):
            return self._read_columns(rows, context)
        return read_instances(self._schema, rows, self._max_rows, context)

    def _read_split(self, found: Any, context: Context) -> Batch:
        if not isinstance(found, dict):
            raise Malformed("dataframe_split is an object of columns and data")
        only_keys(found, "columns", "data", "index")
        names = found.get("columns")
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or _repeats(names):
            raise Malformed("dataframe_split.columns is an array of names, each once")
        return read_split(self._schema, names, found.get("data"), self._max_rows, context)

    def _read_columns(self, found: dict[str, Any], context: Context) -> Batch:
        check_columns(len(found), self._schema)
        lengths = {len(values) if isinstance(values, list) else -1 for values in found.values()}
        if len(lengths) != 1 or lengths == {-1}:
            raise Malformed("inputs is an object of arrays of one length")
        check_rows(n_rows := lengths.pop(), self._max_rows)
        return read_table(self._schema, {name: _flat(values) for name, values in found.items()}, n_rows, context)

    def _read_csv(self, body: Body, context: Context) -> Batch:
        """A first line of values, where names should be, is answered by the places of its columns alone."""
        try:
            lines = filter(None, csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True))
            names = next(lines, []) if self._csv_header else request_fields(self._schema)
            check_columns(len(names), self._schema)
            rows = list(islice(lines, self._max_rows + 1))
        except (UnicodeDecodeError, csv.Error):
            raise Malformed("the body is not CSV in UTF-8") from None
        check_rows(len(rows), self._max_rows)
        if _repeats(names):
            raise Malformed("the first line names every column once")
        if any(len(row) != len(names) for row in rows):
            raise Malformed(f"every line has {len(names)} values, one per column")
        problems = [
            Problem(0, f"column {place}", "is not a field of this model")
            for place, name in enumerate(names, 1)
            if self._schema.unknown(name)
        ]
        columns = {
            name: self._cells(name, texts)
            for name, texts in zip(names, zip(*rows, strict=True), strict=True)
            if not self._schema.unknown(name)
        }
        try:
            batch = read_table(self._schema, columns, len(rows), context)
        except RowsRefused as refused:
            problems += refused.problems
        if problems:
            raise RowsRefused(problems[:MAX_PROBLEMS])
        return batch

    def _cells(self, name: str, texts: Sequence[str]) -> Sequence[object]:
        position = self._schema.index.get(name)
        if position is None:
            return [text or None for text in texts]  # whom the rows are about
        field = self._schema.fields[position]
        return [text_value(field, text) for text in texts]


def _code(status: int) -> str:
    return _CODES.get(status, "BAD_REQUEST" if status < 500 else "INTERNAL_ERROR")


def _flat(values: list[Any]) -> list[Any]:
    """One value per row: an array, or an array of arrays of one."""
    return [value[0] if isinstance(value, list) and len(value) == 1 else value for value in values]


def _repeats(names: list[str]) -> bool:
    return len(set(names)) != len(names)
