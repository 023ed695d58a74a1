"""The routes of the protocols that callers already speak, as FastAPI declares them."""

import json
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from fastapi import Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse

import scoreline
from scoreline.core.errors import NotFound, ScorelineError
from scoreline.core.manifest import Manifest
from scoreline.doors.http.dialect import JSON, Dialect
from scoreline.doors.http.door import Door
from scoreline.doors.http.kserve import KServeDialect
from scoreline.doors.http.mlflow import MlflowDialect
from scoreline.doors.http.openapi import example_row, instances_schema, invocations_schema, tensors_schema
from scoreline.doors.http.openinference import OpenInferenceDialect, as_tensors, metadata
from scoreline.doors.http.served import Served
from scoreline.web.asgi import CLOSE, Answer, health, named, read_body
from scoreline.web.routes import Handler, Responses, Routes, as_response

EXTENSIONS: Final = ["binary_tensor_data"]
_PREDICTIONS: Final = {
    "properties": {
        "predictions": {"type": "array"},
        "outcomes": {"type": "array", "items": {"type": "string"}},
        "prediction_ids": {"type": "array", "items": {"type": "string", "format": "uuid"}},
        "model": {"type": "string"},
        "version": {"type": "string"},
    },
    "required": ["predictions", "prediction_ids", "model", "version"],
}
_TENSORS: Final = {
    "properties": {
        "model_name": {"type": "string"},
        "model_version": {"type": "string"},
        "id": {"type": "string"},
        "parameters": {"type": "object"},
        "outputs": {"type": "array", "items": {"type": "object", "required": ["name", "shape", "datatype"]}},
    },
    "required": ["model_name", "model_version", "outputs"],
}
_V2: Final = ["Open Inference v2"]


async def predict_as_declared(
    door: Door, dialect: type[Dialect], request: Request, name: str = "", version: str = ""
) -> Response:
    """What the hot routes do, for a route that FastAPI answers; an unknown model is refused in the dialect's words."""
    headers = dict(request.headers.raw)
    try:
        door.model(name, version)
        endpoint = door.hot(request.scope["path"])
        if endpoint is None:
            raise NotFound("no such model is served here; GET /models lists those that are")
        await door.ask(endpoint, request.scope, headers)
        body = await read_body(
            headers, request.receive, door.max_body_bytes, partial(door.enter, endpoint, request.scope)
        )
    except ScorelineError as error:
        answer = door.told(request.scope, named(dialect.refuse(error), headers))
        answer[1].append(CLOSE)
        return as_response(answer)
    return as_response(await door.answer(endpoint, request.scope, body or b""))


def in_protocols_words(path: str, answer: Answer) -> Answer:
    """A problem+json as the protocol of its path says it; v1 and v2 have an object with `error`."""
    if not f"{path}/".startswith(("/v1/", "/v2/")):
        return answer
    status, headers, body = answer
    raw = json.dumps({"error": json.loads(body)["detail"]}).encode()
    others = [header for header in headers if header[0] not in (b"content-type", b"content-length")]
    return status, [(b"content-type", JSON), (b"content-length", b"%d" % len(raw)), *others], raw


def add_protocols(routes: Routes, door: Door) -> None:
    """KServe v1, the Open Inference Protocol v2, and MLflow's scoring server, which is SageMaker's protocol too."""
    _add_kserve(routes, door)
    _add_open_inference(routes, door)
    _add_tensors(routes, door)
    _add_mlflow(routes, door)


def _add_kserve(routes: Routes, door: Door) -> None:
    described = _described({"required": ["instances"]}, _PREDICTIONS)

    async def models(request: Request) -> dict[str, Any]:
        return {"models": sorted(door.models_for(request.state.caller))}

    async def model(name: str) -> JSONResponse:
        return _ready(door, name)

    async def predict(name: str, request: Request) -> Response:
        """KServe v1: `instances`, each an object of fields or an array in their order."""
        return await predict_as_declared(door, KServeDialect, request, name)

    routes.add("GET", "/v1/models", models, tags=["KServe v1"], responses=_refused(400, 401, 403, 429))
    routes.add("GET", "/v1/models/{name}", model, tags=["KServe v1"], responses=_refused(400, 401, 403, 429, 404, 503))
    routes.add("POST", "/v1/models/{name}:predict", predict, tags=["KServe v1"], **described)


def _add_open_inference(routes: Routes, door: Door) -> None:
    async def server() -> dict[str, Any]:
        return {"name": "scoreline", "version": scoreline.__version__, "extensions": EXTENSIONS}

    async def live() -> Response:
        return as_response(health(live_only=True, ready=door.ready))

    async def ready() -> Response:
        answer = health(live_only=False, ready=door.ready)
        return as_response(answer if door.ready else in_protocols_words("/v2", answer))

    routes.add("GET", "/v2", server, tags=_V2, responses=_refused(400, 401, 403, 429))
    routes.add("GET", "/v2/health/live", live, tags=_V2)
    routes.add("GET", "/v2/health/ready", ready, tags=_V2, responses=_refused(503))


def _add_tensors(routes: Routes, door: Door) -> None:
    async def model(name: str) -> dict[str, Any]:
        """Inputs and outputs with datatype and shape."""
        served = door.model(name)
        return metadata(served.manifest, list(served.by_number))

    async def model_ready(name: str) -> JSONResponse:
        return _ready(door, name)

    async def infer(name: str, request: Request) -> Response:
        """Open Inference Protocol v2: tensors in JSON, or as bytes behind it."""
        return await predict_as_declared(door, OpenInferenceDialect, request, name)

    async def version(name: str, version: str) -> dict[str, Any]:
        served = door.model(name, version)
        return metadata(served.by_number[version], list(served.by_number))

    async def version_ready(name: str, version: str) -> JSONResponse:
        return _ready(door, name, version)

    async def infer_version(name: str, version: str, request: Request) -> Response:
        return await predict_as_declared(door, OpenInferenceDialect, request, name, version)

    described = _described({"required": ["inputs"]}, _TENSORS)
    handlers: dict[str, tuple[Handler, Handler, Handler]] = {
        "/v2/models/{name}": (model, model_ready, infer),
        "/v2/models/{name}/versions/{version}": (version, version_ready, infer_version),
    }
    for path, (shown, is_ready, scored) in handlers.items():
        routes.add("GET", path, shown, tags=_V2, responses=_refused(400, 401, 403, 429, 404))
        routes.add("GET", f"{path}/ready", is_ready, tags=_V2, responses=_refused(400, 401, 403, 429, 404, 503))
        routes.add("POST", f"{path}/infer", scored, tags=_V2, **described)


def _add_mlflow(routes: Routes, door: Door) -> None:
    async def ping() -> Response:
        """200 while this process answers."""
        return as_response(health(live_only=False, ready=door.ready))

    async def version() -> PlainTextResponse:
        return PlainTextResponse(scoreline.__version__)

    async def invocations(request: Request) -> Response:
        """MLflow's scoring server, and SageMaker: a data frame, `instances` or `inputs` in JSON, or CSV."""
        return await predict_as_declared(door, MlflowDialect, request)

    described = _described({}, _PREDICTIONS)
    routes.add("GET", "/ping", ping, refusals=(503,), tags=["MLflow and SageMaker"])
    routes.add("GET", "/health", ping, refusals=(503,), tags=["MLflow and SageMaker"])
    routes.add("GET", "/version", version, response_class=PlainTextResponse, tags=["MLflow and SageMaker"])
    routes.add("POST", "/invocations", invocations, tags=["MLflow and SageMaker"], **described)


def _ready(door: Door, name: str, version: str = "") -> JSONResponse:
    """Whether a model answers, by the status too: not every balancer reads a body."""
    found = {"name": door.model(name, version).manifest.name, "ready": door.ready}
    return JSONResponse(found, 200 if door.ready else 503)


def protocol_bodies(served: Sequence[Served], shown: Manifest) -> dict[str, tuple[Any, Any]]:
    """The body of each prediction route: its JSON Schema, and an example of one row that works for the model shown."""
    row = example_row(shown)
    manifests = [model.manifest for model in served]
    versions = [manifest for model in served for manifest in model.by_number.values()]
    example = {"inputs": as_tensors(row)}
    return {
        "/v1/models/{name}:predict": (instances_schema(manifests), {"instances": [row]}),
        "/v2/models/{name}/infer": (tensors_schema(manifests), example),
        "/v2/models/{name}/versions/{version}/infer": (tensors_schema(versions), example),
        "/invocations": (invocations_schema(shown), {"dataframe_records": [row]}),
    }


def _described(body: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    """What OpenAPI says of a prediction route: its body, its answer, its refusals."""
    asked = {"application/json": {"schema": {"type": "object", **body}}}
    scored = {"description": "Scored", "content": {"application/json": {"schema": {"type": "object", **answer}}}}
    return {
        "openapi_extra": {"requestBody": {"required": True, "content": asked}},
        "responses": {200: scored, **_refused(400, 401, 403, 429, 404, 409, 413, 415, 422, 429, 500, 503)},
    }


def _refused(*statuses: int) -> Responses:
    """These refusals as the `responses` of a route that answers them in its protocol's words."""
    content = {"application/json": {"schema": {"type": "object"}}}
    return {status: {"description": "Refused, with every problem by field", "content": content} for status in statuses}
