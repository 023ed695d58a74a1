"""The routes of the real apps are exactly those of the table of scopes, and each is behind its scope."""

import asyncio
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from atonce import AtOnce
from scoreline.access.keyring import Keyring
from scoreline.access.scopes import CONTROL_PLANE, DATA_PLANE, PUBLIC, SCOPES
from scoreline.control.steward import Steward, make_control_app
from scoreline.core.scorer import Scorer
from scoreline.doors.http.app import App
from scoreline.doors.http.door import Door
from scoreline.doors.http.openinference import as_tensors
from scoreline.doors.http.pages import make_pages
from scoreline.doors.http.served import serve_model
from scoreline.engines.load import load_engine
from scoreline.operations.state import State, write_state
from scoreline.settings import Access, Settings
from scoreline.web.asgi import ASGI
from scoreline.web.routes import Routes, new_app
from service import FRAUD_ROW, SealedModel
from somekeys import caller, ring

ADMIN_KEY = "an-admin-key-of-some-length"
KEYS = {scope: caller(scope, scope) for scope in SCOPES}


def data_plane(sealed: SealedModel) -> tuple[ASGI, FastAPI, Door]:
    door = Door(10_000, AtOnce())
    bundle = sealed.bundle
    served = serve_model(bundle.manifest, Scorer(bundle.manifest, load_engine(bundle)), 50)
    door.open({"fraud": served}, "fraud", ring(KEYS))
    pages = make_pages(door)
    return App(door, pages), pages, door


def control_plane(folder: Path) -> FastAPI:
    write_state(folder, State({}))
    return make_control_app(Steward(Settings(state_dir=str(folder), access=Access(admin_key=ADMIN_KEY))))


def routes_of(app: FastAPI) -> set[tuple[str, str]]:
    found = set()
    for route in app.routes:
        assert isinstance(route, APIRoute), f"{route} is not declared with a scope"
        found |= {(method, route.path) for method in route.methods}
    return found


def concrete(path: str) -> str:
    return (
        path.replace("{name}", "fraud")
        .replace("{file}", "swagger-ui.css")
        .replace("{version}", "1")
        .replace("{id}", "none")
        .replace("{number}", "7")
    )


BODIES: dict[str, object] = {
    ":predict": {"instances": [FRAUD_ROW]},
    "/infer": {"inputs": as_tensors(FRAUD_ROW)},
    "/invocations": {"dataframe_records": [FRAUD_ROW]},
}


def status_of(app: ASGI, method: str, path: str, key: str) -> int:
    async def go() -> int:
        transport = httpx.ASGITransport(app=app)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            headers = {"x-api-key": key} if key else {}
            body = next((body for ending, body in BODIES.items() if path.endswith(ending)), FRAUD_ROW)
            sent = {"json": body} if method == "POST" else {}
            return (await client.request(method, concrete(path), headers=headers, **sent)).status_code

    return asyncio.run(go())


def test_the_data_planes_routes_are_exactly_those_of_the_table(sealed: SealedModel) -> None:
    _, pages, door = data_plane(sealed)
    declared = {(method, path.replace("/models/fraud/", "/models/{name}/")) for method, path in routes_of(pages)}
    assert declared == set(DATA_PLANE)
    hot = {path for method, path in DATA_PLANE if method == "POST" and door.hot(concrete(path))}
    assert hot == {path for method, path in DATA_PLANE if DATA_PLANE[method, path] == "predict"}


def test_the_control_planes_routes_are_exactly_those_of_the_table(tmp_path: Path) -> None:
    assert routes_of(control_plane(tmp_path)) == set(CONTROL_PLANE)


@pytest.mark.parametrize("scope", ("", "unknown", *SCOPES))
@pytest.mark.parametrize("route", DATA_PLANE, ids=lambda route: " ".join(route))
def test_each_data_route_opens_to_its_scope_and_to_no_other(
    sealed: SealedModel, route: tuple[str, str], scope: str
) -> None:
    app, _, _ = data_plane(sealed)
    wanted = DATA_PLANE[route]
    expected = 200 if wanted in (PUBLIC, scope) else 403 if scope in SCOPES else 401
    assert status_of(app, *route, scope) == expected


@pytest.mark.parametrize("key", ("", "unknown", ADMIN_KEY))
@pytest.mark.parametrize("route", CONTROL_PLANE, ids=lambda route: " ".join(route))
def test_each_control_route_but_health_needs_a_key(route: tuple[str, str], key: str, tmp_path: Path) -> None:
    acts = route[0] == "POST" and not route[1].endswith("/verdict")  # a row is no body of theirs
    there = 404 if "{id}" in route[1] or route[1].startswith("/budget/") else 422 if route[0] == "POST" else 200
    if route[1].startswith(("/rollouts/", "/keys/", "/drift/")) or route == ("POST", "/keys"):
        there = 400 if acts else 404
    expected = there if CONTROL_PLANE[route] == PUBLIC or key == ADMIN_KEY else 401
    assert status_of(control_plane(tmp_path), *route, key) == expected


def test_every_scope_of_the_tables_is_one_a_key_can_have() -> None:
    assert {*DATA_PLANE.values(), *CONTROL_PLANE.values()} <= {PUBLIC, *SCOPES}


def test_only_health_is_public() -> None:
    public = {path for table in (DATA_PLANE, CONTROL_PLANE) for (_, path), scope in table.items() if scope == PUBLIC}
    health = {"/healthz/live", "/healthz/ready", "/healthz/startup", "/v2/health/live", "/v2/health/ready"}
    assert public == health | {"/ping", "/health", "/version"}


def test_a_route_the_table_does_not_know_cannot_be_declared() -> None:
    async def anything() -> None: ...

    with pytest.raises(KeyError):
        Routes(new_app("x", "x", "1"), DATA_PLANE, Keyring).add("GET", "/secret", anything)
