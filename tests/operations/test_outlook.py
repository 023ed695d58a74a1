"""How a model stands, as JSON and in words: status, plan, history and the verdict on a version."""

import json
from pathlib import Path
from typing import Any

import pytest

from scoreline.cli.told import told_acted, told_history, told_plan, told_status
from scoreline.core.errors import NotFound
from scoreline.operations import admission, outlook
from scoreline.operations.desk import Desk
from scoreline.operations.measured import Measured
from scoreline.operations.rollouts import By, promote, roll_back, take_back
from scoreline.rollout.policy import Policy
from somedesk import ADA, SAFE, bundles, decisions, desk, ship

NS = 1_000_000_000
POLICY = Policy(shadow_gate="none", steps=(0.5, 1.0), min_step_s=1, min_requests=50, p_tol=0.2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bundles(tmp_path_factory.mktemp("outlook"), "1", "2", "3")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "measure", lambda *_: Measured(3000, 0.5, 1.0))


def answered(found: Desk, folder: Path, tmp_path: Path, n: int, slow: int = 0) -> None:
    """The canary and the champion answer so many requests each; of the canary's `slow` take too long."""
    epoch = found.stage("m").epoch
    for role, version in (("canary", "2"), ("champion", "1")):
        many = decisions(folder, n, version)
        for number, one in enumerate(many):
            one.author = _in_role(one.author, role, epoch)
            del number

        def change(number: int, one: Any, role: str = role) -> None:
            if role == "canary" and number < slow:
                one.model_ns = 10 * NS

        ship(found.database, tmp_path / f"{role}-{epoch}-{n}", many, change)


def _in_role(author: Any, role: str, epoch: int) -> Any:
    from dataclasses import replace

    return replace(author, role=role, epoch=epoch)


def test_status_shows_who_answers_and_what_the_evidence_says(database_url: str, folder: Path, tmp_path: Path) -> None:
    with desk(database_url, folder, policy=POLICY, seen={"3": SAFE}) as found:
        plain = outlook.status(found, "m")
        assert (plain["champion"]["version"], plain["canary"], plain["challengers"]) == ("1", None, [])
        assert plain["verdict"] == {"verdict": "HOLD", "why": "there is no canary; version 1 answers"}
        assert list(told_status(plain)) == [
            "m: version 1 answers (entry 1)", "verdict: HOLD: there is no canary; version 1 answers",
        ]  # fmt: skip
        found.shadow("m", "folder:/m/3", ADA)
        found.canary("m", "folder:/m/2", ADA)
        answered(found, folder, tmp_path, 40)
        status = json.loads(json.dumps(outlook.status(found, "m"), allow_nan=False))
        canary, verdict = status["canary"], status["verdict"]
        assert (canary["version"], canary["share"], canary["step"], canary["shares"]) == ("2", 0.5, 0, [0.5, 1.0])
        assert canary["units"] == {"canary": 40, "champion": 40}
        assert status["challengers"][0]["version"] == "3" and status["challengers"][0]["report"] == {"rows": 1}
        assert verdict["verdict"] == "HOLD" and "40 of 50 entities or requests seen in this step" in verdict["why"]
        assert (verdict["leading"], verdict["ratio"], verdict["units"]) == ("errors", [0.0, None], 40)
        assert verdict["units_needed"] >= 10 and set(verdict["e_safe"]) == {"errors", "overruns"}
        words = "\n".join(told_status(status))
        for said in (
            "canary: version 2 answers 50 % (step 1 of 2, running) since ",
            "shadow: version 3 since ",
            "led by errors (between 0 and any number of times the champion's)",
            "seen: 40 entities or requests, 40 in this step; at least ",
        ):
            assert said in words
        with pytest.raises(NotFound, match="serves 'n' yet"):
            outlook.status(found, "n")


def test_a_slow_canary_is_shown_as_the_controller_sees_it(database_url: str, folder: Path, tmp_path: Path) -> None:
    with desk(database_url, folder, policy=POLICY) as found:
        found.canary("m", "folder:/m/2", ADA)
        answered(found, folder, tmp_path, 60, slow=30)
        verdict = outlook.verdict_on(found, "m")
        assert (verdict["verdict"], verdict["leading"]) == ("ROLL_BACK", "overruns")
        assert verdict["why"].startswith("overruns: e-value ") and verdict["ratio"][0] > 1
        assert (verdict["model"], verdict["champion"], verdict["canary"], verdict["share"]) == ("m", "1", "2", 0.5)
        found.roll_back("m", By("ada", "too slow"))
        entry = outlook.told_history(found, "m", 1)[0]
        assert entry["evidence"]["e_rollback"] >= 100
        lines = list(told_history([entry]))
        assert lines[0].endswith("roll back by ada: too slow") and "harm " in lines[2] and "(overruns)" in lines[2]
        assert list(told_acted({**entry, "model": "m"})) == ["m: roll back (entry 3); version 1 answers"]


def test_the_verdict_on_a_version_outlasts_its_rollout(database_url: str, folder: Path) -> None:
    with desk(database_url, folder, policy=POLICY) as found:

        def verdict(version: str) -> tuple[str, str]:
            told = outlook.verdict_on(found, "m", version)
            return told["verdict"], told["why"]

        assert verdict("2") == ("HOLD", "version 2 has not answered yet")
        assert verdict("1") == ("ADVANCE", "version 1 is the champion")
        found.shadow("m", "folder:/m/2", ADA)
        assert verdict("2") == ("HOLD", "version 2 is in shadow")
        found.canary("m", "2", ADA)
        assert verdict("2")[0] == "HOLD" and "this step has lasted" in verdict("2")[1]
        assert verdict("2") == verdict("")
        roll_back(found.database, "m", By("controller", "errors: e-value 120 reaches 100"), {"e_rollback": 120.0})
        left = "version 2 left with entry 4, roll_back by controller: errors: e-value 120 reaches 100"
        assert verdict("2") == ("ROLL_BACK", left)
        assert outlook.verdict_on(found, "m", "2")["e_rollback"] == 120
        assert verdict("")[0] == "HOLD"
        found.canary("m", "folder:/m/2", ADA)
        assert verdict("2")[0] == "HOLD"
        promote(found.database, "m", ADA)
        assert verdict("2")[0] == "ADVANCE"
        assert verdict("1") == ("HOLD", "version 1 left with entry 6, promote by ada: to see")
        take_back(found.database, "m", ADA, "2")
        assert verdict("2")[0] == "ROLL_BACK" and verdict("1")[0] == "ADVANCE"


def test_a_plan_goes_by_the_traffic_of_late(database_url: str, folder: Path, tmp_path: Path) -> None:
    with desk(database_url, folder, policy=POLICY) as found:
        empty = outlook.planned(found, "m")
        assert (empty["canary_s"], empty["traffic"]["units_per_s"]) == (None, 0.0)
        assert list(told_plan(empty)) == ["nothing was decided of late: how long a rollout takes cannot be said"]

        def change(number: int, one: Any) -> None:
            one.base = (1_700_000_000_000 + number * 100) << 80 | 0x7 << 76 | 0b10 << 62 | number << 20
            one.context = type(one.context)((1_700_000_000_000 + number * 100) * 1_000_000)

        ship(found.database, tmp_path, decisions(folder, 401), change)
        plan = outlook.planned(found, "m")
        assert plan["taken_from"] == {"decisions": 401, "span_s": 40.0}
        assert plan["traffic"]["units_per_s"] == pytest.approx(10.025)
        rates = plan["traffic"]["rates"]
        assert (rates["errors"], rates["overruns"]) == (0.0, 0.0) and 0 < rates["slow"] <= 0.01 and rates["scores"] > 0
        assert [step["share"] for step in plan["steps"]] == [0.5, 1.0]
        assert plan["canary_s"] == pytest.approx(sum(step["lasts_s"] for step in plan["steps"]))
        words = "\n".join(told_plan(json.loads(json.dumps(plan, allow_nan=False))))
        assert "m: 10 entities or requests a second, by the last 401 decisions in 40 s" in words
        assert "at 50 %: " in words and "rolled back where 20 % have errors: after about " in words
