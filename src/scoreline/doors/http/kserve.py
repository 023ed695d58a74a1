"""KServe's protocol, version 1: `POST /v1/models/{name}:predict` with `instances`."""

from collections.abc import Mapping

from scoreline.core.batch import Batch, Context
from scoreline.core.decision import Decisions
from scoreline.core.errors import Malformed, ScorelineError
from scoreline.core.schema import Schema
from scoreline.core.strictjson import Body
from scoreline.doors.http.dialect import JSON, check_json_type, plain_refusal
from scoreline.doors.http.instances import only_keys, predictions, read_instances, read_object
from scoreline.web.asgi import Answer, Headers


class KServeDialect:
    """A `dialect.Dialect`; refusals are an object with `error`."""

    def __init__(self, schema: Schema, max_rows: int) -> None:
        self._schema = schema
        self._max_rows = max_rows

    def check_type(self, headers: Mapping[bytes, bytes]) -> None:
        check_json_type(headers)

    def read(self, _: Mapping[bytes, bytes], body: Body, context: Context) -> tuple[Batch, None]:
        found = read_object(body, self._schema, self._max_rows)
        only_keys(found, "instances", "parameters")
        if found.get("parameters"):
            raise Malformed("this model takes no parameters")
        return read_instances(self._schema, found.get("instances"), self._max_rows, context), None

    def write(self, decisions: Decisions, _: None) -> tuple[Headers, bytes]:
        return [(b"content-type", JSON)], predictions(decisions)

    @staticmethod
    def refuse(error: ScorelineError) -> Answer:
        return plain_refusal(error, "error")
