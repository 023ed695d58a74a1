"""Every route of the data plane by FastAPI: docs, models, health, and the prediction routes as they are declared."""

from collections.abc import Mapping
from typing import Any, Final

from fastapi import FastAPI, Request, Response

import scoreline
from scoreline.access.caller import Caller
from scoreline.access.scopes import DATA_PLANE
from scoreline.doors.http.door import Door
from scoreline.doors.http.openapi import answers_schema, request_body
from scoreline.doors.http.own import OwnDialect
from scoreline.doors.http.protocols import add_protocols, in_protocols_words, predict_as_declared, protocol_bodies
from scoreline.doors.http.served import Served
from scoreline.web.routes import Routes, add_docs, add_health, new_app

REFUSALS: Final = (400, 404, 409, 413, 415, 422, 429, 500, 503)
NAMED: Final = "/models/{name}/predict"
DESCRIPTION: Final = "Scores rows with sealed models. Every answer is recorded before it is given."


def make_pages(door: Door) -> FastAPI:
    """The app behind the hot routes; it describes the models the door has at the time it is asked."""
    app = new_app("Scoreline", DESCRIPTION, scoreline.__version__, in_protocols_words)
    routes = Routes(app, DATA_PLANE, lambda: door.keyring, door.guesses)
    add_health(routes, lambda: door.ready)
    add_docs(routes, app, lambda declared, caller: with_models(declared, door, caller))
    _add_models(routes, door)
    _add_predictions(routes, door)
    add_protocols(routes, door)
    return app


def _add_models(routes: Routes, door: Door) -> None:
    async def models(request: Request) -> dict[str, Any]:
        """The models served here that the caller may use: versions, roles, and shares of the requests."""
        return {
            "models": [
                {
                    "name": name,
                    "version": model.manifest.version,
                    "role": "champion",
                    "default": name == door.default,
                    "versions": _roles(model),
                }
                for name, model in sorted(door.models_for(request.state.caller).items())
            ]
        }

    async def model(name: str) -> dict[str, Any]:
        """One model: digest, output, outcomes, and its input schema with types, units, ranges and defaults."""
        return _describe(door.model(name))

    routes.add("GET", "/models", models, tags=["models"])
    routes.add("GET", "/models/{name}", model, refusals=(404,), tags=["models"])


def _roles(model: Served) -> list[dict[str, Any]]:
    """Every version that answers; one in the role `pinned` has no share, it answers those who were promised it."""
    return [
        {
            "version": version.manifest.version,
            "role": version.role,
            "share": version.share,
            "digest": version.manifest.digest,
        }
        for version in model.versions
    ]


def _describe(model: Served) -> dict[str, Any]:
    manifest = model.manifest
    return {
        "name": manifest.name,
        "version": manifest.version,
        "role": "champion",
        "digest": manifest.digest,
        "output": manifest.output,
        "classes": list(manifest.classes),
        "outcomes": list(manifest.policy.outcomes),
        "thresholds": list(manifest.policy.thresholds),
        "schema": manifest.schema.to_json(),
        "versions": _roles(model),
    }


def _add_predictions(routes: Routes, door: Door) -> None:
    """`/predict`, and the route of every named model, by the same door."""

    async def predict(request: Request) -> Response:
        """Scores one row, or an array of rows, with the default model."""
        return await predict_as_declared(door, OwnDialect, request)

    async def predict_named(name: str, request: Request) -> Response:
        return await predict_as_declared(door, OwnDialect, request, name)

    routes.add("POST", "/predict", predict, refusals=REFUSALS, tags=["predictions"])
    routes.add("POST", NAMED, predict_named, include_in_schema=False)


def with_models(declared: dict[str, Any], door: Door, caller: Caller) -> dict[str, Any]:
    """The OpenAPI of the models a caller may use: every body with their fields, and a path of our own for each."""
    models, paths = door.models_for(caller), dict(declared["paths"])
    operation = paths["/predict"]["post"]
    if door.default in models:
        paths["/predict"] = {"post": {**operation, **_described(operation, models[door.default])}}
    for name, model in sorted(models.items()):
        words = {
            "summary": f"Predict with {name}",
            "description": f"Scores one row, or an array of rows, with {name}.",
            "operationId": f"predict_{name}",
        }
        path = NAMED.format(name=name)
        paths[path] = {"post": {**operation, **words, **_described(operation, model)}}
    if models:
        shown = models[door.default if door.default in models else min(models)].manifest
        for path, body in protocol_bodies(list(models.values()), shown).items():
            paths[path] = {"post": with_body(paths[path]["post"], *body)}
    named = {
        path: {method: with_names(found, models) for method, found in item.items()} for path, item in paths.items()
    }
    return {**declared, "paths": named}


def with_body(operation: dict[str, Any], schema: Any, example: Any) -> dict[str, Any]:
    content = {kind: {"schema": schema, "example": example} for kind in operation["requestBody"]["content"]}
    return {**operation, "requestBody": {**operation["requestBody"], "content": content}}


def with_names(operation: dict[str, Any], models: Mapping[str, Served]) -> dict[str, Any]:
    """An operation whose path names a model, or its version, with those that are served."""
    versions = sorted({version for found in models.values() for version in found.by_number})
    known = {"name": sorted(models), "version": versions}
    parameters = [
        {**given, "schema": {**given["schema"], "enum": known[given["name"]]}} if known.get(given["name"]) else given
        for given in operation.get("parameters", ())
    ]
    return {**operation, "parameters": parameters} if parameters else operation


def _described(operation: dict[str, Any], model: Served) -> dict[str, Any]:
    answers = answers_schema([model.manifest, *(version.manifest for version in model.versions)])
    scored = {"description": "Scored", "content": {"application/json": {"schema": answers}}}
    return {"requestBody": request_body(model.manifest), "responses": {**operation["responses"], "200": scored}}
