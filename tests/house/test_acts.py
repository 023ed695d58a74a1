"""Every act of an admin is on record, with who and when: each route and each command that changes something."""

import asyncio
import json
import os
import time
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer.main

from models import keys
from recorded import decided, golden_rows, kept, spooled
from scoreline.access.scopes import CONTROL_PLANE
from scoreline.cli import COMMANDS, build_app
from scoreline.cli.who import user
from scoreline.control.steward import Steward, make_control_app
from scoreline.core import ids
from scoreline.operations import admission
from scoreline.operations.measured import Measured
from scoreline.operations.rollouts import By, seed
from scoreline.records.database import open_database
from scoreline.records.outcomes import unmatched
from scoreline.settings import Registry, Rollout, Settings, Trust, load_settings
from scoreline.wiring import desk_of
from service import run_scoreline
from somedesk import arm, bundles, decisions, ship
from somekeys import caller, ring

UNKNOWN = ids.text(7 << 80)
# What only tells, though it is a POST: Flagger asks so.
TELLS = {("POST", "/rollouts/{name}/verdict")}
# What changes something by who reports it, and is kept with that in its own table.
REPORTS = {("POST", "/outcomes")}
GRANT = {"name": "shop", "scopes": ["predict"]}
# Routes in an order in which each can be done, by whom, and what it takes.
DONE: list[tuple[str, str, str, Any]] = [
    ("/keys", "/keys", "ada", GRANT),
    ("/keys/{number}/rotate", "/keys/1/rotate", "bob", {}),
    ("/keys/{number}/revoke", "/keys/2/revoke", "ada", None),
    ("/rollouts/{name}/shadow", "/rollouts/m/shadow", "ada", {"ref": "folder:/m/2"}),
    ("/rollouts/{name}/end-shadow", "/rollouts/m/end-shadow", "bob", {"version": "2"}),
    ("/rollouts/{name}/canary", "/rollouts/m/canary", "ada", {"ref": "folder:/m/2"}),
    ("/rollouts/{name}/approve", "/rollouts/m/approve", "bob", None),
    ("/rollouts/{name}/pause", "/rollouts/m/pause", "ada", {"why": "lunch"}),
    ("/rollouts/{name}/resume", "/rollouts/m/resume", "bob", {}),
    ("/rollouts/{name}/advance", "/rollouts/m/advance", "ada", None),
    ("/rollouts/{name}/promote", "/rollouts/m/promote", "bob", {}),
    ("/rollouts/{name}/rollback", "/rollouts/m/rollback", "ada", {"champion": "2"}),
]
# Commands that tell, or read and write files of whoever calls them and nothing that a service keeps.
READS = {
    "keygen", "seal", "verify", "inspect", "pull", "image build", "serve", "steward", "drained", "budget",
    "drift", "batch", "replay", "explain",
    "features get", "features stats", "outcomes unmatched", "audit verify", "audit erasures", "audit actions",
    "holds list", "keys list", "rollout status", "rollout movers", "rollout plan", "rollout history",
    "rollout backtest",
}  # fmt: skip
REPORTED = {"outcomes import"}
ACTED: list[tuple[str, tuple[str, ...]]] = [
    ("keys create", ("shop", "--scope", "predict")),
    ("keys rotate", ("1",)),
    ("keys revoke", ("2",)),
    ("holds place", ("--reason", "a case", "--model", "other")),
    ("holds release", ("1",)),
    ("rollout approve", ("m",)),
    ("rollout pause", ("m",)),
    ("rollout resume", ("m",)),
    ("rollout advance", ("m",)),
    ("rollout promote", ("m",)),
    ("rollout rollback", ("m", "--champion", "2")),
    ("rollout shadow", ("m", "folder:/m/3", "--trust", "KEY")),
    ("rollout end-shadow", ("m", "3")),
    ("rollout canary", ("m", "folder:/m/3", "--force", "a test", "--trust", "KEY")),
    ("decisions", ("--out", "set.csv")),
    ("features load", ("features.csv", "--view", "v", "--key", "id")),
    ("features export", ("known.csv", "--view", "v", "--key", "id")),
    ("audit export", ("record.db",)),
    ("audit erase", ("--entity", "Marie", "--reason", "she asked to")),
    ("audit rekey", ()),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bundles(tmp_path_factory.mktemp("acts"), "1", "2", "3")


def test_the_acts_of_the_control_plane_are_all_of_its_routes_that_change_something() -> None:
    changing = {route for route in CONTROL_PLANE if route[0] not in ("GET", "HEAD")} - TELLS - REPORTS
    assert {("POST", route) for route, *_ in DONE} == changing
    assert all(CONTROL_PLANE[route] == "admin" for route in changing)


def test_every_act_on_the_control_plane_is_on_record(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "measure", lambda *_: Measured(3000, 0.5, 1.0))
    trust = Trust(keys=(str(keys(folder)[1]),))
    registry, rollout = Registry(folder=str(folder)), Rollout(shadow_gate="none")
    steward = Steward(Settings(state_dir=str(tmp_path), registry=registry, trust=trust, rollout=rollout))
    people = {name: caller(f"{name} of risk", "admin", "feedback") for name in ("ada", "bob")}
    steward.access.ring = ring(people)
    steward.database.prepare()
    kept(folder / "m-1", tmp_path)
    seed(steward.database, "m", arm(folder, "1"), By("serve"))
    app = make_control_app(steward)

    async def go() -> None:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:

            async def on_record() -> list[Any]:
                found = await client.get("/actions?limit=1000", headers={"x-api-key": "ada"})
                return list(found.json()["actions"])

            for route, path, who, body in DONE:
                before, begun_s = await on_record(), time.time()
                answer = await client.post(path, json=body, headers={"x-api-key": who})
                assert answer.status_code == 200, (route, answer.text)
                new = [one for one in await on_record() if one not in before]
                assert [one["who"] for one in new] == [people[who].name], route
                assert begun_s - 1 <= seconds(new[0]["at"]) <= time.time() + 1, route
            reported = {"prediction_id": UNKNOWN, "value": 1, "observed_at": "2026-01-02T03:04:05Z"}
            assert (await client.post("/outcomes", json=reported, headers={"x-api-key": "bob"})).status_code == 200

    begun_ns = time.time_ns()
    asyncio.run(go())
    (report,) = unmatched(steward.database)
    assert report.caller == people["bob"].name and report.received_ns >= begun_ns
    steward.database.close()


def test_the_acts_of_the_command_line_are_all_of_its_commands_that_change_something() -> None:
    group = typer.main.get_command(build_app(list(COMMANDS)))
    every = set()
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        under = getattr(command, "commands", {})
        every |= {f"{name} {verb}" for verb in under} or {name}
    assert {name for name, _ in ACTED} | READS | REPORTED == every
    assert READS.isdisjoint({name for name, _ in ACTED} | REPORTED)


def test_every_act_on_the_command_line_is_on_record(folder: Path, tmp_path: Path) -> None:
    where = {"SCORELINE_REGISTRY__FOLDER": str(folder), "SCORELINE_ROLLOUT__SHADOW_GATE": "none"}
    public = str(keys(folder)[1])

    def run(*arguments: str) -> str:
        found = run_scoreline(*arguments, "--state-dir", "state", cwd=tmp_path, **where)
        assert found.returncode == 0, (arguments, found.stderr)
        return found.stdout

    def on_record() -> list[Any]:
        return [json.loads(line) for line in run("audit", "actions", "--json", "--limit", "1000").splitlines()]

    begin(folder, tmp_path, {"trust.keys": [public], "registry.folder": str(folder)})
    (tmp_path / "features.csv").write_text("id,x\na,1.5\n")
    for name, arguments in ACTED:
        before, begun_s = on_record(), time.time()
        run(*name.split(), *(public if word == "KEY" else word for word in arguments))
        new = [one for one in on_record() if one not in before]
        assert [one["who"] for one in new] == [user()], name
        assert begun_s - 1 <= seconds(new[0]["at"]) <= time.time() + 1, name
    (tmp_path / "outcomes.csv").write_text(f"prediction_id,value,observed_at\n{UNKNOWN},1,2026-01-02T03:04:05Z\n")
    run("outcomes", "import", "outcomes.csv", "--caller", "the claims desk")
    assert "the claims desk" in run("outcomes", "unmatched")


def begin(folder: Path, tmp_path: Path, given: dict[str, Any]) -> None:
    """A state folder as a service leaves it, with decisions, and a canary that somebody else has begun."""
    state = tmp_path / "state"
    kept(folder / "m-1", state)
    spooled(state, decided(folder / "m-1", golden_rows(folder / "m-1")[:2]))
    (state / "entity.key").write_bytes(os.urandom(32))
    with closing(open_database("", state / "scoreline.db")) as database:
        database.prepare()
        seed(database, "m", arm(folder, "1"), By("serve"))
        ship(database, tmp_path, decisions(folder, 3))
        settings = load_settings(None, {}, {"state_dir": str(state), **given})
        desk_of(settings, database).canary("m", "folder:/m/2", By("ada"), "a test")


def seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
