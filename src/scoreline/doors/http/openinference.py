"""The Open Inference Protocol, version 2: `POST /v2/models/{name}/infer`, as clients of KServe and Triton speak it.

An input is a field by its name, of shape [n] or [n, 1]; or one input is all fields, a matrix [n, k] in their order. A
field without an input takes its default.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from scoreline.core import ids
from scoreline.core.batch import Batch, Context
from scoreline.core.columns import Column, read_table
from scoreline.core.decision import Decisions
from scoreline.core.errors import Malformed, ScorelineError, WrongType
from scoreline.core.manifest import Manifest
from scoreline.core.schema import Schema
from scoreline.core.strictjson import Body, strict_json
from scoreline.doors.http.dialect import JSON, check_json_type, mime_type, plain_refusal
from scoreline.doors.http.instances import check_rows, check_values, max_columns, prediction_ids, request_fields
from scoreline.doors.http.tensors import BYTES, Tensor, parameters, read_tensors, text_bytes
from scoreline.web.asgi import Answer, Headers

OCTETS: Final = b"application/octet-stream"
JSON_LENGTH: Final = b"inference-header-content-length"
OUTCOME: Final = "outcome"
PREDICTION_ID: Final = "prediction_id"
MAX_ID: Final = 1024
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_DATATYPES: Final = {"number": "FP64", "integer": "INT64", "boolean": "BOOL"}
_encode: Final = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request wants back: its own id, and the outputs by name, each as bytes or as JSON."""

    id: str | None
    outputs: dict[str, bool]


class OpenInferenceDialect:
    """A `dialect.Dialect`; refusals are an object with `error`."""

    def __init__(self, manifest: Manifest, max_rows: int, schema: Schema | None = None) -> None:
        self._schema = schema or manifest.schema
        self._fields = request_fields(self._schema)
        self._outputs = [output["name"] for output in outputs(manifest)]
        self._max_rows = max_rows

    def check_type(self, headers: Mapping[bytes, bytes]) -> None:
        if mime_type(headers) == OCTETS:
            return
        try:
            check_json_type(headers)
        except WrongType:
            raise WrongType("send tensors as application/json or application/octet-stream") from None

    def read(self, headers: Mapping[bytes, bytes], body: Body, context: Context) -> tuple[Batch, Asked]:
        """The batch of the tensors, and what is asked; raises Malformed, TooLarge or RowsRefused."""
        head, tail = _parts(headers, body)
        check_values(head, self._schema, self._max_rows)
        try:
            found = strict_json(head, finite=False)
        except ValueError as error:
            raise Malformed(f"the request is not JSON: {error}") from None
        if not isinstance(found, dict):
            raise Malformed("the request is a JSON object with inputs")
        asked = self._asked(found)
        tensors = read_tensors(
            found.get("inputs"), tail, max_columns(self._schema), self._max_rows * (len(self._fields) + 1)
        )
        n_rows = tensors[0].shape[0]
        if any(tensor.shape[0] != n_rows for tensor in tensors):
            raise Malformed("the first size of every shape is the number of rows, the same for all inputs")
        check_rows(n_rows, self._max_rows)
        batch = read_table(self._schema, self._columns(tensors, n_rows), n_rows, context)
        if not all(tensor.true for tensor in tensors):  # what the schema refuses, too, it has named by row and field
            raise Malformed("a value is not of the datatype of its input")
        return batch, asked

    def write(self, decisions: Decisions, asked: Asked) -> tuple[Headers, bytes]:
        author, n_rows = decisions.author, len(decisions)
        answer: dict[str, Any] = {"model_name": author.model, "model_version": author.version}
        if asked.id is not None:
            answer["id"] = asked.id
        taken = sorted({position for positions in decisions.defaulted.values() for position in positions})
        if taken:
            answer["parameters"] = {"defaulted": ",".join(author.fields[position] for position in taken)}
        tail: list[bytes] = []
        answer["outputs"] = written = []
        for name, in_bytes in asked.outputs.items():
            output, to_json, to_bytes = self._output(name, decisions, n_rows)
            if in_bytes:
                tail.append(to_bytes())
                output["parameters"] = {"binary_data_size": len(tail[-1])}
            else:
                output["data"] = to_json()
            written.append(output)
        head = _encode(answer)
        if not tail:
            return [(b"content-type", JSON)], head
        return [(b"content-type", OCTETS), (JSON_LENGTH, b"%d" % len(head))], b"".join([head, *tail])

    @staticmethod
    def refuse(error: ScorelineError) -> Answer:
        return plain_refusal(error, "error")

    def _asked(self, found: dict[str, Any]) -> Asked:
        given_id, wanted = found.get("id"), found.get("outputs") or []
        if given_id is not None and not _is_id(given_id):
            raise Malformed(f"id is a text of at most {MAX_ID} characters")
        if not isinstance(wanted, list):
            raise Malformed("outputs is an array")
        asked = parameters(found)
        if not wanted:
            in_bytes = asked.get("binary_data_output") is True
            return Asked(given_id, dict.fromkeys(self._outputs, in_bytes))
        outputs: dict[str, bool] = {}
        for output in wanted:
            name = output.get("name") if isinstance(output, dict) else None
            if not isinstance(name, str) or name not in self._outputs:
                raise Malformed(f"the outputs of this model are {', '.join(self._outputs)}")
            outputs[name] = parameters(output).get("binary_data") is True
        return Asked(given_id, outputs)

    def _columns(self, tensors: list[Tensor], n_rows: int) -> dict[str, Column]:
        only = tensors[0]
        width = len(self._fields)
        if len(tensors) == 1 and only.shape == (n_rows, width) and (width > 1 or only.name not in self._fields):
            return {name: only.values[position::width] for position, name in enumerate(self._fields)}
        if any(tensor.shape not in ((n_rows,), (n_rows, 1)) for tensor in tensors):
            raise Malformed(f"an input is a field, [n] or [n, 1], or one input is all fields, [n, {width}]")
        return {tensor.name: tensor.values for tensor in tensors}

    def _output(
        self, name: str, decisions: Decisions, n_rows: int
    ) -> tuple[dict[str, Any], Callable[[], list[Any]], Callable[[], bytes]]:
        if name == PREDICTION_ID:
            head = {"name": name, "datatype": BYTES, "shape": [n_rows]}
            return head, lambda: prediction_ids(decisions), lambda: _id_bytes(decisions)
        if name == OUTCOME:
            names = decisions.author.outcomes
            texts = [names[code] for code in decisions.outcomes]
            head = {"name": name, "datatype": BYTES, "shape": [n_rows]}
            return head, lambda: texts, lambda: text_bytes([text.encode() for text in texts])
        scores = decisions.scores
        shape = [n_rows] if scores.shape[1] == 1 else [*scores.shape]
        head = {"name": name, "datatype": "FP64", "shape": shape}
        return head, lambda: scores.ravel().tolist(), lambda: scores.astype("<f8").tobytes()


def metadata(manifest: Manifest, versions: Sequence[str]) -> dict[str, Any]:
    """What `GET /v2/models/{name}` answers: inputs and outputs with datatype and shape, -1 for the number of rows."""
    return {
        "name": manifest.name,
        "versions": versions,
        "platform": "scoreline",
        "inputs": [
            {"name": field.name, "datatype": _datatype(field.type, field.categories), "shape": [-1]}
            for field in manifest.schema.fields
            if field.source == "request"
        ],
        "outputs": outputs(manifest),
    }


def as_tensors(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row as input tensors in JSON."""
    return [
        {"name": name, "shape": [1], "datatype": _datatype_of(value), "data": [value]} for name, value in row.items()
    ]


def outputs(manifest: Manifest) -> list[dict[str, Any]]:
    """The output tensors of a model: its score, its outcome where it has one, and the ids to report outcomes by."""
    shape = [-1, len(manifest.classes)] if manifest.classes else [-1]
    found: list[dict[str, Any]] = [{"name": manifest.output, "datatype": "FP64", "shape": shape}]
    if manifest.policy.outcomes:
        found.append({"name": OUTCOME, "datatype": BYTES, "shape": [-1]})
    return [*found, {"name": PREDICTION_ID, "datatype": BYTES, "shape": [-1]}]


def _is_id(given: object) -> bool:
    """Whether it can stand in an answer: a lone surrogate has no UTF-8."""
    return isinstance(given, str) and len(given) <= MAX_ID and not _SURROGATE.search(given)


def _id_bytes(decisions: Decisions) -> bytes:
    """The ids as a BYTES tensor: all of one length, all but the end the same."""
    shared, endings = ids.texts(decisions.base, len(decisions))
    start = text_bytes([(shared + endings[0]).encode()])[: -len(endings[0])].decode()
    return (start + start.join(endings)).encode()


def _datatype_of(value: object) -> str:
    return {bool: "BOOL", int: "INT64", str: BYTES}.get(type(value), "FP64")


def _datatype(kind: str, categories: tuple[Any, ...]) -> str:
    if kind == "category":
        return BYTES if isinstance(categories[0], str) else "INT64"
    return _DATATYPES[kind]


def _parts(headers: Mapping[bytes, bytes], body: Body) -> tuple[Body, memoryview]:
    """The JSON of a request, and the bytes that follow it."""
    given = headers.get(JSON_LENGTH)
    if given is None:
        return body, memoryview(b"")
    if not given.isdigit() or len(given) > 20 or int(given) > len(body):
        raise Malformed("Inference-Header-Content-Length is the length of the JSON before the tensors")
    return body[: int(given)], memoryview(body)[int(given) :]
