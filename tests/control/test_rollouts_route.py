"""The control plane's routes on rollouts: what they do, for whom, and what they refuse."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from models import keys
from recorded import kept
from scoreline.access.scopes import CONTROL_PLANE, SCOPES
from scoreline.control import rollouts as routes_module
from scoreline.control.steward import Steward, make_control_app
from scoreline.operations import admission
from scoreline.operations.measured import Measured
from scoreline.operations.rollouts import By, seed
from scoreline.settings import Registry, Rollout, Settings, Trust
from somedesk import arm, bundles
from somekeys import caller, ring

Ask = tuple[str, str, Any]  # method, path behind /rollouts/m, body


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bundles(tmp_path_factory.mktemp("routes"), "1", "2", "3")


@pytest.fixture
def app(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The app of a steward whose model `m` has version 1 as champion. Keys are `admin` and `read`."""
    monkeypatch.setattr(admission, "measure", lambda *_: Measured(3000, 0.5, 1.0))
    settings = Settings(
        state_dir=str(tmp_path),
        registry=Registry(folder=str(folder)),
        trust=Trust(keys=(str(keys(folder)[1]),)),
        rollout=Rollout(shadow_gate="none"),
    )
    steward = Steward(settings)
    known = {scope: caller(f"the {scope}", scope) for scope in SCOPES}
    steward.access.ring = ring(known | {"admin": caller("the admin", "admin", "read")})
    steward.database.prepare()
    kept(folder / "m-1", tmp_path)
    seed(steward.database, "m", arm(folder, "1"), By("serve"))
    return make_control_app(steward)


def ask(app: Any, *asked: Ask, key: str = "admin") -> list[httpx.Response]:
    async def go() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        headers = {"x-api-key": key} if key else {}
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers) as client:
            return [await _one(client, *one) for one in asked]

    return asyncio.run(go())


async def _one(client: httpx.AsyncClient, method: str, path: str, body: Any) -> httpx.Response:
    content = {"content": body} if isinstance(body, bytes) else {"json": body} if body is not None else {}
    return await client.request(method, f"/rollouts/{path}", **content)


def posts(app: Any, *asked: tuple[str, Any], key: str = "admin") -> Sequence[httpx.Response]:
    return ask(app, *(("POST", f"m/{verb}", body) for verb, body in asked), key=key)


def test_a_whole_rollout_by_who_the_key_names(app: Any) -> None:
    answers = posts(
        app,
        ("shadow", {"ref": "folder:/m/2", "why": "new trees"}),
        ("shadow", {"ref": "folder:/m/3"}),
        ("end-shadow", {"version": "3"}),
        ("canary", {"version": "2"}),
        ("approve", None),
        ("pause", {"why": "lunch"}),
        ("resume", {}),
        ("advance", None),
        ("promote", {}),
        ("rollback", {"champion": "2"}),
        ("canary", {"ref": "folder:/m/3", "why": "another"}),
    )
    assert [answer.status_code for answer in answers] == [200] * 4 + [409] + [200] * 6, [a.text for a in answers]
    assert "the admin began this rollout" in answers[4].json()["detail"]
    first, last = answers[0].json(), answers[-1].json()
    assert (first["who"], first["why"], first["action"], first["seq"]) == ("the admin", "new trees", "shadow", 2)
    assert (last["canary"], last["share"], last["champion"], last["model"]) == ("3", 0.01, "1", "m")
    history, short, status, plan, verdict = (
        answer.json()
        for answer in ask(
            app,
            ("GET", "m/history", None),
            ("GET", "m/history?limit=2", None),
            ("GET", "m", None),
            ("GET", "m/plan", None),
            ("GET", "m/verdict?version=2", None),
        )
    )
    actions = [entry["action"] for entry in reversed(history["entries"])]
    assert actions == [
        "seed", "shadow", "shadow", "end_shadow", "canary", "pause", "resume", "advance", "promote", "roll_back",
        "canary",
    ]  # fmt: skip
    assert short["entries"] == history["entries"][:2]
    assert (status["canary"]["version"], status["verdict"]["verdict"], status["seq"]) == ("3", "HOLD", 11)
    assert [step["share"] for step in plan["steps"]] == [0.01, 0.1, 0.5, 1.0]
    assert (verdict["verdict"], verdict["canary"]) == ("ROLL_BACK", "3")


@pytest.mark.parametrize(
    ("verb", "body", "said"),
    [
        ("shadow", {}, "the body lacks ref"),
        ("shadow", {"ref": "folder:/m/2", "version": "2"}, "words that this route does not know; it knows ref, why"),
        ("shadow", {"ref": 2}, "ref is a text of 1 to 1000"),
        ("shadow", {"ref": ""}, "ref is a text of 1 to 1000"),
        ("rollback", {"why": "a\nb"}, "why is a text of 1 to 1000 printable"),
        ("rollback", {"why": "x" * 1001}, "why is a text of 1 to 1000"),
        ("canary", {"why": "no"}, "say which version"),
        ("canary", {"version": "2", "ref": "folder:/m/2"}, "say which version"),
        ("advance", [], "the body is an object"),
        ("pause", b"{", "the body is not JSON"),
        ("pause", b'{"why": "a", "why": "b"}', "the body is not JSON"),
        ("verdict", b"what", "the body is not JSON"),
        ("verdict?pass=ADVANCE,PASS", {}, "pass: of ADVANCE, HOLD and ROLL_BACK"),
        ("verdict?pass=", {}, "pass: of ADVANCE"),
    ],
)
def test_what_is_not_understood_changes_nothing(app: Any, verb: str, body: Any, said: str) -> None:
    (answer,) = posts(app, (verb, body))
    assert (answer.status_code, answer.json()["type"]) == (400, "/errors/malformed")
    assert said in answer.json()["detail"]
    assert len(ask(app, ("GET", "m/history", None))[0].json()["entries"]) == 1


def test_refusals_have_their_statuses(app: Any, folder: Path) -> None:
    (folder / "unsigned").mkdir(exist_ok=True)
    expected = [
        (("POST", "m/canary", {"version": "2"}), 409, "rollout-refused", "version 2 is not in shadow"),
        (("POST", "m/rollback", {}), 409, "rollout-refused", "no canary to roll back"),
        (("POST", "m/shadow", {"ref": "folder:/m/9"}), 404, "not-found", "no version '9'"),
        (("POST", "m/shadow", {"ref": str(folder / "unsigned")}), 422, "bundle-refused", "unsigned has no model.sig"),
        (("POST", "m/shadow", {"ref": "x" * 999 + "/"}), 404, "not-found", "no bundle folder"),
        (("GET", "none", None), 404, "not-found", "serves 'none' yet"),
        (("GET", "a%00b", None), 404, "not-found", "no model has such a name"),
        (("POST", "a%00b/pause", {}), 404, "not-found", "no model has such a name"),
        (("GET", "m/history?limit=0", None), 422, "bad-parameter", "limit"),
        (("POST", "m/verdict", {"name": "podinfo"}), 409, "rollout-refused", "HOLD: there is no canary"),
    ]
    for answer, (_, status, kind, said) in zip(ask(app, *(one[0] for one in expected)), expected, strict=True):
        assert (answer.status_code, answer.json()["type"]) == (status, f"/errors/{kind}"), answer.text
        assert said in answer.json()["detail"]


def test_a_registry_that_is_down_is_not_the_callers_fault(app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from scoreline.core.errors import LedgerMoved, RegistryDown
    from scoreline.operations.desk import Desk

    for error, status, kind in ((RegistryDown("no"), 503, "registry-down"), (LedgerMoved("late"), 409, "ledger-moved")):

        def fail(*_: Any, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr(Desk, "shadow", fail)
        (answer,) = posts(app, ("shadow", {"ref": "folder:/m/2"}))
        assert (answer.status_code, answer.json()["type"]) == (status, f"/errors/{kind}")


def test_each_route_asks_for_its_scope(app: Any) -> None:
    found = {route: scope for route, scope in CONTROL_PLANE.items() if route[1].startswith("/rollouts/")}
    assert len(found) == 15
    for (method, path), scope in found.items():
        place = path.replace("{name}", "m").removeprefix("/rollouts/")
        for key, status in (("", 401), ("feedback", 403), ("read", 200 if scope == "read" else 403)):
            (answer,) = ask(app, (method, place, {} if method == "POST" else None), key=key)
            wanted = 409 if (method, status) == ("POST", 200) else status
            assert answer.status_code == wanted, (method, path, key)
    assert len(ask(app, ("GET", "m/history", None))[0].json()["entries"]) == 1


def test_a_body_has_an_end(app: Any) -> None:
    most = 8 * 1024 * 1024
    (answer,) = posts(app, ("pause", b" " * (most + 1)))
    assert answer.status_code == 413
    assert set(routes_module._WORDS) == {"ref", "version", "champion", "force", "why"}
