"""`GET /budget/{name}` and `scoreline budget`: what the parts of a request spend, over all workers."""

import json
from pathlib import Path

import httpx

from service import FRAUD_ROW, SealedModel, run_scoreline, serving, wait_until

PARTS = ["wait", "auth", "features", "model", "rest", "total"]


def test_the_budget_is_told_over_all_workers_on_the_control_plane_and_the_command_line(
    sealed: SealedModel, tmp_path: Path
) -> None:
    n, own = 120, {"SCORELINE_LATENCY__MODELS": "fraud/network_ms=20,fraud/total_ms=10000,fraud/model_ms=90"}
    with serving(sealed, folder=tmp_path, workers=2, **own) as service:
        before = run_scoreline("budget", "fraud", "--url", service.admin_url, cwd=tmp_path)
        for _ in range(n):
            assert httpx.post(service.url + "/predict", json=FRAUD_ROW).status_code == 200

        def told() -> dict[str, object] | None:
            found: dict[str, object] = service.admin("/budget/fraud").json()
            return found if found["requests"] == n else None

        found = wait_until(told, "the steward has read what both workers recorded")
        after = run_scoreline("budget", "fraud", "--url", service.admin_url, cwd=tmp_path)
        as_json = run_scoreline("budget", "fraud", "--url", service.admin_url, "--json", cwd=tmp_path)
        nobody = run_scoreline("budget", "nobody", "--url", service.admin_url, cwd=tmp_path)
        status = service.admin("/status").json()["decisions"]
    assert "no requests in the last 10 minutes" in before.stdout
    assert (found["within"], found["network_ms"], found["total_ms"]) == (1.0, 20, 10_000)
    parts = found["parts"]
    assert list(parts) == PARTS
    assert {part: times["share_ms"] for part, times in parts.items() if times["share_ms"] is not None} == {
        "features": 10,
        "model": 90,
        "total": 9980,
    }
    for times in parts.values():
        assert times["p50_ms"] <= times["p95_ms"] <= times["p99_ms"]
    assert 0 < parts["model"]["p50_ms"] <= parts["total"]["p50_ms"] * 1.05
    assert json.loads(as_json.stdout) == found
    lines = after.stdout.splitlines()
    assert lines[0] == f"fraud: {n} requests in the last 10 minutes, on this host; 100.00% of them within 9980 ms"
    assert [line.split()[0] for line in lines[2:]] == [*PARTS, "network"]
    assert (nobody.returncode, "no such model" in nobody.stderr) == (1, True)
    (tally,) = status
    assert tally["seconds"]["total"]["count"] == n


def test_where_no_control_plane_answers_it_says_what_to_do(tmp_path: Path) -> None:
    found = run_scoreline("budget", "fraud", "--url", "http://127.0.0.1:9", cwd=tmp_path)
    assert (found.returncode, "say with --url where it is" in found.stderr) == (1, True)
    found = run_scoreline("budget", "fraud", "--url", "127.0.0.1:9", cwd=tmp_path)
    assert (found.returncode, "--url: as http://" in found.stderr) == (1, True)
