"""Watching for drift: whoever leads does, what fails is said once, and metrics are told what there is."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from scoreline.control import drift
from scoreline.control.drift import Watching
from scoreline.core.errors import DatabaseDown, DatabaseRefused
from scoreline.drift.rules import Rules
from scoreline.evidence.tolerance import Tolerance
from scoreline.operations.drifting import References
from scoreline.records.database import Database, open_database
from service import wait_until


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    found = open_database("", tmp_path / "decisions.db")
    yield found
    found.close()


def watching(database: Database, tmp_path: Path, leads: bool = True) -> Watching:
    return Watching(database, References(tmp_path, Rules(Tolerance())), lambda: leads)


def test_only_who_leads_looks_and_tells_metrics(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []
    monkeypatch.setattr(drift, "look", lambda *_: looked.append("looked"))
    monkeypatch.setattr(drift, "clean", lambda *_: looked.append("cleaned"))
    follower = watching(database, tmp_path, leads=False)
    follower.look()
    assert (looked, list(follower.standings)) == ([], [])
    leader = watching(database, tmp_path)
    leader.look()
    leader.look()
    assert looked == ["looked", "cleaned", "looked"]
    assert list(leader.standings) == []


def test_what_fails_is_said_once_and_tried_again(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(drift, "LOOK_S", 0.001)
    wrong: list[Exception] = (
        [DatabaseDown("gone: a secret place")] * 3 + [DatabaseRefused("refused")] * 3 + [KeyError()] * 3
    )

    def look(*_: object) -> None:
        if wrong:
            raise wrong.pop(0)

    monkeypatch.setattr(drift, "look", look)
    found = watching(database, tmp_path)
    with caplog.at_level(logging.ERROR):
        found.start()
        try:
            wait_until(lambda: not wrong and found.status() == {"error": None}, "it goes right again")
        finally:
            found.finish()
    assert [record.message for record in caplog.records] == [
        "drift: put off: the database cannot be asked",
        "drift: put off: refused",
        "drift: put off: KeyError",
    ]
