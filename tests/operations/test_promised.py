"""Which versions stay loaded because they were promised: as long as the promise lasts, whatever else happens."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scoreline.control import govern
from scoreline.control.govern import Governing
from scoreline.operations import governed, rollouts
from scoreline.operations.governed import promised
from scoreline.operations.rollouts import By, Frozen
from scoreline.operations.state import Assignment, State, read_state, write_state
from scoreline.records.database import Database, open_database
from scoreline.records.ledger import Entry, append, last
from scoreline.rollout.policy import Policy
from scoreline.rollout.stages import SILENCE, Arm, hold, resume

DAY_NS = 86_400_000_000_000
POLICY = Policy(quote_days=30, steps=(0.5, 1.0))
ONE, TWO, THREE = (Arm(version, version * 64) for version in "123")
ADA = By("ada")


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    found = open_database(database_url, Path("unused"))
    found.prepare()
    yield found
    found.close()


def pins(database: Database, after_days: float = 0.0, policy: Policy = POLICY) -> list[str]:
    return [pin.version for pin in promised(database, "m", policy, time.time_ns() + int(after_days * DAY_NS))]


def test_a_version_is_promised_for_so_long_after_it_has_answered_last(database: Database) -> None:
    assert pins(database) == []
    rollouts.seed(database, "m", ONE, ADA)
    rollouts.serve_arm(database, "m", TWO, ADA)
    rollouts.canary(database, "m", THREE, POLICY, Frozen(), ADA)
    assert (pins(database), pins(database, 29.9), pins(database, 30.1)) == (["1"], ["1"], [])
    rollouts.roll_back(database, "m", ADA)
    assert sorted(pins(database)) == ["1", "3"]
    assert pins(database, policy=Policy(quote_days=30, quotes_on_rollback="refuse")) == ["1"]
    assert pins(database, policy=Policy()) == []


def test_it_stays_promised_however_much_else_is_written_into_the_ledger(database: Database) -> None:
    rollouts.seed(database, "m", ONE, ADA)
    rollouts.serve_arm(database, "m", TWO, ADA)
    rollouts.canary(database, "m", THREE, POLICY, Frozen(), ADA)
    for _ in range(130):
        entry = last(database, "m")
        assert entry is not None
        held = hold(rollouts.stage_of(entry), "quiet", SILENCE)
        for action, stage in (("hold", held), ("resume", resume(held, 1))):
            entry = Entry("m", entry.seq + 1, time.time_ns(), action, "controller", "", stage.to_json(), {})
            append(database, entry)
    assert pins(database) == ["1"]


def test_workers_are_told_when_a_promise_has_ended(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(governed, "installed_copy", lambda digest, *_: digest)
    write_state(tmp_path, State({"m": Assignment("1", ONE.digest)}))
    governing = Governing(database, tmp_path, POLICY, {}, lambda: None, [], None)  # type: ignore[arg-type,return-value]
    governing.look()
    rollouts.serve_arm(database, "m", TWO, ADA)
    governing.look()
    assert [pin.version for pin in read_state(tmp_path).models["m"].pins] == ["1"]

    class Later:
        monotonic = time.monotonic

        @staticmethod
        def time_ns() -> int:
            return time.time_ns() + 31 * DAY_NS

    monkeypatch.setattr(govern, "time", Later)
    governing.look()
    assert read_state(tmp_path).models["m"].pins == ()
