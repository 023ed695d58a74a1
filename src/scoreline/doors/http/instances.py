"""Rows and predictions as the JSON protocols of model servers have them: KServe v1 and MLflow."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from scoreline.core import ids
from scoreline.core.batch import Batch, Context
from scoreline.core.columns import read_table
from scoreline.core.decision import Decisions
from scoreline.core.errors import Malformed, TooLarge
from scoreline.core.rows import read_rows
from scoreline.core.schema import Schema
from scoreline.core.strictjson import Body, strict_json

_UNKNOWN: Final = 100  # so many columns more than the model has fields are still named one by one
_encode: Final = msgspec.json.Encoder().encode


def read_object(body: Body, schema: Schema, max_rows: int, *, nan_is_null: bool = False) -> dict[str, Any]:
    """The JSON object of a body; raises Malformed or TooLarge."""
    check_values(body, schema, max_rows)
    try:
        found = strict_json(body, finite=False, nan_is_null=nan_is_null)
    except ValueError as error:
        raise Malformed(f"the body is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise Malformed("the body is a JSON object")
    return found


def read_instances(schema: Schema, rows: object, max_rows: int, context: Context) -> Batch:
    """A batch of rows, each an object of fields or a list in their order; raises Malformed, TooLarge, RowsRefused."""
    if not isinstance(rows, list):
        raise Malformed("rows are an array")
    check_rows(len(rows), max_rows)
    if any(isinstance(row, list) for row in rows):
        return read_split(schema, request_fields(schema), rows, max_rows, context)
    return read_rows(schema, rows, context)


def read_split(schema: Schema, names: Sequence[str], rows: object, max_rows: int, context: Context) -> Batch:
    """A batch of rows that are lists, in the order of `names`; raises as `read_instances`."""
    if not isinstance(rows, list):
        raise Malformed("rows are an array")
    check_columns(len(names), schema)
    check_rows(len(rows), max_rows)
    if not all(isinstance(row, list) and len(row) == len(names) for row in rows):
        raise Malformed(f"every row is an array of {len(names)} values, one per column")
    return read_table(schema, dict(zip(names, zip(*rows, strict=True), strict=True)), len(rows), context)


def request_fields(schema: Schema) -> list[str]:
    """The names of the fields a caller sends, in their order."""
    return [field.name for field in schema.fields if field.source == "request"]


def check_rows(n_rows: int, max_rows: int) -> None:
    if not n_rows:
        raise Malformed("there are no rows; send at least one")
    if n_rows > max_rows:
        raise TooLarge(f"one request has at most {max_rows} rows; send several, or use `scoreline batch`")


def check_values(body: Body, schema: Schema, max_rows: int) -> None:
    """Raises TooLarge for JSON of more values than rows could have: reading millions of them would take seconds."""
    most = max_rows * max_columns(schema)
    if len(body) > most and sum(body.count(sign) for sign in b",[{") > most:
        raise TooLarge(f"one request has at most {max_rows} rows; send several, or use `scoreline batch`")


def max_columns(schema: Schema) -> int:
    """How many columns are looked at: more are no mistake in a name."""
    return len(schema.fields) + _UNKNOWN


def check_columns(n_columns: int, schema: Schema) -> None:
    if n_columns > max_columns(schema):
        raise Malformed("there are far more columns than the model has fields")


def predictions(decisions: Decisions) -> bytes:
    """`predictions` as these protocols read them, one score or list of scores per row; beside them what we add."""
    author, scores = decisions.author, decisions.scores
    found: dict[str, Any] = {"predictions": scores.tolist() if author.classes else scores[:, 0].tolist()}
    if author.outcomes:
        found["outcomes"] = [author.outcomes[code] for code in decisions.outcomes]
    found |= {"prediction_ids": prediction_ids(decisions), "model": author.model, "version": author.version}
    return _encode(found)


def prediction_ids(decisions: Decisions) -> list[str]:
    shared, endings = ids.texts(decisions.base, len(decisions))
    return [f"{shared}{ending}" for ending in endings]


def only_keys(found: Mapping[str, Any], *known: str) -> None:
    """Raises Malformed where an object has other keys than these: nothing a caller asks for is passed over."""
    if not found.keys() <= set(known):
        raise Malformed(f"the body is an object of {', '.join(known)}")
