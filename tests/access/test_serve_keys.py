"""Keys of real services: made, ended and rotated while they run, on every host, whatever becomes of the database."""

import json
from pathlib import Path
from typing import Any

import httpx

from service import CHURN_ROW, FRAUD_ROW, SealedModel, Service, run_scoreline, serving, wait_until

DEFAULT = ("--default", "fraud")


class Host:
    """The command line on one database."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.environment = {"SCORELINE_RECORDS__DATABASE": url}
        folder.mkdir(exist_ok=True)

    def run(self, *arguments: str) -> str:
        ended = run_scoreline(*arguments, cwd=self.folder, **self.environment)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout.strip()

    def create(self, name: str, *options: str) -> str:
        return self.run("keys", "create", name, *options)

    def keys(self) -> dict[int, dict[str, Any]]:
        return {one["number"]: one for one in map(json.loads, self.run("keys", "list", "--json").splitlines())}


def status(service: Service, key: str = "", path: str = "/predict", row: object = FRAUD_ROW) -> int:
    return service.post(row, path, **({"x_api_key": key} if key else {})).status_code


def everything(service: Service) -> bytes:
    """All that a service wrote: its output, its log, its files."""
    files = [file for file in service.state_dir.parent.rglob("*") if file.is_file()]
    return b"".join(file.read_bytes() for file in files)


def test_keys_are_made_and_revoked_on_every_host_of_a_database(
    sealed: SealedModel, churn: SealedModel, tmp_path: Path
) -> None:
    host = Host(tmp_path / "cli", f"sqlite:///{tmp_path / 'shared.db'}")
    how: Any = {"arguments": DEFAULT, **host.environment}
    with (
        serving(sealed, churn, folder=tmp_path / "a", **how) as a,
        serving(sealed, churn, folder=tmp_path / "b", **how) as b,
    ):
        assert (status(a), status(b)) == (200, 200)  # nobody ever made a key
        admin = host.create("eva", "--scope", "admin")
        key = host.create("shop", "--scope", "predict", "--scope", "read", "--model", "fraud")
        for service in (a, b):
            wait_until(lambda service=service: status(service) == 401, "the service is shut")
            wait_until(lambda service=service: status(service, key) == 200, "the key counts")
            assert status(service, key, "/models/churn/predict", CHURN_ROW) == 403
            assert status(service, admin) == 403
            assert [one["name"] for one in service.get("/models", x_api_key=key).json()["models"]] == ["fraud"]

        found = host.keys()
        number = next(one["number"] for one in found.values() if one["name"] == "shop")
        wait_until(lambda: host.keys()[number]["last_used"], "its use is known")
        revoked = a_post(a, f"/keys/{number}/revoke", admin)
        assert revoked == (200, {"number": number, "state": "revoked"})
        for service in (a, b):
            wait_until(lambda service=service: status(service, key) == 401, "the key counts no more")
            refused, unknown = (service.post(FRAUD_ROW, x_api_key=each) for each in (key, "scoreline_never-was"))
            assert refused.json() == unknown.json()
            assert status(service, admin, "/predict") == 403
        host.run("keys", "revoke", str(next(one for one in found if one != number)))
        wait_until(lambda: status(a, admin) == 401, "no key is left")
        assert (status(a), status(b)) == (401, 401), "and nothing opens again"
        for service in (a, b):
            for secret in (key, admin):
                assert secret.encode() not in everything(service)
                assert secret.removeprefix("scoreline_").encode() not in everything(service)
        assert key.encode() not in (tmp_path / "shared.db").read_bytes()
    with serving(sealed, churn, folder=tmp_path / "b", **how) as b:
        assert status(b) == 401, "a restart opens nothing either"


def a_post(service: Service, path: str, key: str, body: object = None) -> tuple[int, Any]:
    content = b"" if body is None else json.dumps(body).encode()
    answer = httpx.post(service.admin_url + path, content=content, headers={"x-api-key": key}, timeout=20)
    return answer.status_code, answer.json()


def test_keys_that_were_made_before_the_service_count_from_its_first_answer(
    sealed: SealedModel, tmp_path: Path
) -> None:
    state = tmp_path / "service" / "state"
    made = run_scoreline("keys", "create", "shop", "--scope", "predict", "--state-dir", state, cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    key = made.stdout.strip()
    with serving(sealed, folder=tmp_path / "service", arguments=("--host", "0.0.0.0")) as service:
        assert "no credentials" not in service.said
        assert "IS REACHED WITHOUT TLS" in service.log
        assert (status(service), status(service, key)) == (401, 200)


def test_a_key_is_rotated_over_http_and_both_count_for_a_while(sealed: SealedModel, tmp_path: Path) -> None:
    with serving(sealed, folder=tmp_path, SCORELINE_ACCESS__ADMIN_KEY="k" * 32) as service:
        asked = {"name": "shop", "scopes": ["predict"], "priority": "high", "expires_days": 7}
        _, made = a_post(service, "/keys", "k" * 32, asked)
        code, new = a_post(service, f"/keys/{made['number']}/rotate", "k" * 32, {"grace_s": 3600})
        assert code == 200
        for each in (made, new):
            wait_until(lambda each=each: status(service, each["key"]) == 200, "both count")
        code, renewed = a_post(service, f"/keys/{new['number']}/rotate", "k" * 32, {"grace_s": 0})
        wait_until(lambda: status(service, new["key"]) == 401, "it ends at once")
        wait_until(lambda: status(service, renewed["key"]) == 200, "the newest counts")
        told = service.admin("/actions?limit=9", x_api_key="k" * 32).json()["actions"]
        assert {one["action"] for one in told} == {"key rotated", "key created", "rollout"}
        keys = [one for one in told if one["action"] != "rollout"]
        assert [one["action"] for one in keys] == ["key rotated", "key rotated", "key created"]
        assert {(one["who"], one["address"]) for one in keys} == {("admin", "127.0.0.1")}
        assert [one["state"] for one in service.admin("/keys", x_api_key="k" * 32).json()["keys"]] == [
            "active", "expired", "active",
        ]  # fmt: skip
        for body in ({"name": "shop"}, {"name": "shop", "scopes": "predict"}, {"nam": 1}, [], 7):
            assert a_post(service, "/keys", "k" * 32, body)[0] == 400
        assert a_post(service, "/keys/4711/revoke", "k" * 32)[0] == 404
        assert a_post(service, "/keys/0/revoke", "k" * 32)[0] == 422


def test_while_the_database_is_away_the_last_known_keys_count_also_after_a_restart(
    sealed: SealedModel, postgres: Any, tmp_path: Path
) -> None:
    host = Host(tmp_path / "cli", postgres.new_schema())
    key = host.create("shop", "--scope", "predict")
    postgres_down = False
    try:
        with serving(sealed, folder=tmp_path / "a", **host.environment) as service:
            assert status(service, key) == 200
            postgres.stop()
            postgres_down = True
            assert (status(service, key), status(service), status(service, "unknown")) == (200, 401, 401)
        with serving(sealed, folder=tmp_path / "a", **host.environment) as service:
            assert (status(service, key), status(service), status(service, "unknown")) == (200, 401, 401)
            postgres.start()
            postgres_down = False
            host.run("keys", "revoke", "1")
            wait_until(lambda: status(service, key) == 401, "it is revoked once the database is there", 60)
        postgres.stop()
        postgres_down = True
        with serving(sealed, folder=tmp_path / "new", **host.environment) as service:
            assert (status(service), status(service, key)) == (401, 401), "a host that knows nothing opens nothing"
    finally:
        if postgres_down:
            postgres.start()
