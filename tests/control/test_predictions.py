"""One decision over HTTP: shown, computed again and explained, to whom it belongs."""

import asyncio
import shutil
import sys
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from recorded import decided, kept, program_that_dies, spooled
from scoreline.access.caller import Caller
from scoreline.access.scopes import SCOPES
from scoreline.control.steward import Steward, make_control_app
from scoreline.core import ids
from scoreline.core.decision import Decisions
from scoreline.settings import Settings
from service import FRAUD_ROW, SealedModel, serving, wait_until
from somekeys import caller, ring

FRAUD = Path(__file__).parents[1] / "formats" / "bundle-1" / "fraud-1"
KINDS = ("", "/replay", "/explanation")


def get(state_dir: Path, *paths: str, key: str = "", keys: dict[str, Caller] | None = None) -> list[httpx.Response]:
    async def go() -> list[httpx.Response]:
        steward = Steward(Settings(state_dir=str(state_dir)))
        steward.access.ring = ring(keys or {})
        app = make_control_app(steward)
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        headers = {"x-api-key": key} if key else {}
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers) as client:
            return [await client.get(path) for path in paths]

    return asyncio.run(go())


@pytest.fixture
def made(tmp_path: Path) -> Decisions:
    """One decision, recorded, its bundle in place."""
    kept(FRAUD, tmp_path)
    row = np.array([[5000.0, 12.0, 3.0, 1.0, np.nan, 2.0]])
    return spooled(tmp_path, decided(FRAUD, row, caller="shop"))[0]


def test_a_decision_is_shown_replayed_and_explained(tmp_path: Path, made: Decisions) -> None:
    (decision,) = made
    path = f"/predictions/{decision.id}"
    shown, replayed, explained = (answer.json() for answer in get(tmp_path, *(path + kind for kind in KINDS)))
    assert shown["id"] == replayed["id"] == explained["id"] == decision.id
    assert shown["margins"] == {"fraud_probability": decision.margins[0]}
    assert (shown["features"]["amount"], shown["features"]["country"], shown["masked"]) == (5000.0, None, ["country"])
    assert (replayed["result"], replayed["difference"], replayed["guarantee"]) == ("equal", 0.0, "any CPU")
    total = explained["base"] + sum(explained["contributions"].values())
    assert total == pytest.approx(decision.margins[0], abs=1e-5)
    assert explained["method"]["name"] == "treeshap"
    assert all(reason["value"] is None for reason in explained["reasons"])


def test_an_explanation_takes_the_adverse_side_and_shows_values_where_asked(tmp_path: Path, made: Decisions) -> None:
    path = f"/predictions/{made[0].id}/explanation"
    higher, lower, shown = (
        answer.json() for answer in get(tmp_path, path, f"{path}?adverse=lower", f"{path}?values=true")
    )
    assert {reason["field"] for reason in higher["reasons"]} & {reason["field"] for reason in lower["reasons"]} == set()
    assert {reason["field"]: reason["value"] for reason in shown["reasons"]}["amount"] == 5000.0
    refused, also = get(tmp_path, f"{path}?adverse=4711", f"{path}?values=4711&adverse=4711")
    for answer, names in ((refused, "adverse"), (also, "adverse, values")):
        assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
        assert answer.json()["type"] == "/errors/bad-parameter" and answer.json()["detail"].endswith(names)
        assert "4711" not in answer.text


@pytest.mark.parametrize("kind", KINDS)
def test_an_id_nobody_answered_with_is_not_found_and_not_repeated(tmp_path: Path, made: Decisions, kind: str) -> None:
    for given in (ids.text(4711), "4711", "..", made[0].id[:-1] + "1"):
        (answer,) = get(tmp_path, f"/predictions/{given}{kind}")
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
        assert "4711" not in answer.text


KEYS = {
    "shop-key": caller("shop", "read"),
    "bank-key": caller("bank", "read"),
    "only-predicts": caller("shop", "predict"),
    "admin-key": caller("admin", *SCOPES),
    "shops-fraud-key": caller("shop", "read", models=["fraud"]),
    "shops-churn-key": caller("shop", "read", models=["churn"]),
    "churn-admin-key": caller("admin", *SCOPES, models=["churn"]),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("key", "status"),
    [
        ("shop-key", 200),
        ("admin-key", 200),
        ("shops-fraud-key", 200),
        ("bank-key", 404),
        ("shops-churn-key", 404),
        ("churn-admin-key", 404),
        ("only-predicts", 403),
        ("unknown", 401),
        ("", 401),
    ],
)
def test_callers_see_their_own_decisions_and_an_admin_all(
    tmp_path: Path, made: Decisions, kind: str, key: str, status: int
) -> None:
    (answer,) = get(tmp_path, f"/predictions/{made[0].id}{kind}", key=key, keys=KEYS)
    assert answer.status_code == status
    if status == 404:
        (unknown,) = get(tmp_path, f"/predictions/{ids.text(1)}{kind}", key=key, keys=KEYS)
        assert answer.json() == unknown.json()


def test_a_missing_bundle_is_a_verdict_and_no_explanation(tmp_path: Path, made: Decisions) -> None:
    shutil.rmtree(tmp_path / "bundles")
    path = f"/predictions/{made[0].id}"
    shown, replayed, explained = get(tmp_path, *(path + kind for kind in KINDS))
    assert set(shown.json()["features"].values()) == {None}
    assert (replayed.status_code, replayed.json()["result"]) == (200, "missing")
    assert (explained.status_code, explained.json()["type"]) == (409, "/errors/not-replayable")
    assert "scoreline pull" in explained.json()["detail"]


def test_a_bundle_that_ends_its_process_does_not_end_the_steward(
    tmp_path: Path, made: Decisions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(program_that_dies(tmp_path)))
    at = f"/predictions/{made[0].id}"
    replayed, explained, health = get(tmp_path, f"{at}/replay", f"{at}/explanation", "/healthz/live")
    assert replayed.json()["result"] == "refused"
    assert explained.status_code == 409
    for said in (replayed.json()["note"], explained.json()["detail"]):
        assert "ended the process that loaded it (code -11)" in said and str(tmp_path) not in said
    assert health.status_code == 200


def test_what_a_service_has_just_answered_can_be_asked_about(sealed: SealedModel, tmp_path: Path) -> None:
    with serving(sealed, folder=tmp_path) as service:
        answer = service.post([FRAUD_ROW, {"amount": 17.0}]).json()
        given = [one["prediction_id"] for one in answer["predictions"]]
        steward = service.steward()
        for number, one in enumerate(given):
            shown: dict[str, Any] = service.admin(f"/predictions/{one}").json()
            assert shown["scores"]["fraud_probability"] == answer["predictions"][number]["fraud_probability"]
            assert service.admin(f"/predictions/{one}/replay").json()["result"] == "equal"
            explained = service.admin(f"/predictions/{one}/explanation").json()
            assert explained["margin"] == shown["margins"]["fraud_probability"]
        assert service.admin(f"/predictions/{given[1]}").json()["flags"]["defaulted"] == [
            "age_days", "country", "repeat", "distance",
        ]  # fmt: skip
        wait_until(lambda: service.steward() == steward, "the steward is the one it was")
