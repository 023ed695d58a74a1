"""Escapes from scopes and models on every route of both planes, and another caller's decision.

The tables of scopes are walked: a route that is new is asked too, or a test fails for not knowing how.
"""

import asyncio
import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import httpx
import pytest

from atonce import AtOnce
from scoreline.access.caller import Caller
from scoreline.access.hosts import names
from scoreline.access.keyring import Keyring
from scoreline.access.scopes import CONTROL_PLANE, DATA_PLANE, OF_OWN_MODELS, PUBLIC, SCOPES
from scoreline.control.steward import Steward, make_control_app
from scoreline.core.scorer import Scorer
from scoreline.doors.http.app import App
from scoreline.doors.http.door import Door
from scoreline.doors.http.openinference import as_tensors
from scoreline.doors.http.pages import make_pages
from scoreline.doors.http.served import serve_model
from scoreline.engines.load import load_engine
from scoreline.operations.state import State, write_state
from scoreline.settings import Settings
from scoreline.web.asgi import ASGI
from service import FRAUD_ROW, SealedModel
from somekeys import caller, ring

# What stands in for the parts of a path; a part that is new must be put here, with a thing that is there.
PARTS = {"{version}": "1", "{file}": "swagger-ui.css", "{id}": "01a2072c-0538-7711-976a-6d2c41b00000", "{number}": "7"}
ROWS = {":predict": {"instances": [FRAUD_ROW]}, "/infer": {"inputs": as_tensors(FRAUD_ROW)}}
ROWS |= {"/invocations": {"dataframe_records": [FRAUD_ROW]}, "/predict": FRAUD_ROW}
ALL_BUT = {scope: [other for other in SCOPES if other != scope] for scope in SCOPES}
KEYS: dict[str, Caller] = {
    **{f"all-but-{scope}": caller("team", *others) for scope, others in ALL_BUT.items()},
    "all": caller("team", *SCOPES),
    "only-churn": caller("team", *SCOPES, models=["churn"]),
    "no-model": caller("team", *SCOPES, models=[]),
}
PLANES = {"data": DATA_PLANE, "control": CONTROL_PLANE}
ROUTES = [(plane, *route) for plane, table in PLANES.items() for route in table]
GUARDED = [route for route in ROUTES if PLANES[route[0]][route[1:]] != PUBLIC]


@pytest.fixture(scope="module")
def apps(sealed: SealedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    folder: Path = tmp_path_factory.mktemp("escapes")
    door, bundle = Door(10_000, AtOnce()), sealed.bundle
    model = serve_model(bundle.manifest, Scorer(bundle.manifest, load_engine(bundle)), 50)
    door.open({"fraud": model}, "fraud", ring(KEYS))
    write_state(folder, State({}))
    steward = Steward(Settings(state_dir=str(folder)))
    steward.access.ring = ring(KEYS)
    yield {"data": App(door, make_pages(door)), "control": make_control_app(steward), "door": door, "steward": steward}
    steward.database.close()


def ask(app: ASGI, method: str, route: str, model: str = "fraud", **headers: str) -> httpx.Response:
    path = route.replace("{name}", model)
    for part, there in PARTS.items():
        path = path.replace(part, there)
    assert "{" not in path, f"{route} has a part that this test does not know"
    body = next((row for ending, row in ROWS.items() if path.endswith(ending)), {})

    async def go() -> httpx.Response:
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            sent = {"content": json.dumps(body).encode()} if method == "POST" else {}
            named = {"content-type": "application/json"} | {
                name.replace("_", "-"): text for name, text in headers.items()
            }
            return await client.request(method, path, headers=named, **sent)

    return asyncio.run(go())


def ids(route: Any) -> str:
    return " ".join(route) if isinstance(route, tuple) else str(route)


@pytest.mark.parametrize("route", GUARDED, ids=ids)
def test_no_key_and_no_known_key_opens_nothing(apps: dict[str, Any], route: tuple[str, str, str]) -> None:
    plane, *rest = route
    for headers in ({}, {"x_api_key": "unknown"}, {"authorization": "Bearer a.b.c"}, {"authorization": "Basic YTpi"}):
        assert ask(apps[plane], *rest, **headers).status_code == 401


@pytest.mark.parametrize("route", GUARDED, ids=ids)
def test_all_other_scopes_together_do_not_open_a_route(apps: dict[str, Any], route: tuple[str, str, str]) -> None:
    plane, *rest = route
    wanted = PLANES[plane][rest[0], rest[1]]
    assert ask(apps[plane], *rest, x_api_key=f"all-but-{wanted}").status_code == 403
    assert ask(apps[plane], *rest, x_api_key="all").status_code not in (401, 403)


@pytest.mark.parametrize("key", ("only-churn", "no-model"))
@pytest.mark.parametrize("route", GUARDED, ids=ids)
def test_a_key_for_other_models_opens_no_route_to_a_model(
    apps: dict[str, Any], route: tuple[str, str, str], key: str
) -> None:
    """Routes that name a model, or the default one, or all of them, are shut; the others show nothing of it."""
    plane, method, path = route
    answer = ask(apps[plane], method, path, x_api_key=key)
    if "{name}" in path or path not in OF_OWN_MODELS or path in ("/predict", "/invocations"):
        assert answer.status_code == 403
        none = ask(apps[plane], method, path, "no-such-model", x_api_key=key)
        assert (none.status_code, without_id(none)) == (answer.status_code, without_id(answer)), (
            "it tells what is there"
        )
    else:
        assert answer.status_code not in (401, 403)
    assert "fraud" not in answer.text.replace("fraudulent", "")


def without_id(answer: httpx.Response) -> Any:
    return answer.json()


@pytest.mark.parametrize("route", GUARDED, ids=ids)
def test_two_credentials_are_refused_on_every_route(apps: dict[str, Any], route: tuple[str, str, str]) -> None:
    plane, *rest = route
    for authorization in ("Bearer all", "Bearer unknown", "Basic YTpi"):
        answer = ask(apps[plane], *rest, x_api_key="all", authorization=authorization)
        assert answer.status_code == 400


ODD = (
    "fraud%2f..%2ffraud",
    "FRAUD",
    "fraud%00",
    "fraud%20",
    "..%2ffraud",
    "%66raud",
    "fraud;churn",
    "churn%2f..%2ffraud",
)


@pytest.mark.parametrize(("route", "name"), list(product([r for r in GUARDED if "{name}" in r[2]], ODD)), ids=ids)
def test_a_name_written_oddly_opens_nothing(apps: dict[str, Any], route: tuple[str, str, str], name: str) -> None:
    plane, method, path = route
    assert ask(apps[plane], method, path, name, x_api_key="only-churn").status_code in (403, 404, 405)


def test_what_is_shown_to_a_key_for_some_models_is_of_these_alone(apps: dict[str, Any]) -> None:
    for path in ("/models", "/v1/models", "/openapi.json"):
        assert "fraud" in ask(apps["data"], "GET", path, x_api_key="all").text
        assert "fraud" not in ask(apps["data"], "GET", path, x_api_key="only-churn").text


@pytest.mark.parametrize("route", ROUTES, ids=ids)
def test_under_another_name_only_health_is_answered(
    apps: dict[str, Any], route: tuple[str, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plane, *rest = route
    named = Keyring(ring(KEYS).keys, hosts=names(["scores.example"]))
    monkeypatch.setattr(apps["door"], "keyring", named)
    monkeypatch.setattr(apps["steward"].access, "ring", named)
    is_public = PLANES[plane][rest[0], rest[1]] == PUBLIC
    for host in ("evil.example", "localhost", "scores.example.evil.example"):
        answer = ask(apps[plane], *rest, x_api_key="all", host=host)
        assert (answer.status_code == 403) != is_public
    assert ask(apps[plane], *rest, x_api_key="all", host="scores.example:8000").status_code != 403


@pytest.mark.parametrize("plane", PLANES)
def test_swagger_can_authorize_with_a_key_and_with_a_token_wherever_one_is_needed(
    apps: dict[str, Any], plane: str
) -> None:
    told = ask(apps[plane], "GET", "/openapi.json", x_api_key="all").json()
    schemes = told["components"]["securitySchemes"]
    assert schemes["key"] == {"type": "apiKey", "in": "header", "name": "X-API-Key"}
    assert (schemes["bearer"]["type"], schemes["bearer"]["scheme"]) == ("http", "bearer")
    for path, item in told["paths"].items():
        for method, operation in item.items():
            asked = method.upper(), path.replace("/models/fraud/", "/models/{name}/")
            wanted = [] if PLANES[plane][asked] == PUBLIC else [{"key": []}, {"bearer": []}]
            assert operation.get("security", []) == wanted, asked


def test_a_page_of_another_site_acts_on_nothing_where_no_key_is_needed(tmp_path: Path) -> None:
    """A form or a fetch without CORS reaches the loopback; it brings no header of ours."""
    write_state(tmp_path, State({}))
    steward = Steward(Settings(state_dir=str(tmp_path)))
    steward.access.ring = ring({})
    app = make_control_app(steward)
    acts = [path for method, path in CONTROL_PLANE if method == "POST"]
    assert "/keys" in acts
    for path in acts:
        for headers in ({"origin": "https://evil.example"}, {"origin": "null"}, {"sec_fetch_site": "cross-site"}):
            assert ask(app, "POST", path, **headers).status_code == 403, path
        assert ask(app, "POST", path, sec_fetch_site="same-origin").status_code != 403, path
    for path in ("/status", "/keys"):
        assert ask(app, "GET", path, host="rebound.example").status_code == 403
    steward.database.close()
