"""What really happened, reported to a running service: by id, by entity and event, from files; early, late, wrong."""

import csv
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scoreline.core import ids
from service import FRAUD_ROW, SealedModel, Service, run_scoreline, serving, wait_until

UNKNOWN = ids.text(ids.IdSource().new_base(1_700_000_000_000_000_000))


def report(service: Service, body: object, **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return httpx.post(f"{service.admin_url}/outcomes", content=content, headers=headers, timeout=20)


def soon(**more: float) -> str:
    return (datetime.now(UTC) + timedelta(**more)).isoformat()


def answered(service: Service, n: int, **more: Any) -> list[str]:
    """Ids of decisions that are in the database by now."""
    found = [service.post(FRAUD_ROW | more).json()["prediction_id"] for _ in range(n)]
    wait_until(lambda: service.admin("/status").json()["database"]["lag_bytes"] == 0, "all is shipped")
    return found


def test_outcomes_find_their_decisions_by_id_and_by_entity(sealed: SealedModel, tmp_path: Path) -> None:
    with serving(sealed, folder=tmp_path) as service:
        first, second = answered(service, 2, customer="c-1")
        by_id = {"prediction_id": first, "value": 1}
        assert report(service, by_id).json() == {"outcomes": 1, "new": 1, "matched": 1, "unmatched": 0, "others": 0}
        assert report(service, by_id).json()["new"] == 0
        event = {"model": "fraud", "entity": "c-1", "event_time": soon(minutes=1), "value": False}
        assert report(service, event).json() == {"outcomes": 1, "new": 1, "matched": 1, "unmatched": 0, "others": 1}
        late = [{"prediction_id": UNKNOWN, "value": 0}, {"prediction_id": second, "value": True}]
        assert report(service, late).json() == {"outcomes": 2, "new": 2, "matched": 1, "unmatched": 1, "others": 0}
        told = run_scoreline("outcomes", "unmatched", "--state-dir", service.state_dir, cwd=tmp_path)
        assert told.stdout.split("\t")[0] == UNKNOWN


def test_a_decision_shows_what_is_known_of_it(sealed: SealedModel, tmp_path: Path) -> None:
    """By id or by entity, with what was corrected; final at once where the model declares no maturity."""
    with serving(sealed, folder=tmp_path) as service:
        first, second = answered(service, 2, customer="c-1")
        assert service.admin(f"/predictions/{first}").json()["actual"] is None
        for value, observed in ((1, "2026-01-02T00:00:00Z"), (0, "2026-01-03T00:00:00Z"), (1, "2026-01-01T00:00:00Z")):
            report(service, {"prediction_id": first, "value": value, "observed_at": observed})
        report(service, {"model": "fraud", "entity": "c-1", "event_time": soon(minutes=1), "value": True})
        actual = service.admin(f"/predictions/{first}").json()["actual"]
        assert (actual["value"], actual["observed_at"], actual["matured"]) == (
            0,
            "2026-01-03T00:00:00.000000+00:00",
            True,
        )
        assert [(one["value"], one["observed_at"][:10]) for one in actual["history"]] == [
            (1, "2026-01-01"), (1, "2026-01-02"),
        ]  # fmt: skip
        assert set(actual["history"][0]) == {"value", "observed_at", "received_at"}
        actual = service.admin(f"/predictions/{second}").json()["actual"]
        assert (actual["value"], actual["history"]) == (1, [])
        assert actual["received_at"] == actual["observed_at"]


def test_what_is_no_outcome_is_refused_whole_with_every_problem(sealed: SealedModel, tmp_path: Path) -> None:
    with serving(sealed, folder=tmp_path) as service:
        (found,) = answered(service, 1)
        wrong = [{"prediction_id": found, "value": 1}, {"prediction_id": "secret", "value": None}, 5]
        refused = report(service, wrong)
        assert (refused.status_code, refused.headers["content-type"]) == (422, "application/problem+json")
        assert {(one["row"], one["field"]) for one in refused.json()["errors"]} == {
            (1, "prediction_id"),
            (1, "value"),
            (2, ""),
        }
        assert "secret" not in refused.text
        for body, status in ((b"", 400), (b"[]", 400), (b"{", 400), (b"[" * 100_000, 400), (b" " * 9_000_000, 413)):
            assert report(service, body).status_code == status, body[:5]
        assert report(service, [{"prediction_id": found, "value": 1}] * 5001).status_code == 413
        assert report(service, wrong[0]).json()["new"] == 1  # nothing of the refused list was kept


def test_reporting_needs_the_scope_feedback(sealed: SealedModel, tmp_path: Path) -> None:
    key = "a-key-with-every-scope-0123456789"
    with serving(sealed, folder=tmp_path, SCORELINE_ACCESS__ADMIN_KEY=key) as service:
        assert report(service, {}).status_code == 401
        assert report(service, {}, x_api_key="wrong").status_code == 401
        assert report(service, {}, **{"x-api-key": key}).status_code == 422


@pytest.mark.parametrize("suffix", ("csv", "jsonl", "parquet"))
def test_a_file_is_imported_and_again_without_a_change(sealed: SealedModel, tmp_path: Path, suffix: str) -> None:
    with serving(sealed, folder=tmp_path) as service:
        found = answered(service, 3, customer=7)
        state = service.state_dir
    when = datetime.now(UTC) + timedelta(minutes=1)
    rows: list[dict[str, Any]] = [{"prediction_id": one, "value": 1.0} for one in found]
    file = tmp_path / f"outcomes.{suffix}"
    if suffix == "csv":
        with file.open("w", newline="") as text:
            writer = csv.DictWriter(text, ["prediction_id", "model", "entity", "event_time", "value"])
            writer.writeheader()
            event = {"model": "fraud", "entity": "7", "event_time": when.isoformat(), "value": "false"}
            writer.writerows([*rows, event])
    elif suffix == "jsonl":
        event = {"model": "fraud", "entity": 7, "event_time": when.isoformat(), "value": 0}
        file.write_text("".join(json.dumps(row) + "\n" for row in [*rows, event]))
    else:
        event = {"model": "fraud", "entity": "7", "event_time": when, "value": 0.0}
        pq.write_table(pa.Table.from_pylist([dict.fromkeys(event) | rows[0], *rows[1:], event]), file)
    for new in (4, 0):
        done = run_scoreline("outcomes", "import", file, "--state-dir", state, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines() == [
            f"4 outcomes: {new} new, 4 with their decision,",
            "0 whose decision is not here (yet)",
            "2 earlier decisions about the same entities are not counted",
        ]


def test_a_file_with_a_wrong_row_says_which_and_why(tmp_path: Path) -> None:
    file = tmp_path / "outcomes.csv"
    file.write_text(f"prediction_id,value\n{UNKNOWN},1\nsecret,\n")
    done = run_scoreline("outcomes", "import", file, "--state-dir", tmp_path / "state", cwd=tmp_path)
    assert done.returncode == 1
    assert "row 2: value: is required" in done.stderr
    assert "row 2: prediction_id: must be the id of a prediction" in done.stderr
    assert "secret" not in done.stderr + done.stdout
