"""`scoreline decisions` through the real command, on a state folder as a service leaves it."""

import hashlib
import json
import shutil
import sqlite3
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from recorded import decided, golden_rows, kept, spooled
from scoreline.core.decision import Decisions
from scoreline.core.entities import entity_hash
from service import run_scoreline

FRAUD = Path(__file__).parents[1] / "formats" / "bundle-1" / "fraud-1"
HERE = ("--state-dir", "state")
ENTITY_KEY = "k" * 32


@pytest.fixture
def made(tmp_path: Path) -> list[Decisions]:
    """Six decisions in `state`, three of the shop and about c-1, and outcomes of the first two."""
    kept(FRAUD, tmp_path / "state")
    many = decided(FRAUD, golden_rows(FRAUD)[:3], caller="shop") + decided(FRAUD, golden_rows(FRAUD)[3:6])
    for found in many[:3]:
        found.entities = [entity_hash("c-1", hashlib.sha256(ENTITY_KEY.encode()).digest())]
    spooled(tmp_path / "state", many)
    rows = [{"prediction_id": found[0].id, "value": value} for found, value in zip(many, (1, 0), strict=False)]
    (tmp_path / "outcomes.jsonl").write_text("\n".join(map(json.dumps, rows)))
    told = run_scoreline("outcomes", "import", "outcomes.jsonl", *HERE, cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    return many


def listed(folder: Path, *arguments: str | Path) -> list[str]:
    keyed = {"SCORELINE_RECORDS__ENTITY_KEY": ENTITY_KEY}
    found = run_scoreline("decisions", *arguments, "--json", *HERE, cwd=folder, **keyed)
    assert found.returncode == 0, found.stderr
    return [json.loads(line)["id"] for line in found.stdout.splitlines()]


def test_the_newest_are_listed_with_score_outcome_and_label(tmp_path: Path, made: list[Decisions]) -> None:
    found = run_scoreline("decisions", *HERE, cwd=tmp_path)
    assert (found.returncode, found.stderr) == (0, "")
    head, *lines = found.stdout.splitlines()
    assert head.split() == ["id", "time", "model", "version", "score", "outcome", "label"]
    assert {line.split()[0] for line in lines} == {one[0].id for one in made}
    cells = {line.split()[0]: line.split()[2:] for line in lines}
    decision = made[0][0]
    assert cells[decision.id] == ["fraud", "1", f"{decision.scores[0]:.6g}", decision.outcome, "1"]
    assert cells[made[5][0].id][3:] == [made[5][0].outcome]
    few = run_scoreline("decisions", "--limit", "2", *HERE, cwd=tmp_path).stdout.splitlines()
    assert len(few) == 3
    nothing = run_scoreline("decisions", "--state-dir", "nothing", cwd=tmp_path)
    assert (nothing.returncode, nothing.stdout) == (0, "no decisions\n")
    assert not (tmp_path / "nothing" / "scoreline.db").exists()


def test_filters_and_json(tmp_path: Path, made: list[Decisions]) -> None:
    ids = [one[0].id for one in made]
    assert sorted(listed(tmp_path)) == sorted(ids)
    assert sorted(listed(tmp_path, "--caller", "shop")) == sorted(ids[:3])
    assert sorted(listed(tmp_path, "--entity", "c-1", "--model", "fraud", "--role", "champion")) == sorted(ids[:3])
    assert listed(tmp_path, "--entity", "c-2") == listed(tmp_path, "--version", "7") == []
    assert sorted(listed(tmp_path, "--labelled")) == sorted(ids[:2])
    assert sorted(listed(tmp_path, "--unlabelled")) == sorted(ids[2:])
    assert listed(tmp_path, "--until", "2026-01-01") == []
    outcome = str(made[0][0].outcome)
    same = [one[0].id for one in made if one[0].outcome == outcome]
    assert sorted(listed(tmp_path, "--outcome", outcome)) == sorted(same)
    one = run_scoreline("decisions", "--json", "--limit", "1", "--labelled", *HERE, cwd=tmp_path)
    told = json.loads(one.stdout)
    assert set(told) == {
        "id", "time", "model", "version", "role", "caller", "scores", "outcome",
        "label", "label_observed_at", "label_status",
    }  # fmt: skip
    assert (told["label_status"], told["scores"]) == ("matured", {"fraud_probability": pytest.approx(0.5, abs=0.5)})


def test_a_training_set_is_exported_and_entered(tmp_path: Path, made: list[Decisions]) -> None:
    found = run_scoreline("decisions", "--out", "set.parquet", "--entity", "c-1", *HERE, cwd=tmp_path,
                          SCORELINE_RECORDS__ENTITY_KEY=ENTITY_KEY)  # fmt: skip
    assert (found.returncode, found.stdout) == (0, "set.parquet: 2 decisions\n"), found.stderr
    assert found.stderr == "sensitive fields are left out: country\n"
    table = pq.read_table(tmp_path / "set.parquet")
    assert table["label"].to_pylist() == [1.0, 0.0] and "country" not in table.schema.names
    every = run_scoreline("decisions", "--out", "all.jsonl", "--unlabelled", "--sensitive", *HERE, cwd=tmp_path)
    assert (every.returncode, every.stdout, every.stderr) == (0, "all.jsonl: 6 decisions\n", "")
    assert '"country"' in (tmp_path / "all.jsonl").read_text()
    with sqlite3.connect(tmp_path / "state" / "scoreline.db") as database:
        entered = database.execute("SELECT name, filter, rows FROM exports ORDER BY id").fetchall()
    assert [(name, rows) for name, _, rows in entered] == [("set.parquet", 2), ("all.jsonl", 6)]
    assert json.loads(entered[0][1]) == {"entity": made[0].entities[0].hex()} and "c-1" not in str(entered)
    assert json.loads(entered[1][1]) == {"unlabelled": True, "sensitive": True}


def test_it_says_what_is_wrong(tmp_path: Path, made: list[Decisions]) -> None:
    (tmp_path / "there.csv").write_text("")
    for arguments, said in (
        (("--from", "yesterday"), "--from: a day as 2026-11-24, or a time with its zone"),
        (("--labelled", "--unlabelled"), "--labelled or --unlabelled"),
        (("--out", "x.csv", "--limit", "3"), "are of the list"),
        (("--out", "x.csv", "--json"), "are of the list"),
        (("--sensitive",), "--sensitive goes with --out"),
        (("--out", "x.xlsx"), "must end in .parquet"),
        (("--out", "there.csv"), "nothing is overwritten"),
        (("--entity", "\n"), "--entity: must be a text"),
    ):
        found = run_scoreline("decisions", *arguments, *HERE, cwd=tmp_path)
        assert found.returncode == 1 and said in found.stderr, arguments


def test_without_the_bundle_nothing_has_matured_and_it_says_so(tmp_path: Path, made: list[Decisions]) -> None:
    shutil.rmtree(tmp_path / "state" / "bundles")
    found = run_scoreline("decisions", "--out", "set.csv", *HERE, cwd=tmp_path)
    assert (found.returncode, found.stdout) == (0, "set.csv: 0 decisions\n")
    assert "scoreline pull" in found.stderr and "not here: 1; their fields are left out" in found.stderr
    found = run_scoreline("decisions", "--out", "more.csv", "--immature", "--sensitive", *HERE, cwd=tmp_path)
    assert found.stdout == "more.csv: 2 decisions\n"
    assert "the numbers of the record" in found.stderr
    assert ",amount,age_days,country," in (tmp_path / "more.csv").read_text().replace('"', "")
