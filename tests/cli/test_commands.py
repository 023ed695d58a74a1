"""The commands as they are typed: what they print where, their exit codes, and what they refuse."""

import json
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xgboost
from typer.testing import CliRunner, Result

from scoreline.cli import COMMANDS, build_app
from service import SealedModel, run_scoreline, serving


def run(*arguments: str | Path) -> Result:
    """A command in this process: exit code, standard output, standard error."""
    return CliRunner().invoke(build_app([str(arguments[0])]), [str(argument) for argument in arguments])


def assert_refused(result: Result, *words: str) -> None:
    """Exit code 1, nothing on standard output, one line on standard error that holds these words."""
    assert (result.exit_code, result.stdout) == (1, ""), result.output
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    for word in words:
        assert word in result.stderr


def test_what_is_not_installed_is_said_and_keeps_no_other_command() -> None:
    """As where only the extra `serve` is."""
    start = "import sys; sys.modules['pyarrow'] = None; from scoreline.cli import main; main()"

    def without_pyarrow(*arguments: str) -> tuple[int, str]:
        command = [sys.executable, "-c", start, *arguments]
        found = subprocess.run(command, capture_output=True, text=True, check=False)
        return found.returncode, found.stdout + found.stderr

    code, said = without_pyarrow("--help")
    assert (code, "serve" in said, "pyarrow is not installed" in said) == (0, True, True)
    code, said = without_pyarrow("seal", "fraud.ubj", "--name", "fraud")
    assert (code, said.count("\n")) == (1, 1)
    assert "pyarrow is not installed, which comes with scoreline's extra `seal`" in said


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model file, its rows and a key pair."""
    folder = tmp_path_factory.mktemp("trained")
    rng = np.random.default_rng(3)
    rows = pd.DataFrame({"age": rng.integers(18, 80, 300), "premium": rng.gamma(2.0, 300.0, 300)})
    label = (rows["premium"] > 500).astype(int)
    booster = xgboost.train({"objective": "binary:logistic", "nthread": 1}, xgboost.DMatrix(rows, label), 5)
    booster.save_model(folder / "churn.ubj")
    rows.to_parquet(folder / "rows.parquet")
    assert run("keygen", "--out", folder / "signing").exit_code == 0
    return folder


def seal(folder: Path, out: Path, *more: str | Path) -> Result:
    command = ["seal", folder / "churn.ubj", "--name", "churn", "--output", "churn_probability"]
    command += ["--reference", folder / "rows.parquet", "--key", folder / "signing.key", "--out", out]
    return run(*command, *more)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_help_and_refuses_what_it_does_not_know(command: str) -> None:
    helped = run(command, "--help")
    assert helped.exit_code == 0
    assert f"scoreline {command}" in " ".join(helped.stdout.split()) or command in helped.stdout
    wrong = run(command, "--no-such-option")
    assert (wrong.exit_code, wrong.stdout) == (2, "")
    assert "no-such-option" in wrong.stderr


def test_the_command_line_itself(tmp_path: Path) -> None:
    helped = run_scoreline("--help", cwd=tmp_path)
    assert helped.returncode == 0
    assert all(command in helped.stdout for command in COMMANDS)
    bare = run_scoreline(cwd=tmp_path)
    assert bare.returncode == 2 and "Usage" in bare.stdout + bare.stderr
    assert run_scoreline("nonsense", cwd=tmp_path).returncode == 2
    made = run_scoreline("keygen", cwd=tmp_path)
    assert (made.returncode, made.stderr) == (0, "")
    again = run_scoreline("keygen", cwd=tmp_path)
    assert (again.returncode, again.stdout) == (1, "")
    assert again.stderr == "error: signing.key exists; a key is never overwritten: choose another name\n"


def test_keygen_makes_a_pair_only_its_owner_can_sign_with(tmp_path: Path) -> None:
    made = run("keygen", "-o", tmp_path / "team")
    assert made.exit_code == 0
    assert "fingerprint" in made.stdout and "PRIVATE" not in made.stdout
    assert stat.S_IMODE((tmp_path / "team.key").stat().st_mode) == 0o600
    assert b"PUBLIC KEY" in (tmp_path / "team.pub").read_bytes()
    before = (tmp_path / "team.key").read_bytes()
    assert_refused(run("keygen", "-o", tmp_path / "team"), "never overwritten")
    assert (tmp_path / "team.key").read_bytes() == before


def test_keygen_where_nothing_can_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert_refused(run("keygen", "-o", tmp_path / "file" / "team"), "file")


def test_a_model_is_sealed_verified_and_inspected(trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "churn-7"
    sealed = seal(trained, out, "--threshold", "call=0.4", "--threshold", "visit=0.9", "--otherwise", "leave")
    assert sealed.exit_code == 0, sealed.output
    assert "parity: margins equal bit for bit" in sealed.stdout

    verified = run("verify", out, "--trust", trained / "signing.pub")
    assert verified.exit_code == 0, verified.output
    assert "churn 7" in verified.stdout and "repeated bit for bit" in verified.stdout

    shown = run("inspect", out, "--json")
    manifest = json.loads(shown.stdout)
    assert (manifest["name"], manifest["version"], manifest["output"]) == ("churn", "7", "churn_probability")
    assert manifest["policy"] == {"outcomes": ["leave", "call", "visit"], "thresholds": [0.4, 0.9], "likeliest": False}
    told = run("inspect", out)
    assert told.exit_code == 0
    for word in ("churn 7", "premium", "leave, call from 0.4, visit from 0.9", "lineage", "measured"):
        assert word in told.stdout


@pytest.mark.parametrize(
    ("more", "words"),
    (
        (("--threshold", "call"), ("--threshold", "OUTCOME=SCORE")),
        (("--threshold", "call=high"), ("--threshold", "OUTCOME=SCORE")),
        (("--iterations", "some"), ("--iterations", "best or all")),
        (("--classes", "a,b,c"), ("classes",)),
        (("--name", "no/slash"), ("name",)),
        (("--output", "outcome"), ("output",)),
        (("--reference", "nowhere.parquet"), ("nowhere.parquet",)),
        (("--schema", "nowhere.toml"), ("nowhere.toml",)),
        (("--key", "nowhere.key"), ("nowhere.key", "keygen")),
    ),
)
def test_what_cannot_be_sealed_is_refused_and_leaves_nothing(
    trained: Path, tmp_path: Path, more: tuple[str, ...], words: tuple[str, ...]
) -> None:
    assert_refused(seal(trained, tmp_path / "out" / "churn-1", *more), *words)
    assert not (tmp_path / "out").exists() or list((tmp_path / "out").iterdir()) == []


def test_a_place_that_cannot_be_written_is_refused_in_one_line(
    trained: Path, sealed: SealedModel, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    assert_refused(seal(trained, tmp_path / "file" / "churn-1"), "file")
    options = ("--trust", sealed.public_key, "--state-dir", tmp_path / "file" / "state", "--port", "0")
    served = run_scoreline("serve", sealed.folder, *options, "--admin-port", "0", cwd=tmp_path)
    assert (served.returncode, served.stdout) == (1, "")
    assert served.stderr.startswith("error: ") and served.stderr.count("\n") == 1


def test_a_bundle_is_never_overwritten(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "churn-1").mkdir()
    assert_refused(seal(trained, tmp_path / "churn-1"), "never overwritten")


def test_a_missing_option_is_a_wrong_command_line(trained: Path) -> None:
    result = run("seal", trained / "churn.ubj", "--name", "churn")
    assert result.exit_code == 2
    assert "Missing option" in result.stderr


@pytest.mark.parametrize("file", ("manifest.json", "model.ubj", "profile.json", "golden.json", "model.sig"))
def test_verify_refuses_a_bundle_with_one_changed_byte(sealed: SealedModel, tmp_path: Path, file: str) -> None:
    bundle = tmp_path / "changed"
    shutil.copytree(sealed.folder, bundle)
    raw = bytearray((bundle / file).read_bytes())
    raw[len(raw) // 2] ^= 1
    (bundle / file).write_bytes(raw)
    assert_refused(run("verify", bundle, "--trust", sealed.public_key))


def test_verify_refuses_added_and_missing_files_other_keys_and_no_bundle(sealed: SealedModel, tmp_path: Path) -> None:
    added, missing = tmp_path / "added", tmp_path / "missing"
    for bundle in (added, missing):
        shutil.copytree(sealed.folder, bundle)
    (added / "extra.bin").write_bytes(b"x")
    (missing / "profile.json").unlink()
    assert_refused(run("verify", added, "--trust", sealed.public_key), "extra.bin")
    assert_refused(run("verify", missing, "--trust", sealed.public_key), "profile.json")
    assert run("keygen", "-o", tmp_path / "other").exit_code == 0
    assert_refused(run("verify", sealed.folder, "--trust", tmp_path / "other.pub"), "not trusted")
    assert_refused(run("verify", sealed.folder, "--trust", tmp_path / "none.pub"), "no public key")
    assert_refused(run("verify", sealed.folder, "--trust", sealed.folder / "manifest.json"), "PEM public key")
    assert_refused(run("verify", tmp_path / "nothing", "--trust", sealed.public_key), "no bundle folder")


def test_inspect_shows_units_ranges_categories_and_defaults(
    sealed: SealedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    shown = run("inspect", sealed.folder)
    assert shown.exit_code == 0
    for word in (
        "amount",
        "EUR",
        "0 .. 100000",
        "at, de, fr:sud, uk",
        "365",
        "number, nullable",
        "km",
        "review from 0.3",
    ):
        assert word in shown.stdout
    assert json.loads(run("inspect", sealed.folder, "--json").stdout)["name"] == "fraud"


def test_inspect_refuses_what_is_no_bundle(tmp_path: Path) -> None:
    assert_refused(run("inspect", tmp_path), "not a bundle")
    assert_refused(run("inspect", tmp_path / "nothing"), "no bundle folder")
    (tmp_path / "manifest.json").write_text("{}")
    assert_refused(run("inspect", tmp_path))


def test_serve_refuses_before_it_starts_anything(sealed: SealedModel, sealed_next: SealedModel, tmp_path: Path) -> None:
    trust = ("--trust", str(sealed.public_key))
    folder = str(sealed.folder)
    for arguments, words in (
        ((folder,), ("no trusted key", "--trust")),
        ((folder, "--trust", "none.pub"), ("none.pub",)),
        (("nowhere", *trust), ("nowhere",)),
        (("folder:/none", *trust), ("none",)),
        (("models:/none/1", *trust), ("models", "MLFLOW_TRACKING_URI")),
        ((folder, str(sealed_next.folder), *trust), ("two references", "fraud")),
        ((folder, *trust, "--default", "churn"), ("--default churn", "fraud")),
        ((folder, *trust, "--workers", "0"), ("server.workers",)),
        ((folder, *trust, "--port", "99999"), ("server.port",)),
        ((folder, *trust, "--config", "none.toml"), ("none.toml",)),
        ((folder, *trust, "--host", "not a host"), ("not a host",)),
    ):
        result = run_scoreline(
            "serve", *arguments, "--admin-port", "0", "--state-dir", tmp_path / "state", cwd=tmp_path
        )
        assert (result.returncode, result.stdout) == (1, ""), (arguments, result)
        assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1, result.stderr
        for word in words:
            assert word in result.stderr, (arguments, result.stderr)
    assert run_scoreline("serve", folder, "--port", "many", cwd=tmp_path).returncode == 2


def test_an_unknown_setting_ends_serve_and_batch_with_its_name(sealed: SealedModel, tmp_path: Path) -> None:
    for command in (("serve", sealed.folder), ("batch", sealed.folder, "in.csv", "out.csv")):
        result = run_scoreline(*command, cwd=tmp_path, SCORELINE_SERVER__PROT="1")
        assert (result.returncode, result.stdout) == (1, "")
        assert "unknown setting 'server.prot'" in result.stderr


def test_a_state_folder_belongs_to_one_service(sealed: SealedModel, tmp_path: Path) -> None:
    with serving(sealed, folder=tmp_path) as service:
        options = ("--trust", sealed.public_key, "--state-dir", service.state_dir, "--port", "0", "--admin-port", "0")
        second = run_scoreline("serve", sealed.folder, *options, cwd=tmp_path)
        assert (second.returncode, second.stdout) == (1, "")
        assert "another service runs in" in second.stderr and "--state-dir" in second.stderr
        assert service.get("/healthz/ready").status_code == 200


@pytest.mark.parametrize("command", ("verify", "pull", "batch"))
def test_a_bundle_whose_model_ends_its_process_does_not_end_the_command(
    sealed: SealedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    (tmp_path / "python").write_text("#!/bin/sh\nkill -SEGV $$\n")
    (tmp_path / "python").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("SCORELINE_STATE_DIR", str(tmp_path / "state"))
    files = ("in.csv", tmp_path / "out.csv") if command == "batch" else ()
    refused = run(command, sealed.folder, *files, "--trust", sealed.public_key)
    assert_refused(refused, "its model file ended the process that tried it (code -11)")


def test_verify_trusts_what_the_settings_trust(sealed: SealedModel, tmp_path: Path) -> None:
    (tmp_path / "scoreline.toml").write_text(f'[trust]\nkeys = ["{sealed.public_key}"]\n')
    assert run_scoreline("verify", sealed.folder, cwd=tmp_path).returncode == 0
    assert (
        run_scoreline("verify", sealed.folder, "--config", tmp_path / "scoreline.toml", cwd=Path("/")).returncode == 0
    )
    untrusted = run_scoreline("verify", sealed.folder, cwd=Path("/"))
    assert untrusted.returncode == 1 and "no trusted key" in untrusted.stderr
