"""`scoreline keys` and `scoreline audit actions`: what they print, and what they refuse."""

import json
from pathlib import Path

from service import run_scoreline


def keys(folder: Path, *arguments: str) -> tuple[int, str, str]:
    ended = run_scoreline("keys", *arguments, "--state-dir", folder / "state", cwd=folder)
    return ended.returncode, ended.stdout, ended.stderr


def test_a_key_is_printed_alone_so_that_a_script_can_take_it(tmp_path: Path) -> None:
    code, key, said = keys(tmp_path, "create", "shop", "--scope", "predict", "--model", "fraud", "--priority", "high")
    assert (code, key.count("\n"), key.startswith("scoreline_")) == (0, 1, True)
    assert "key 1" in said and key.strip() not in said
    code, new, said = keys(tmp_path, "rotate", "1", "--grace-s", "60")
    assert code == 0 and new != key and "ends in 60 s" in said
    assert keys(tmp_path, "revoke", "2")[:2] == (0, "key 2 is revoked\n")
    code, listed, _ = keys(tmp_path, "list")
    first, second = (line.split("\t") for line in listed.splitlines())
    assert first[:6] == ["1", "shop", "active", "predict", "fraud", "high"] and first[6] != "never"
    assert second[:6] == ["2", "shop", "revoked", "predict", "fraud", "high"] and second[6:] == ["never", "never"]
    code, told, _ = keys(tmp_path, "list", "--json")
    assert [json.loads(line)["number"] for line in told.splitlines()] == [1, 2]
    assert (tmp_path / "state" / "scoreline.db").stat().st_mode & 0o077 == 0

    ended = run_scoreline("audit", "actions", "--state-dir", tmp_path / "state", "--json", cwd=tmp_path)
    done = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [one["action"] for one in done] == ["key revoked", "key rotated", "key created"]
    assert all(one["who"] and one["address"] == "" for one in done)
    for secret in (key.strip(), new.strip()):
        assert secret not in ended.stdout + listed + told
    ended = run_scoreline("audit", "actions", "--state-dir", tmp_path / "state", "--limit", "1", cwd=tmp_path)
    assert ended.stdout.count("\n") == 1 and "\tkey revoked\t" in ended.stdout


def test_what_no_key_can_be_is_refused_in_one_line(tmp_path: Path) -> None:
    for arguments, word in (
        (("create", "shop", "--scope", "root"), "scopes: "),
        (("create", "a b", "--scope", "read"), "name: "),
        (("create", "shop", "--scope", "read", "--priority", "urgent"), "priority: "),
        (("create", "shop", "--scope", "read", "--model", "../x"), "models: "),
        (("revoke", "7"), "there is no key 7"),
        (("rotate", "7"), "there is no key 7"),
    ):
        code, out, said = keys(tmp_path, *arguments)
        assert (code, out) == (1, "")
        assert said.startswith(f"error: {word}") and said.count("\n") == 1
