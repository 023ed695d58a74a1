"""The control plane's routes on keys, and on what admins did: as `scoreline keys` and `scoreline audit actions`."""

import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Final

from fastapi import Path as InPath
from fastapi import Query, Request
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from scoreline.access.caller import NORMAL, PRIORITIES
from scoreline.access.peers import Network, client_address, networks
from scoreline.access.scopes import SCOPES
from scoreline.core.errors import Malformed
from scoreline.core.strictjson import strict_json
from scoreline.operations.acted import acted
from scoreline.operations.apikeys import GRACE_S, MAX_DAYS, MAX_GRACE_S, Made, create, grant_of, listed, revoke, rotate
from scoreline.records.actions import By
from scoreline.records.database import Database
from scoreline.settings import Settings
from scoreline.web.asgi import read_body
from scoreline.web.routes import Routes

TAGS: Final = ["keys"]
MOST: Final = 1000
REFUSALS: Final = (400, 404, 413, 422, 503)
_TEXT: Final = {"type": "string", "minLength": 1, "maxLength": 100}
_TEXTS: Final = {"type": "array", "minItems": 1, "items": _TEXT}
_CREATE: Final[Mapping[str, Any]] = {
    "name": {**_TEXT, "description": "The caller's name, as it stands in the record."},
    "scopes": {**_TEXTS, "items": {"type": "string", "enum": list(SCOPES)}},
    "models": {**_TEXTS, "description": "Models it is for; left out: every one."},
    "priority": {"type": "string", "enum": list(PRIORITIES), "default": NORMAL},
    "expires_days": {"type": "integer", "minimum": 1, "maximum": MAX_DAYS},
}
_ROTATE: Final[Mapping[str, Any]] = {
    "grace_s": {"type": "integer", "minimum": 0, "maximum": MAX_GRACE_S, "default": GRACE_S}
}
Number = Annotated[int, InPath(alias="number", description="Number of the key.", ge=1)]
Limit = Annotated[int, Query(description="The newest so many.", ge=1, le=MOST)]


def add_keys(routes: Routes, database: Database, settings: Settings) -> None:
    """A key is in one answer only, the one to whoever makes it."""
    by = partial(_by, networks(settings.server.trusted_proxies), settings.server.forwarded_header)
    given = partial(_given, settings.server.max_body_bytes)

    def keys() -> Any:
        """Every key: what it opens, whether it counts, who made it, and when it was last used."""
        return {"keys": listed(_prepared(database), time.time_ns())}

    async def make(request: Request) -> JSONResponse:
        """A new key, told here once."""
        found = await given(request, _CREATE)
        if not {"name", "scopes"} <= found.keys():
            raise Malformed("the body has name and scopes")
        grant = grant_of(**{"models": None, **found}, now_ns=time.time_ns())
        return _told(await run_in_threadpool(lambda: create(_prepared(database), grant, by(request))))

    async def end(request: Request, number: Number) -> Any:
        """The key ends, on every host within seconds."""
        await given(request, {})
        await run_in_threadpool(lambda: revoke(_prepared(database), number, by(request)))
        return {"number": number, "state": "revoked"}

    async def renew(request: Request, number: Number) -> JSONResponse:
        """A new key that opens the same, told here once; the old one ends after `grace_s`."""
        found = await given(request, _ROTATE)
        return _told(await run_in_threadpool(lambda: rotate(_prepared(database), number, by(request), **found)))

    def actions(limit: Limit = 50) -> Any:
        """What admins did, the newest first: keys, rollouts, holds, erasures, exports."""
        return {"actions": acted(_prepared(database), limit)}

    routes.add("GET", "/keys", keys, refusals=(503,), tags=TAGS)
    routes.add("POST", "/keys", make, refusals=REFUSALS, tags=TAGS, openapi_extra=_body(_CREATE, "name", "scopes"))
    routes.add("POST", "/keys/{number}/revoke", end, refusals=REFUSALS, tags=TAGS, openapi_extra=_body({}))
    routes.add("POST", "/keys/{number}/rotate", renew, refusals=REFUSALS, tags=TAGS, openapi_extra=_body(_ROTATE))
    routes.add("GET", "/actions", actions, refusals=(422, 503), tags=["actions"])


def _prepared(database: Database) -> Database:
    database.prepare_once()
    return database


def _told(made: Made) -> JSONResponse:
    """What nobody on its way may keep."""
    return JSONResponse({"number": made.number, "key": made.key}, headers={"Cache-Control": "no-store"})


def _by(trusted: Sequence[Network], header: str, request: Request) -> By:
    peer = request.client.host if request.client else ""
    return By(request.state.caller.name, client_address(peer, request.headers.raw, trusted, header))


async def _given(max_body_bytes: int, request: Request, known: Mapping[str, Any]) -> dict[str, Any]:
    """The members of a body, which may be empty, as far as their kinds go; raises Malformed or TooLarge."""
    body = await read_body(dict(request.headers.raw), request.receive, max_body_bytes, lambda _: None)
    try:
        found = strict_json(body) if body else {}
    except ValueError as error:
        raise Malformed(f"the body is not JSON: {error}") from None
    if not isinstance(found, dict) or not found.keys() <= known.keys():
        raise Malformed(f"the body is an object of {', '.join(known) or 'nothing'}")
    for name, value in found.items():
        if not _is_of(value, known[name]):
            raise Malformed(f"{name}: not of the kind that this route takes")
    return found


def _is_of(value: Any, schema: Mapping[str, Any]) -> bool:
    if schema["type"] == "array":
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    return isinstance(value, str) if schema["type"] == "string" else type(value) is int


def _body(properties: Mapping[str, Any], *required: str) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object", "properties": dict(properties), "additionalProperties": False}
    if required:
        schema["required"] = list(required)
    return {"requestBody": {"required": bool(required), "content": {"application/json": {"schema": schema}}}}
