"""What is asked twice, or by two at once, happens once: nobody's rollback takes the champion back as well."""

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from scoreline.core.errors import LedgerMoved, RolloutRefused
from scoreline.operations import rollouts
from scoreline.operations.rollouts import By, Frozen
from scoreline.records.database import Database, open_database
from scoreline.records.ledger import history
from scoreline.rollout.policy import Policy
from scoreline.rollout.stages import Arm

POLICY = Policy()
ONE, TWO, THREE = (Arm(version, version * 64) for version in "123")
ADA = By("ada")


@pytest.fixture
def database(database_url: str, tmp_path: Path) -> Iterator[Database]:
    """Version 2 answers, 1 did before, and 3 is the canary."""
    with closing(open_database(database_url, tmp_path / "s.db")) as found:
        found.prepare()
        rollouts.seed(found, "m", ONE, ADA)
        rollouts.serve_arm(found, "m", TWO, ADA)
        rollouts.canary(found, "m", THREE, POLICY, Frozen(), ADA)
        yield found


def at_once(act: Callable[[By], Any], n: int = 4) -> list[str]:
    """So many act at once; what the refused ones were told."""
    barrier, refused = threading.Barrier(n), list[str]()

    def one(who: str) -> None:
        barrier.wait()
        try:
            act(By(who))
        except (RolloutRefused, LedgerMoved) as error:
            refused.append(str(error))

    threads = [threading.Thread(target=one, args=(f"person {number}",)) for number in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return refused


def stands(database: Database) -> tuple[str, str, str, float]:
    entry = history(database, "m", 1)[0]
    stage = rollouts.stage_of(entry)
    return entry.action, stage.champion.version, stage.canary.version if stage.canary else "", stage.share


def test_who_rolls_back_at_once_with_another_takes_no_champion_back(database: Database) -> None:
    refused = at_once(lambda by: rollouts.roll_back(database, "m", by))
    assert len(refused) == 3
    assert stands(database) == ("roll_back", "2", "", 0.0)
    with pytest.raises(RolloutRefused, match="there is no canary"):
        rollouts.roll_back(database, "m", ADA)


def test_a_rollback_is_of_the_canary_that_was_seen(database: Database) -> None:
    seen = rollouts.stage_of(rollouts.current(database, "m"))
    rollouts.roll_back(database, "m", ADA)
    rollouts.canary(database, "m", Arm("4", "4" * 64), POLICY, Frozen(), ADA)
    for act in (rollouts.roll_back, rollouts.pause, rollouts.resume):
        with pytest.raises(RolloutRefused, match="version 3 is not the canary any more"):
            act(database, "m", ADA, None, seen)
    assert stands(database)[2] == "4"


def test_who_advances_at_once_with_another_goes_one_step(database: Database) -> None:
    seen = rollouts.stage_of(rollouts.current(database, "m"))
    refused = at_once(lambda by: rollouts.advance(database, "m", POLICY, by, None, seen))
    assert len(refused) == 3 and all("gone a step further meanwhile" in each for each in refused)
    assert stands(database) == ("advance", "2", "3", 0.1)


def test_a_champion_is_taken_back_once(database: Database) -> None:
    rollouts.roll_back(database, "m", ADA)
    refused = at_once(lambda by: rollouts.take_back(database, "m", by, "2"))
    assert refused == ["version 2 is not the champion, but version 1"] * 3
    assert stands(database) == ("roll_back", "1", "", 0.0)


def test_a_paused_canary_is_not_advanced_to_champion(database: Database) -> None:
    for _ in POLICY.shares[1:]:
        rollouts.advance(database, "m", POLICY, ADA)
    rollouts.pause(database, "m", ADA)
    with pytest.raises(RolloutRefused, match="the canary is paused"):
        rollouts.advance(database, "m", POLICY, ADA)


def test_who_names_the_entry_that_was_seen_acts_on_no_other(database: Database) -> None:
    rollouts.pause(database, "m", By("ada", seen=3))
    with pytest.raises(LedgerMoved, match="m is at entry 4, not at 3 any more; look"):
        rollouts.resume(database, "m", By("ada", seen=3))
