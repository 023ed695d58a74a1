"""The verdict as Argo Rollouts and Flagger ask for it: by what their own documentation says, on a live service.

The examples are those of docs/rollouts.md.
"""

import json
import re
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from expressions import at_path, evaluated, phase

from scoreline.operations.rollouts import By, promote, roll_back
from scoreline.records.database import open_database
from service import REPOSITORY, SealedModel, Service, run_scoreline, serving, wait_until

KEY = "a-key-of-at-least-24-characters"
# Flagger's documentation: the payload of a webhook, and of one with the newer words.
PAYLOADS = (
    {
        "name": "podinfo",
        "namespace": "test",
        "phase": "Progressing",
        "metadata": {"test": "all", "token": "16688eb5e9f289f1991c"},
    },
    {"name": "podinfo", "namespace": "test", "phase": "Progressing", "checksum": "abc", "metadata": None},
)


def examples() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The metrics for Argo Rollouts and the webhooks for Flagger, as the page shows them."""
    blocks = re.findall(r"```yaml\n(.*?)```", (REPOSITORY / "docs" / "rollouts.md").read_text(), re.DOTALL)
    found = {name: part for block in blocks for name, part in yaml.safe_load(block).items()}
    return found["metrics"], found["webhooks"]


def argo(service: Service, metric: dict[str, Any]) -> str:
    """A measurement as the provider `web` takes it: a GET with headers, 2xx, JSON, a path, and the conditions."""
    filled = json.loads(json.dumps(metric).replace("{{ args.version }}", "2").replace("{{ args.api-token }}", KEY))
    web = filled["provider"]["web"]
    headers = {header["key"]: header["value"] for header in web.get("headers", ())}
    answer = httpx.get(web["url"].replace("http://127.0.0.1:8001", service.admin_url), headers=headers, timeout=10)
    if not 200 <= answer.status_code < 300:
        return "Error"
    return phase(filled, at_path(web["jsonPath"], answer.json()))


def flagger(service: Service, hook: dict[str, Any], payload: dict[str, Any]) -> bool:
    """Whether a webhook lets pass: 200 to 202 do, all else halts (or, of the type rollback, does not roll back)."""
    url = hook["url"].replace("http://127.0.0.1:8001", service.admin_url).replace("version=8", "version=2")
    return 200 <= httpx.post(url, json=payload, headers={"x-api-key": KEY}, timeout=10).status_code <= 202


def test_both_are_answered_at_each_stage_of_a_rollout(
    sealed: SealedModel, sealed_next: SealedModel, tmp_path: Path
) -> None:
    metrics, webhooks = examples()
    assert [hook["type"] for hook in webhooks] == ["rollout", "confirm-promotion", "rollback"]
    with (
        serving(sealed, folder=tmp_path, SCORELINE_ACCESS__ADMIN_KEY=KEY) as service,
        closing(open_database("", service.state_dir / "scoreline.db")) as database,
    ):

        def stands(phases: str, passes: tuple[bool, bool, bool]) -> None:
            assert [argo(service, metric) for metric in metrics] == [phases] * len(metrics)
            for payload in PAYLOADS:
                assert tuple(flagger(service, hook, payload) for hook in webhooks) == passes

        headers = {"x-api-key": KEY}
        wait_until(
            lambda: service.admin("/rollouts/fraud", **headers).status_code == 200, "the champion is in the ledger"
        )
        stands("Inconclusive", (True, False, False))
        command = ("rollout", "canary", "fraud", str(sealed_next.folder), "--state-dir", "state", "--force", "a test")
        begun = run_scoreline(*command, "--trust", str(sealed.public_key), cwd=tmp_path)
        assert begun.returncode == 0, begun.stderr
        stands("Inconclusive", (True, False, False))
        roll_back(database, "fraud", By("controller", "errors: e-value 120 reaches 100"))
        stands("Failed", (False, False, True))
        begun = run_scoreline(*command, "--trust", str(sealed.public_key), cwd=tmp_path)
        assert begun.returncode == 0, begun.stderr
        stands("Inconclusive", (True, False, False))
        promote(database, "fraud", By("controller"))
        stands("Successful", (True, True, False))
        refused = httpx.post(f"{service.admin_url}/rollouts/fraud/verdict?version=1", json={}, headers=headers)
        assert refused.status_code == 409 and refused.json()["detail"].startswith("HOLD: version 1 left with entry 5")
        assert httpx.get(f"{service.admin_url}/rollouts/fraud/verdict").status_code == 401
        assert argo(service, {**metrics[0], "provider": {"web": {**metrics[0]["provider"]["web"], "headers": []}}}) == (
            "Error"
        )


@pytest.mark.parametrize(
    ("condition", "result", "expected"),
    [
        ("result == true", True, True),
        ("result.ok && result.successPercent >= 0.90", {"ok": True, "successPercent": 0.95}, True),
        ("result.ok && result.successPercent >= 0.90", {"ok": True, "successPercent": 0.85}, False),
        ("asFloat(result) >= 0.90", "0.95", True),
        ("result[0] >= 0.95", [0.96], True),
        ("result == 'true'", "true", True),
        ("!(result == 'ADVANCE') || result == \"HOLD\"", "ADVANCE", False),
    ],
)
def test_the_conditions_of_argos_documentation(condition: str, result: Any, expected: bool) -> None:
    assert evaluated(condition, result) is expected


def test_what_is_neither_success_nor_failure_is_inconclusive() -> None:
    both = {"successCondition": "result >= 0.90", "failureCondition": "result < 0.50"}
    assert [phase(both, result) for result in (0.95, 0.7, 0.3)] == ["Successful", "Inconclusive", "Failed"]
    assert [phase({"successCondition": "result == 1"}, result) for result in (1, 2)] == ["Successful", "Failed"]
    assert [phase({"failureCondition": "result == 1"}, result) for result in (1, 2)] == ["Failed", "Successful"]
    assert phase({}, 1) == "Successful" and phase({"successCondition": "result"}, 1) == "Error"
