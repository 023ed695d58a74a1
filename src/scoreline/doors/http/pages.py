"""Every route of the data plane by FastAPI: docs, models, health, and the prediction routes as they are declared."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from fastapi import FastAPI, Request, Response

import scoreline
from scoreline.access.scopes import DATA_PLANE
from scoreline.core.manifest import Manifest
from scoreline.doors.http.app import Door
from scoreline.doors.http.openapi import answer_schema, request_body
from scoreline.doors.http.own import OwnDialect
from scoreline.doors.http.protocols import add_protocols, predict_as_declared
from scoreline.web.routes import Routes, add_docs, add_health, new_app

NAMED: Final = "/models/{name}/predict"
DESCRIPTION: Final = "Scores rows with sealed models. Every answer is recorded before it is given."


def make_pages(door: Door) -> FastAPI:
    """The app behind the hot routes, described for the models the door has now."""
    app = new_app("Scoreline", DESCRIPTION, scoreline.__version__)
    routes = Routes(app, DATA_PLANE, lambda: door.keyring)
    add_health(routes, lambda: door.ready)
    add_docs(routes, app)
    _add_models(routes, door)
    _add_predictions(routes, door)
    add_protocols(routes, door)
    return app


def _add_models(routes: Routes, door: Door) -> None:
    async def models() -> dict[str, Any]:
        """The models served here: versions and roles."""
        return {
            "models": [
                {
                    "name": name,
                    "version": model.manifest.version,
                    "role": "champion",
                    "default": name == door.default,
                }
                for name, model in sorted(door.models.items())
            ]
        }

    async def model(name: str) -> dict[str, Any]:
        """One model: digest, output, outcomes, and its input schema with types, units, ranges and defaults."""
        return _describe(door.model(name).manifest)

    routes.add("GET", "/models", models, tags=["models"])
    routes.add("GET", "/models/{name}", model, tags=["models"])


def _describe(manifest: Manifest) -> dict[str, Any]:
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
    }


def _add_predictions(routes: Routes, door: Door) -> None:
    """`/predict` and one path per model, each with its model's own fields; any other name is a 404 by the same door."""

    async def predict(request: Request) -> Response:
        """Scores one row, or an array of rows, with the default model."""
        return await predict_as_declared(door, OwnDialect, request)

    async def predict_named(name: str, request: Request) -> Response:
        return await predict_as_declared(door, OwnDialect, request, name)

    def predict_with(name: str) -> Callable[[Request], Awaitable[Response]]:
        async def predict_this(request: Request) -> Response:
            return await predict_as_declared(door, OwnDialect, request, name)

        predict_this.__doc__ = f"Scores one row, or an array of rows, with {name}."
        return predict_this

    default = door.models.get(door.default)
    described = _described(default.manifest) if default else {}
    routes.add("POST", "/predict", predict, tags=["predictions"], **described)
    for name, model in sorted(door.models.items()):
        described = _described(model.manifest)
        path, summary = NAMED.format(name=name), f"Predict with {name}"
        routes.add("POST", NAMED, predict_with(name), path=path, summary=summary, tags=["predictions"], **described)
    routes.add("POST", NAMED, predict_named, include_in_schema=False)


def _described(manifest: Manifest) -> dict[str, Any]:
    refused = {"description": "Refused: problem+json (RFC 9457) with every problem by field"}
    scored = {"description": "Scored", "content": {"application/json": {"schema": answer_schema(manifest)}}}
    return {
        "openapi_extra": {"requestBody": request_body(manifest)},
        "responses": {200: scored, 400: refused, 413: refused, 415: refused, 422: refused, 503: refused},
    }
