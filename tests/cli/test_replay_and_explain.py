"""`scoreline replay` and `scoreline explain` on the spool of a state folder."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from recorded import decided, golden_rows, kept, spooled
from scoreline.core.decision import Decisions
from service import run_scoreline

FORMAT = Path(__file__).parents[1] / "formats" / "bundle-1"
FRAUD = FORMAT / "fraud-1"


@pytest.fixture
def made(tmp_path: Path) -> list[Decisions]:
    """Twelve decisions in `state`."""
    kept(FRAUD, tmp_path / "state")
    return spooled(tmp_path / "state", decided(FRAUD, golden_rows(FRAUD)[:12]))


def test_all_are_equal(tmp_path: Path, made: list[Decisions]) -> None:
    found = run_scoreline("replay", "--all", "--state-dir", "state", cwd=tmp_path)
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout.splitlines() == [
        "12 decisions: 12 equal",
        "12 are guaranteed to have the same bits on any CPU",
    ]


def test_one_is_equal_and_what_was_altered_is_told(tmp_path: Path, made: list[Decisions]) -> None:
    altered = replace(made[0], base=made[0].base + (1 << 30), margins=made[0].margins + 0.5)
    older = replace(made[1], base=made[1].base + (1 << 30), author=replace(made[1].author, engine="xgboost 1.7.6"))
    spooled(tmp_path / "state", [altered, older])
    one = run_scoreline("replay", made[0][0].id, older[0].id, "--state-dir", "state", cwd=tmp_path)
    assert one.returncode == 0
    assert one.stdout.splitlines() == [
        f"{made[0][0].id}  equal  (fraud 1, any CPU)",
        f"{older[0].id}  equal  (fraud 1, any CPU): recorded with another version of the library",
    ]
    every = run_scoreline("replay", "--all", "--model", "fraud", "--state-dir", "state", cwd=tmp_path)
    assert every.returncode == 3
    first, *rest = every.stdout.splitlines()
    assert first == f"{altered[0].id}  differs by 0.5  (fraud 1, any CPU)"
    assert rest[0] == "14 decisions: 13 equal, 1 differs"
    assert rest[-1].startswith("1 were recorded with xgboost 1.7.6 and computed again with ")


def test_json_has_a_line_per_decision(tmp_path: Path, made: list[Decisions]) -> None:
    found = run_scoreline("replay", "--all", "--json", "--state-dir", "state", cwd=tmp_path)
    verdicts = [json.loads(line) for line in found.stdout.splitlines()]
    assert [verdict["id"] for verdict in verdicts] == [one[0].id for one in made]
    assert {verdict["result"] for verdict in verdicts} == {"equal"}


@pytest.mark.parametrize("which", (("--all",), ()), ids=("all", "by id"))
def test_with_another_version(tmp_path: Path, made: list[Decisions], which: tuple[str, ...]) -> None:
    other = FORMAT.with_name("bundle-1-sklearn-forest")
    trust = ("--trust", other / "signing.pub", "--state-dir", "state")
    chosen = which or tuple(one[0].id for one in made)
    found = run_scoreline("replay", *chosen, "--with", other / "fraud-1", *trust, cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    assert found.stdout.startswith("12 decisions: 12 comparable\nscores move by ")
    assert " -> " in found.stdout
    lines = run_scoreline("replay", *chosen, "--with", other / "fraud-1", *trust, "--json", cwd=tmp_path)
    assert all(json.loads(line)["comparable"] for line in lines.stdout.splitlines())
    refused = run_scoreline("replay", *chosen, "--with", other / "fraud-1", "--state-dir", "state", cwd=tmp_path)
    assert refused.returncode == 1 and "no trusted key" in refused.stderr


def test_it_says_what_is_wrong(tmp_path: Path, made: list[Decisions]) -> None:
    for arguments, said in (
        ((), "their ids, or --all"),
        ((made[0][0].id, "--all"), "their ids, or --all"),
        (("nonsense",), "there is no such decision"),
    ):
        found = run_scoreline("replay", *arguments, "--state-dir", "state", cwd=tmp_path)
        assert found.returncode == 1 and said in found.stderr
    nothing = run_scoreline("replay", "--all", "--state-dir", "nothing", cwd=tmp_path)
    assert (nothing.returncode, nothing.stdout) == (0, "0 decisions: none recorded\n")
    shutil.rmtree(tmp_path / "state" / "bundles")
    missing = run_scoreline("replay", "--all", "--state-dir", "state", cwd=tmp_path)
    assert missing.returncode == 3 and "12 missing" in missing.stdout
    assert "scoreline pull" in run_scoreline("explain", made[0][0].id, "--state-dir", "state", cwd=tmp_path).stderr


def test_explain_names_reasons(tmp_path: Path) -> None:
    kept(FRAUD, tmp_path / "state")
    (made,) = spooled(tmp_path / "state", decided(FRAUD, np.array([[9000.0, 12.0, 3.0, 1.0, 4.5, 2.0]])))
    found = run_scoreline("explain", made[0].id, "--values", "--state-dir", "state", cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    assert found.stdout.startswith("fraud 1: margin of fraud_probability ")
    assert "1. a high amount (9000.0)\n" in found.stdout
    assert "[not reviewed]" in found.stdout
    plain = run_scoreline("explain", made[0].id, "--json", "--state-dir", "state", cwd=tmp_path)
    explained = json.loads(plain.stdout)
    assert explained["reasons"][0] == {
        "field": "amount", "text": "a high amount", "reviewed": True, "value": None,
        "contribution": explained["contributions"]["amount"],
    }  # fmt: skip
    wrong = run_scoreline("explain", made[0].id, "--adverse", "up", "--state-dir", "state", cwd=tmp_path)
    assert (wrong.returncode, wrong.stderr) == (1, "error: --adverse: higher or lower\n")


def test_what_a_batch_job_decided_is_replayed_from_its_file(tmp_path: Path) -> None:
    """With the bundle beside, or from the state folder; one that was altered is found."""
    lines = ["amount,age_days,distance", *(f"{100 * row},{row},{row / 7}" for row in range(50)), "-1,1,1"]
    (tmp_path / "in.csv").write_text("\n".join(lines))
    trust, kept_in = ("--trust", FORMAT / "signing.pub"), ("--record", "decided.parquet")
    made = run_scoreline("batch", FRAUD, "in.csv", "out.csv", *kept_in, *trust, cwd=tmp_path)
    assert made.returncode == 3, made.stderr
    assert made.stdout.splitlines()[1] == f"{tmp_path / 'decided.parquet'}: their decisions"
    there = ("replay", "--from", "decided.parquet", "--state-dir", "state")
    assert "50 missing" in run_scoreline(*there, cwd=tmp_path).stdout
    for more in (("--bundle", FRAUD), ()):
        found = run_scoreline(*there, *more, cwd=tmp_path)
        assert (found.returncode, found.stdout.splitlines()[0]) == (0, "50 decisions: 50 equal"), found.stderr
        kept(FRAUD, tmp_path / "state")
    other = FORMAT.with_name("bundle-1-lightgbm") / "fraud-1"
    assert "50 equal" in run_scoreline(*there, "--bundle", other, cwd=tmp_path).stdout, "the digest says which"
    assert "none recorded" in run_scoreline(*there, "--model", "churn", cwd=tmp_path).stdout
    table = pq.read_table(tmp_path / "decided.parquet")
    margins = table["margins"].to_pylist()
    margins[7] = np.float64(0.125).tobytes()
    pq.write_table(table.set_column(table.schema.get_field_index("margins"), "margins", [margins]),
                   tmp_path / "decided.parquet")  # fmt: skip
    found = run_scoreline(*there, cwd=tmp_path)
    assert found.returncode == 3 and "49 equal, 1 differs" in found.stdout
    for arguments, said in (
        ((*there, "--all"), "their ids, or --all, or --from a file"),
        (("replay", "--all", "--bundle", FRAUD), "--bundle goes with --from"),
        (("replay", "--from", "nowhere.parquet"), "no file at"),
        (("replay", "--from", "in.csv"), "cannot be read as Parquet"),
    ):
        found = run_scoreline(*arguments, cwd=tmp_path)
        assert found.returncode == 1 and said in found.stderr
