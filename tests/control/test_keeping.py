"""One steward of those that share a database signs and cleans; its death costs seconds, and a checkpoint nothing."""

import logging
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, cast

import pytest

from scoreline.audit.verify import verify
from scoreline.control import keep
from scoreline.control.keep import Keeping
from scoreline.core.errors import DatabaseRefused
from scoreline.records.chain import head
from scoreline.records.database import Database, open_database
from scoreline.records.lease import LEASE_S
from scoreline.records.upkeep import Upkeep
from scoreline.settings import Settings
from scoreline.signing import TrustStore
from scoreline.wiring import signer as signer_of
from service import CHURN_ROW, SealedModel, Service, serving, wait_until

DOWN = "the database cannot be asked"


@pytest.fixture
def database(database_url: str, tmp_path: Path) -> Iterator[Database]:
    with closing(open_database(database_url, tmp_path / "unused")) as found:
        yield found


def keeping(database: Database, tmp_path: Path) -> Keeping:
    return Keeping(database, Upkeep(signer_of(Settings(state_dir=str(tmp_path)))))


def seq(database: Database) -> int:
    with database.reading() as connection:
        return head(connection)[0]


def test_one_signs_and_the_other_takes_over_when_it_is_gone(database: Database, tmp_path: Path) -> None:
    one, other = keeping(database, tmp_path), keeping(database, tmp_path)
    one.look()
    other.look()
    assert (one.status()["leads"], other.status()["leads"], seq(database)) == (True, False, 1)
    assert one.status()["checkpoint"] == 1 and other.status()["checkpoint"] is None
    one.finish(5)
    other.look()
    assert (other.status()["leads"], seq(database)) == (True, 2), "a first pulse"


def test_without_anything_new_nothing_is_signed_but_a_pulse_each_hour(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 1000.0
    monkeypatch.setattr(keep.time, "monotonic", lambda: now_s)
    one = keeping(database, tmp_path)
    for _ in range(130):
        one.look()
        now_s += 60
    assert seq(database) == 1 + 130 // 60


def test_a_database_that_is_down_is_said_once_and_the_lease_is_not_held(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(open_database("postgresql+psycopg://me:hunter-2@127.0.0.1:1/x", tmp_path)) as database:
        one = keeping(database, tmp_path)
        for _ in range(3):
            one._attempt("checkpoints", one.look)
        assert one.status() == {"leads": False, "checkpoint": None, "seconds_since_checkpoint": None, "error": DOWN}
    (line,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert "put off" in line.getMessage()
    assert "hunter" not in caplog.text


def intact(service: Service, url: str) -> int:
    """How many decisions an audit has proven; everything it finds is wrong."""
    trust = TrustStore.from_files([service.state_dir / "audit.pub"])
    with closing(open_database(url, service.state_dir / "scoreline.db")) as database:
        report = verify(database, trust)
    assert report.findings == []
    assert report.verdict == "intact"
    return report.records - report.unsigned


def test_what_a_service_answered_is_signed_when_it_has_ended(
    churn: SealedModel, tmp_path: Path, database_url: str
) -> None:
    with serving(churn, folder=tmp_path, workers=2, SCORELINE_RECORDS__DATABASE=database_url) as service:
        for _ in range(20):
            service.post(CHURN_ROW)
        wait_until(lambda: service.admin("/status").json()["audit"]["checkpoint"], "a first checkpoint")
        assert service.admin("/status").json()["audit"]["leads"]
        assert service.stop() == 0
        assert intact(service, database_url) == 20
        assert (service.state_dir / "audit.key").stat().st_mode & 0o077 == 0


def test_hosts_that_share_a_database_have_one_keeper_and_its_death_costs_seconds(
    churn: SealedModel, tmp_path: Path, postgres: Any
) -> None:
    url = postgres.new_schema()
    key = tmp_path / "shared"
    signer_of(Settings(state_dir=str(key)))
    environment = {"SCORELINE_RECORDS__DATABASE": url, "SCORELINE_RECORDS__AUDIT_KEY": str(key / "audit.key")}
    with ExitStack() as stack:
        hosts = [
            stack.enter_context(serving(churn, folder=tmp_path / name, **environment)) for name in ("one", "other")
        ]

        def leaders() -> list[Service]:
            return [host for host in hosts if host.admin("/status").json()["audit"]["leads"]]

        wait_until(lambda: len(leaders()) == 1, "one of them leads")
        (first,) = leaders()
        (second,) = [host for host in hosts if host is not first]
        for host in hosts:
            host.post(CHURN_ROW)
        os.killpg(first.process.pid, signal.SIGKILL)
        hosts.remove(first)
        wait_until(lambda: leaders() == [second], "the other one leads", 3 * LEASE_S)
        assert second.stop() == 0
    with closing(open_database(url, tmp_path)) as database:
        report = verify(database, TrustStore.from_files([key / "audit.pub"]))
    assert (report.findings, report.verdict) == ([], "intact")


def test_a_segment_ends_in_time_though_nobody_asks(churn: SealedModel, tmp_path: Path) -> None:
    """What was erased is in no file of a spool for longer than that."""
    with serving(churn, folder=tmp_path, SCORELINE_RECORDS__SEGMENT_S="1") as service:
        service.post(CHURN_ROW)
        wait_until(
            lambda: not list((service.state_dir / "spool").glob("*.seg")), "its segment has ended and is shipped"
        )
        assert len(service.recorded_ids()) == 1
        service.post(CHURN_ROW)
        assert len(service.recorded_ids()) == 2


def test_what_fails_stops_nothing_else_and_is_said_once(
    tmp_path: Path, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    done: list[str] = []

    class Failing:
        signer = signer_of(Settings(state_dir=str(tmp_path)))

        def erase(self, _: Database, *, again: bool) -> None:
            done.append("erase")
            raise DatabaseRefused("x.parquet is missing")

        def move(self, *_: Any) -> bool:
            done.append("move")
            raise OSError("no space")

        def expire(self, *_: Any) -> bool:
            done.append("expire")
            return done.count("expire") < 3

    one = Keeping(database, cast(Upkeep, Failing()))
    one.look()
    one.keep_up()
    one.keep_up()
    assert done == ["erase", "move", "expire", "expire", "expire", "erase"]
    assert one.status()["error"] == "x.parquet is missing"
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert said == ["erasures: put off: x.parquet is missing", "archiving: put off: no space"]
