"""Drift on a live service: traffic changes, the steward is killed in between, and one notice comes."""

import csv
import json
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from inservice import database_of
from scoreline.records.drift import incidents_of
from scoreline.records.ledger import history
from service import COUNTRIES, SealedModel, Service, run_scoreline, serving, wait_until
from somehook import Hook, webhook

SECRET = "a-secret-of-24-characters"
ROWS = 50


def usual(rng: np.random.Generator, **changed: Any) -> list[dict[str, Any]]:
    """Rows as the reference of `fraud` has them, but for what is changed."""
    drawn = {
        "amount": rng.gamma(2.0, 2000.0, ROWS).clip(0, 99_999).round(2).tolist(),
        "age_days": rng.integers(0, 3000, ROWS).tolist(),
        "country": rng.choice(COUNTRIES, ROWS).tolist(),
        "repeat": (rng.random(ROWS) < 0.2).tolist(),
        "distance": [None if rng.random() < 0.2 else float(rng.gamma(2.0, 10.0)) for _ in range(ROWS)],
    }
    rows = [dict(zip(drawn, row, strict=True)) for row in zip(*drawn.values(), strict=True)]
    return [row | changed for row in rows]


def told(hook: Hook) -> list[dict[str, Any]]:
    return [found for found in map(json.loads, hook.bodies) if found["action"].startswith("drift")]


def drift(service: Service, last: str = "1d") -> dict[str, Any]:
    found: dict[str, Any] = service.admin(f"/drift/fraud?last={last}").json()
    return found


def test_a_change_is_noticed_once_whoever_dies_and_the_field_is_named(sealed: SealedModel, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    with webhook() as hook:
        own = {
            "SCORELINE_NOTIFY__WEBHOOK": hook.url,
            "SCORELINE_NOTIFY__SECRET": SECRET,
            "SCORELINE_DRIFT__TICK_S": "1",
        }
        with serving(sealed, folder=tmp_path, workers=2, **own) as service, closing(database_of(service)) as database:
            wait_until(lambda: history(database, "fraud", 1), "the first champion is in the ledger")
            before = run_scoreline("drift", "fraud", "--state-dir", "state", cwd=tmp_path)
            assert before.stdout.startswith("fraud 1: no data: nothing was counted in the last 24 hours"), before.stderr
            n_sent = 0
            for _ in range(6):
                assert service.post(usual(rng)).status_code == 200
                n_sent += ROWS
            wait_until(lambda: drift(service)["decisions"] == n_sent, "what was decided is counted")
            assert drift(service)["verdict"] in ("not sure", "no drift found")
            assert told(hook) == []
            steward = service.steward()
            assert steward is not None
            for number in range(12):
                assert service.post(usual(rng, repeat=True)).status_code == 200
                n_sent += ROWS
                if number == 5:
                    steward.kill()
            wait_until(lambda: drift_is_told(service, n_sent), "the next steward has counted all of it")
            wait_until(lambda: told(hook), "the notice comes")
            for _ in range(6):
                service.post(usual(rng, repeat=True))
                n_sent += ROWS
            found = wait_until(lambda: drift_is_told(service, n_sent), "the rest is counted, too")
            assert found["verdict"] == "drift" and found["decisions"] == n_sent
            (entry,) = incidents_of(database, "fraud", 0, 99)
            as_table, as_json, as_csv = (
                run_scoreline("drift", "fraud", "--state-dir", "state", "--format", form, cwd=tmp_path)
                for form in ("table", "json", "csv")
            )
        assert service.process.returncode == 0
    (notice,) = told(hook)
    assert (notice["model"], notice["seq"], notice["action"], notice["version"]) == ("fraud", 1, "drift", "1")
    assert "repeat is above 0 more often" in notice["text"]
    assert notice["evidence"]["leading"]["subject"] == entry.evidence["leading"]["subject"] == "repeat"
    assert "fraud 1: drift: an incident is open since" in as_table.stdout
    assert ": repeat is above 0 more often" in as_table.stdout
    assert "assumes that scores are calibrated" in as_table.stdout
    told_as_json = json.loads(as_json.stdout)
    assert told_as_json["incident"]["leading"]["subject"] == "repeat"
    rows = list(csv.DictReader(as_csv.stdout.splitlines()))
    assert rows[0]["subject"] == "fraud_probability"
    fields = [row["subject"] for row in rows[1:]]
    assert set(fields) == {"amount", "age_days", "country", "repeat", "distance"}
    (of_repeat,) = (row for row in rows if row["subject"] == "repeat")
    assert float(of_repeat["mean"]) > 0.6 and 0.1 < float(of_repeat["reference_mean"]) < 0.3
    assert float(of_repeat["psi"]) > 0.2
    assert hook.url not in service.log and SECRET not in service.log


def drift_is_told(service: Service, n_sent: int) -> dict[str, Any] | None:
    """What the control plane says once all of it is counted; it may be starting anew."""
    try:
        found = drift(service)
    except Exception:
        return None
    return found if found.get("decisions") == n_sent else None


def test_what_is_asked_wrongly_says_what_to_do(sealed: SealedModel, tmp_path: Path) -> None:
    with serving(sealed, folder=tmp_path) as service:
        wait_until(lambda: service.admin("/drift/fraud").status_code == 200, "the champion is in the ledger")
        assert service.admin("/drift/fraud?last=2y").status_code == 422
        assert service.admin("/drift/nobody").status_code == 404
        assert service.admin("/drift/no%20body").status_code == 404
        assert service.admin("/status").json()["drift"] == {"error": None}

        def run(*words: str) -> str:
            ended = run_scoreline("drift", *words, "--state-dir", "state", cwd=tmp_path)
            assert ended.returncode == 1
            return ended.stderr

        assert "--last is one of 1h, 1d, 14d" in run("fraud", "--last", "2y")
        assert "--format is one of table, json, csv" in run("fraud", "--format", "xml")
        assert "serves 'nobody' yet" in run("nobody")
