"""The control plane's route for what really happened."""

import time
from typing import Any, Final

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from scoreline.access.caller import Caller
from scoreline.core.entities import MAX_INTEGER, MAX_LENGTH, PATTERN
from scoreline.core.errors import Malformed, TooLarge
from scoreline.core.strictjson import strict_json
from scoreline.operations.outcomes import Reported, report_outcomes
from scoreline.records.database import Database
from scoreline.settings import Settings
from scoreline.web.asgi import read_body
from scoreline.web.routes import Routes
from scoreline.wiring import entity_key

_TIME: Final = {"type": "string", "format": "date-time"}
_VALUE: Final = {
    "description": "What is known: a number, true or false, or the name of a class.",
    "anyOf": [{"type": "number"}, {"type": "boolean"}, {"type": "string", "minLength": 1, "maxLength": MAX_LENGTH}],
}
_OBSERVED: Final = {"anyOf": [_TIME, {"type": "null"}], "description": "Since when it is known; else now."}
_ENTITY: Final = {
    "anyOf": [
        {"type": "string", "minLength": 1, "maxLength": MAX_LENGTH, "pattern": PATTERN},
        {"type": "integer", "minimum": -MAX_INTEGER, "maximum": MAX_INTEGER},
    ],
    "description": "Whom it is about, as in the rows that were scored.",
}


def add_outcomes_route(routes: Routes, settings: Settings, database: Database) -> None:
    """`POST /outcomes`: one object or an array, all kept or none."""
    key, server = entity_key(settings), settings.server

    def keep(rows: list[Any], caller: Caller) -> Reported:
        database.prepare_once()
        return report_outcomes(database, rows, key, caller.name, time.time_ns(), caller.models)

    async def outcomes(request: Request) -> Reported:
        """Actual outcomes of predictions: by prediction id, or by model, entity and event time."""
        body = await read_body(dict(request.headers.raw), request.receive, server.max_body_bytes, lambda _: None)
        rows = _rows(body or b"")
        if len(rows) > server.max_rows:
            raise TooLarge(f"one request has at most {server.max_rows} outcomes; send several, or import a file")
        return await run_in_threadpool(keep, rows, request.state.caller)

    routes.add(
        "POST",
        "/outcomes",
        outcomes,
        refusals=(400, 413, 422, 503),
        response_model=Reported,
        tags=["outcomes"],
        openapi_extra={"requestBody": {"required": True, "content": {"application/json": {"schema": _schema()}}}},
    )


def _rows(body: bytes) -> list[Any]:
    try:
        found = strict_json(body)
    except ValueError as error:
        raise Malformed(f"the body is not JSON: {error}") from None
    rows = found if isinstance(found, list) else [found]
    if not rows:
        raise Malformed("there are no outcomes; send an object, or an array of at least one")
    return rows


def _schema() -> dict[str, Any]:
    by_id = {"prediction_id": {"type": "string", "format": "uuid"}}
    by_entity = {"model": {"type": "string"}, "entity": _ENTITY, "event_time": _TIME}
    kinds = [
        {
            "type": "object",
            "properties": {**names, "value": _VALUE, "observed_at": _OBSERVED},
            "required": [*names, "value"],
            "additionalProperties": False,
        }
        for names in (by_id, by_entity)
    ]
    return {"anyOf": [*kinds, {"type": "array", "minItems": 1, "items": {"anyOf": kinds}}]}
