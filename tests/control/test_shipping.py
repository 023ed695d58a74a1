"""The steward brings the record into the database, tells how far it is, and a database that is down costs lag only."""

import logging
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from scoreline.control.ship import Shipping
from scoreline.control.steward import Steward
from scoreline.operations.state import State, write_state
from scoreline.records.database import open_database
from scoreline.records.migrations import HEAD
from scoreline.records.segments import segments
from scoreline.records.writer import SpoolWriter
from scoreline.settings import Records, Settings
from scoreline.wiring import database_of, spool_folder
from service import CHURN_ROW, SealedModel, Service, serving, wait_until


def set_up(state_dir: Path, database: str = "") -> Settings:
    return Settings(state_dir=str(state_dir), records=Records(database=database))


def shipping_of(settings: Settings) -> Shipping:
    return Shipping(database_of(settings), spool_folder(settings), lambda *_: True)


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


def test_the_status_tells_how_far_shipping_is(churn: SealedModel, tmp_path: Path) -> None:
    write_state(tmp_path, State({}))
    steward, writer = Steward(set_up(tmp_path)), SpoolWriter(tmp_path / "spool", 1 << 20)
    writer.write(churn.decide(CHURN_ROW, CHURN_ROW))
    assert steward.shipping.look() == 1
    writer.write(churn.decide(CHURN_ROW))
    status = steward.status()["database"]
    assert status.pop("seconds_since_success") >= 0
    assert status.pop("lag_bytes") > 0
    nothing = {"refused_segments": 0, "damaged_segments": 0, "error": None}
    assert status == {"kind": "sqlite", "shipped": 2, **nothing}


def test_a_segment_is_deleted_after_its_tallies_are_kept_too(churn: SealedModel, tmp_path: Path) -> None:
    write_state(tmp_path, State({}))
    steward, writer = Steward(set_up(tmp_path)), SpoolWriter(tmp_path / "spool", 1 << 20)
    writer.write(churn.decide(CHURN_ROW))
    writer.close()
    while steward.shipping.look():
        pass
    assert len(segments(tmp_path / "spool")) == 1
    assert steward.tail() == 1
    steward.tallied.save()
    assert steward.shipping.look() == 1
    assert segments(tmp_path / "spool") == []
    assert steward.tail() == 0
    status = steward.status()
    assert [tally["decisions"] for tally in status["decisions"]] == [1]
    assert status["spool"] == {"segments": 0, "lag_bytes": 0}


def test_one_line_per_outage_and_a_plain_word_in_the_status(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    shipping = shipping_of(set_up(tmp_path, "postgresql+psycopg://me:hunter-2@127.0.0.1:1/x"))
    assert [shipping.look() for _ in range(4)] == [0, 0, 0, 0]
    assert shipping.status()["error"] == "down"
    (line,) = errors(caplog)
    assert "cannot be asked now" in line
    assert "hunter" not in caplog.text + str(shipping.status())


def test_an_error_nobody_foresaw_does_not_end_shipping(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shipping = shipping_of(set_up(tmp_path))
    assert shipping.look() == 0

    def broken() -> int:
        raise ZeroDivisionError

    assert shipping._shipper is not None
    with monkeypatch.context() as patched:
        patched.setattr(shipping._shipper, "ship", broken)
        assert [shipping.look(), shipping.look()] == [0, 0]
        assert shipping.status()["error"] == "failed"
    assert len(errors(caplog)) == 1
    shipping.look()
    assert shipping.status()["error"] is None


def test_a_steward_that_is_left_behind_while_it_runs_says_so(
    churn: SealedModel, tmp_path: Path, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    shipping, writer = shipping_of(set_up(tmp_path, database_url)), SpoolWriter(tmp_path / "spool", 1 << 20)
    writer.write(churn.decide(CHURN_ROW))
    assert shipping.look() == 1
    with closing(open_database(database_url, tmp_path)) as database, database.writing() as connection:
        for statement in (
            "ALTER TABLE segments RENAME COLUMN tree TO hashes",
            f"UPDATE schema_compatible SET since = {HEAD + 1}",
            f"UPDATE scoreline_version SET version_num = '{HEAD + 1:04}'",
        ):
            connection.execute(text(statement))
    writer.write(churn.decide(CHURN_ROW))
    for _ in range(3):
        shipping.look()
    assert shipping.status()["error"] == "refused"
    assert "newer Scoreline" in errors(caplog)[-1]


def answered(service: Service, n_requests: int) -> list[str]:
    return [service.post(CHURN_ROW).json()["prediction_id"] for _ in range(n_requests)]


def test_what_a_service_answered_is_in_the_database_when_it_has_ended(
    churn: SealedModel, tmp_path: Path, database_url: str
) -> None:
    environment = {"SCORELINE_RECORDS__DATABASE": database_url, "SCORELINE_RECORDS__SEGMENT_BYTES": "5000"}
    with serving(churn, folder=tmp_path, workers=2, **environment) as service:
        given = answered(service, 60)
        assert sorted(service.recorded_ids()) == sorted(given)
        wait_until(lambda: service.admin("/status").json()["database"]["lag_bytes"] == 0, "all is shipped")
        assert service.admin("/status").json()["database"]["shipped"] == 60
        given += answered(service, 20)
        assert service.stop() == 0
        assert list((service.state_dir / "spool").iterdir()) == []
        assert sorted(service.recorded_ids()) == sorted(given)


def test_a_server_that_is_down_for_a_while_costs_lag(churn: SealedModel, postgres: Any, tmp_path: Path) -> None:
    with serving(churn, folder=tmp_path, SCORELINE_RECORDS__DATABASE=postgres.new_schema()) as service:

        def database() -> dict[str, Any]:
            found: dict[str, Any] = service.admin("/status").json()["database"]
            return found

        given = answered(service, 5)
        wait_until(lambda: database()["shipped"] == 5, "the first are shipped")
        postgres.kill()
        try:
            given += answered(service, 5)
            wait_until(lambda: database()["error"] == "down", "the steward sees that it is down")
            assert database()["lag_bytes"] > 0
        finally:
            postgres.start()
        wait_until(lambda: database()["shipped"] == 10, "the rest is shipped", 30)
        assert database()["error"] is None
        assert service.log.count("decisions wait in the spool") == 1
        assert sorted(service.recorded_ids()) == sorted(given)
