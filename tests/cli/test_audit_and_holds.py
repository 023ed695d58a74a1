"""`scoreline audit` and `scoreline holds`, as an operator and an auditor use them."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from scoreline.core.entities import entity_hash
from scoreline.operations.keys import kept_key
from scoreline.records.database import open_database
from scoreline.records.ship import Shipper
from scoreline.signing import generate_keys
from service import CHURN_ROW, SealedModel, run_scoreline


@pytest.fixture
def state(churn: SealedModel, tmp_path: Path) -> Path:
    """A state folder with ten decisions, half of them about Marie."""
    from scoreline.records.writer import SpoolWriter

    state = tmp_path / "state"
    key = kept_key(state / "entity.key")
    writer = SpoolWriter(state / "spool", 1 << 20)
    for number in range(10):
        made = churn.decide(CHURN_ROW)
        made.entities = [entity_hash("Marie" if number % 2 else "Paul", key)]
        writer.write(made)
    writer.close()
    with closing(open_database("", state / "scoreline.db")) as database:
        database.prepare()
        shipper = Shipper(state / "spool", database, "here")
        while shipper.ship():
            pass
    return tmp_path


def scoreline(folder: Path, *arguments: str, code: int = 0) -> str:
    found = run_scoreline(*arguments, "--state-dir", "state", cwd=folder)
    assert found.returncode == code, found.stderr
    return found.stdout + found.stderr


def test_the_whole_way_from_nothing_signed_to_a_proof_offline(state: Path) -> None:
    assert "no audit.pub in state" in scoreline(state, "audit", "verify", code=1)
    said = scoreline(state, "audit", "export", "first.db")
    assert "10 decisions" in said
    said = scoreline(state, "audit", "verify")
    assert said.startswith("intact: 10 decisions in 1 segments, 1 checkpoints\n")
    head = said.splitlines()[-1].partition("--head ")[2]
    said = scoreline(state, "audit", "erase", "--entity", "Marie", "--reason", "she asked to")
    assert said.startswith("erasure 1: 5 decisions and 0 outcomes are erased\n")
    assert "left before, out of reach: audit first.db (SHA-256 " in said
    assert "Marie" not in said
    said = scoreline(state, "audit", "verify", "--head", head)
    assert "5 erased and 0 removed, signed for" in said
    report = json.loads(scoreline(state, "audit", "verify", "--json"))
    assert (report["verdict"], report["erased"], report["findings"]) == ("intact", 5, [])
    assert "she asked to\t5\t0\twatched" in scoreline(state, "audit", "erasures")

    scoreline(state, "audit", "export", "log.db", "--model", "churn", "--from", "1970-01-01")
    elsewhere = state / "elsewhere"
    elsewhere.mkdir()
    for name in ("log.db", "state/audit.pub"):
        (state / name).rename(elsewhere / Path(name).name)
    said = scoreline(elsewhere, "audit", "verify", "log.db", "--trust", "audit.pub")
    assert said.startswith("intact: 10 decisions")
    assert 'an export; its filter: {"from_ns": 0, "model": "churn", "until_ns": null}' in said
    with closing(sqlite3.connect(elsewhere / "log.db")) as connection, connection:
        connection.execute("UPDATE decisions SET caller = 'x' WHERE salt IS NOT NULL")
    said = scoreline(elsewhere, "audit", "verify", "log.db", "--trust", "audit.pub", code=3)
    assert "altered: segment " in said
    assert "broken: " in said


def test_a_hold_stands_in_the_way_until_it_is_released(state: Path) -> None:
    assert (
        scoreline(state, "holds", "place", "--entity", "Marie", "--until", "2199-01-01", "--reason", "a court")
        == "hold 1\n"
    )
    assert scoreline(state, "holds", "place", "--model", "churn", "--reason", "a case") == "hold 2\n"
    first, second = scoreline(state, "holds", "list").splitlines()
    assert first.startswith("1\tentity ") and first.endswith("a court") and "until 2199-01-01T00:00:00Z" in first
    assert second.split("\t")[:2] == ["2", "model churn"]
    assert "`scoreline holds` lists them" in scoreline(
        state, "audit", "erase", "--entity", "Marie", "--reason", "she asked to", code=1
    )
    for number in ("1", "2"):
        assert scoreline(state, "holds", "release", number) == f"hold {number} is released\n"
    assert "error: there is no hold 1" in scoreline(state, "holds", "release", "1", code=1)
    assert scoreline(state, "holds", "list") == ""
    assert "5 decisions" in scoreline(state, "audit", "erase", "--entity", "Marie", "--reason", "she asked to")


def test_a_folder_that_was_mistyped_is_not_made(state: Path) -> None:
    for arguments in (
        ("audit", "erase", "--entity", "Marie", "--reason", "x"),
        ("audit", "verify"),
        ("audit", "rekey"),
        ("holds", "list"),
    ):
        found = run_scoreline(*arguments, "--state-dir", "stat", cwd=state)
        assert (found.returncode, found.stdout) == (1, "")
        assert "nothing is recorded in stat" in found.stderr
    assert not (state / "stat").exists()
    (state / "state" / "entity.key").unlink()
    assert "no entity.key in state" in scoreline(state, "audit", "erase", "--entity", "Marie", "--reason", "x", code=1)


def test_another_key_goes_on_only_where_one_says_so(state: Path) -> None:
    scoreline(state, "audit", "export", "log.db")
    for name in ("audit.key", "audit.pub"):
        (state / "state" / name).rename(state / name)
    erase = ("audit", "erase", "--entity", "Marie", "--reason", "she asked to")
    assert "scoreline audit rekey" in scoreline(state, *erase, code=1)
    assert scoreline(state, "audit", "rekey").startswith("checkpoint 2 is signed by ")
    assert "5 decisions" in scoreline(state, *erase)
    assert "intact" in scoreline(state, "audit", "verify", "--trust", "audit.pub", "--trust", "state/audit.pub")


def test_with_no_checkpoint_there_is_no_verdict(state: Path) -> None:
    scoreline(state, "audit", "export", "log.db")
    with closing(sqlite3.connect(state / "state" / "scoreline.db")) as connection, connection:
        connection.execute("DELETE FROM checkpoints")
        connection.execute("UPDATE segments SET signed = NULL")
    assert "nothing signed: " in scoreline(state, "audit", "verify", code=4)


@pytest.mark.parametrize(
    ("arguments", "said"),
    (
        (("audit", "export", "log.db", "--from", "yesterday"), "--from: a day as 2026-11-24"),
        (("audit", "export", "log.db", "--from", "2026-02-01", "--until", "2026-01-01"), "--from comes after --until"),
        (("audit", "verify", "nothing.db"), "no file at nothing.db"),
        (("audit", "verify", "--head", "17"), "--head: NUMBER:HASH"),
        (("audit", "verify", "state/entity.key"), "no export of `scoreline audit export`"),
        (("audit", "erase", "--entity", "", "--reason", "x"), "--entity: must be a text"),
        (("holds", "place", "--entity", "", "--reason", "x"), "--entity: must be a text"),
        (("holds", "place", "--until", "2026-11-24T10:00", "--reason", "x"), "--until: a day"),
    ),
)
def test_what_makes_no_sense_is_said_in_a_line(state: Path, arguments: tuple[str, ...], said: str) -> None:
    generate_keys(state / "state" / "audit.key", state / "state" / "audit.pub")
    assert said in scoreline(state, *arguments, code=1)
