"""`scoreline rollout` through the real command, on a state folder as a service leaves it, on both databases."""

import json
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from models import frame, keys, small_model
from recorded import kept
from scoreline.cli.who import user
from scoreline.core.outcome import Outcome
from scoreline.operations.paired import LAG_NS
from scoreline.operations.rollouts import By, seed
from scoreline.records.database import Database, open_database
from scoreline.records.ledger import history
from scoreline.records.outcomes import add_outcomes
from scoreline.records.walk import Wanted, walk
from service import run_scoreline
from somedesk import arm, bundles, decisions, ship


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bundles(tmp_path_factory.mktemp("cli"), "1", "2", "3")


class Command:
    """`scoreline rollout` on one database, in a folder of its own."""

    def __init__(self, folder: Path, state: Path, url: str) -> None:
        self.folder, self.cwd, self.url = folder, state.parent, url

    def __call__(self, *arguments: str, code: int = 0, trusted: bool = False) -> str:
        trust = ("--trust", str(keys(self.folder)[1])) if trusted else ()
        where = {"SCORELINE_RECORDS__DATABASE": self.url, "SCORELINE_REGISTRY__FOLDER": str(self.folder)}
        found = run_scoreline("rollout", *arguments, *trust, "--state-dir", "state", cwd=self.cwd, **where)
        assert found.returncode == code, found.stderr
        return found.stdout + found.stderr

    def opened(self) -> Database:
        return open_database(self.url, Path("unused"))


def served(folder: Path, tmp_path: Path, url: str) -> Command:
    """After a service has decided 300 rows with version 1, and has ended."""
    kept(folder / "m-1", tmp_path / "state")
    with closing(open_database(url, Path("unused"))) as database:
        database.prepare()
        seed(database, "m", arm(folder, "1"), By("serve", "nothing was decided before"))
        ship(database, tmp_path, decisions(folder, 300))
    return Command(folder, tmp_path / "state", url)


@pytest.fixture
def scoreline(folder: Path, tmp_path: Path) -> Command:
    return served(folder, tmp_path, f"sqlite:///{tmp_path / 'decisions.db'}")


def test_the_whole_way_of_a_version_and_back(database_url: str, folder: Path, tmp_path: Path) -> None:
    scoreline = served(folder, tmp_path, database_url)
    assert scoreline("status", "m").splitlines()[0] == "m: version 1 answers (entry 1)"
    said = scoreline("plan", "m")
    assert "by the last 300 decisions in" in said and "at 1 %: " in said and "rolled back where 1 % have errors" in said
    said = scoreline("shadow", "m", "folder:/m/2", "--why", "new trees", trusted=True)
    first, note = said.splitlines()
    assert first == "m: shadow (entry 2); version 1 answers, in shadow: 2" and "--maturity-days" in note
    said = scoreline("canary", "m", "2", code=1)
    assert said.startswith("error: version 2 is not proven SAFE within 0.005: e-value 1 of 100")
    said = scoreline("canary", "m", "2", "--force", "a test")
    assert said == "m: canary (entry 3); version 1 answers, version 2 has 1 % of it (running), in shadow: 2\n"
    said = scoreline("status", "m")
    assert "canary: version 2 answers 1 % (step 1 of 4, running) since " in said and "verdict: HOLD: " in said
    for verb, words in (("pause", "(paused)"), ("resume", "(running)"), ("advance", "version 2 has 10 % of it")):
        assert words in scoreline(verb, "m", "--why", "a test")
    assert "began this rollout" in scoreline("approve", "m", code=1)
    assert "version 2 answers\n" in scoreline("promote", "m")
    assert "version 1 answers\n" in scoreline("rollback", "m", "--champion", "2", "--why", "a hunch")
    lines = scoreline("history", "m").splitlines()
    acted = [line.split("Z  ")[1].partition(" by ")[0] for line in lines if "Z  " in line]
    assert acted == ["roll back", "promote", "advance", "resume", "pause", "canary", "shadow", "seed"]
    assert lines[0].endswith(": a hunch") and "safe errors" in "\n".join(lines)
    assert len([line for line in scoreline("history", "m", "--limit", "2").splitlines() if "Z  " in line]) == 2


def test_everything_is_json_too(scoreline: Command) -> None:
    def told(*arguments: str, **how: Any) -> Any:
        return json.loads(scoreline(*arguments, "--json", **how))

    assert told("status", "m")["champion"]["version"] == "1"
    assert told("plan", "m")["taken_from"]["decisions"] == 300
    entry = told("canary", "m", "folder:/m/2", "--force", "a test", trusted=True)
    assert (entry["action"], entry["canary"], entry["why"]) == ("canary", "2", "forced: a test")
    assert entry["evidence"]["p99_ms"] > 0 and entry["evidence"]["rows"] == 3000
    assert entry["evidence"]["slow_ns"] > 0 and entry["evidence"]["high_score"] > 0
    assert told("status", "m")["canary"]["slow_ms"] == entry["evidence"]["slow_ns"] / 1e6
    entries = [json.loads(line) for line in scoreline("history", "m", "--json").splitlines()]
    assert [one["seq"] for one in entries] == [2, 1]
    with closing(scoreline.opened()) as database:
        assert history(database, "m", 1)[0].who == entry["who"] != ""


def test_a_backtest_shows_what_shadow_would_have(scoreline: Command, folder: Path) -> None:
    lines = scoreline("backtest", "m", "folder:/m/3", trusted=True).splitlines()
    assert lines[0] == "m: version 3 on every recorded decision of the champion"
    assert lines[1].startswith("  agreement: 300 decisions") and "  outcomes: none that is final yet" in lines[2]
    with closing(scoreline.opened()) as database:
        found = [one.row.id for one in walk(database, None, Wanted("m"), newest=False, page_rows=500)]
        told = [Outcome(float(number % 2), prediction=id_) for number, id_ in enumerate(found)]
        add_outcomes(database, [(one, b"") for one in told], "tests", time.time_ns())
    time.sleep(max(0.0, LAG_NS / 1e9 - 1))  # the last of them is final
    scoreline("shadow", "m", "folder:/m/2", trusted=True)
    said = json.loads(scoreline("backtest", "m", "2", "--json"))
    assert (said["model"], said["version"], said["report"]["pairs"]) == ("m", "2", 300)
    assert said["report"]["difference"][0] < 0 < said["report"]["difference"][1]
    assert said["report"]["unscored"] == 0 == said["report"]["outcomes_missing"]


def test_a_version_in_shadow_can_be_ended_or_promoted(scoreline: Command) -> None:
    scoreline("shadow", "m", str(scoreline.folder / "m-2"), trusted=True)
    scoreline("shadow", "m", "folder:/m/3", trusted=True)
    assert "error: version 3 is not proven SAFE" in scoreline("promote", "m", "3", code=1)
    assert scoreline("end-shadow", "m", "2") == "m: end shadow (entry 4); version 1 answers, in shadow: 3\n"
    assert "version 2 is not in shadow; in shadow is 3" in scoreline("end-shadow", "m", "2", code=1)
    assert scoreline("promote", "m", "3", "--force", "a test") == "m: promote (entry 5); version 3 answers\n"


def test_what_cannot_be_is_said_in_a_line(scoreline: Command) -> None:
    for arguments, said in (
        (("status", "n"), "error: no service with this database serves 'n' yet"),
        (("shadow", "m", "folder:/m/2"), "error: "),  # nobody is trusted
        (("canary", "m", "folder:/m/1", "--trust", str(keys(scoreline.folder)[1])), "error: version 1 is the champion"),
        (("advance", "m"), "error: there is no canary; `scoreline rollout canary` starts one"),
        (("rollback", "m"), "error: there is no canary to roll back"),
    ):
        told = scoreline(*arguments, code=1)
        assert told.startswith(said) and len(told.splitlines()) == 1
    with closing(scoreline.opened()) as database:
        assert len(history(database, "m", 9)) == 1


def test_a_folder_that_was_mistyped_is_not_made(tmp_path: Path) -> None:
    found = run_scoreline("rollout", "status", "m", "--state-dir", "stat", cwd=tmp_path)
    assert (found.returncode, found.stdout) == (1, "")
    assert "nothing is recorded in stat" in found.stderr and not (tmp_path / "stat").exists()


def test_who_seals_is_recorded_and_may_not_approve(scoreline: Command, tmp_path: Path) -> None:
    folder = scoreline.folder
    rows = tmp_path / "rows.parquet"
    frame().to_parquet(rows)
    for version, by in (("8", ()), ("9", ("--by", "grace"))):
        out = folder / f"m-{version}"
        model = tmp_path / "model.ubj"
        small_model()[0].save_model(model)
        given = ("--name", "m", "--output", "score", "--reference", str(rows), "--key", str(keys(folder)[0]))
        sealed = run_scoreline("seal", str(model), *given, "--out", str(out), *by, cwd=tmp_path)
        assert sealed.returncode == 0, sealed.stderr
    scoreline("canary", "m", "folder:/m/8", "--force", "a test", trusted=True)
    assert f"{user()} sealed version 8; somebody else must approve it" in scoreline("approve", "m", code=1)
    scoreline("rollback", "m")
    scoreline("canary", "m", "folder:/m/9", "--force", "a test", trusted=True)
    assert "m: approve (entry 5)" in scoreline("approve", "m")
