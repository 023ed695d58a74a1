"""One look of a steward: what the ledger says is what workers read, and trouble with one model stops no other."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from models import opened, trust
from recorded import kept
from scoreline.control.govern import Governing
from scoreline.operations import rollouts
from scoreline.operations.leased import LEASE_NS, Lease
from scoreline.operations.rollouts import Frozen
from scoreline.operations.state import Assignment, Challenged, State, read_state, write_state
from scoreline.records.ledger import Entry, append
from scoreline.rollout.policy import Policy
from scoreline.rollout.stages import Arm
from somedesk import ADA, arm, bundles, desk

POLICY = Policy(steps=(0.5, 1.0))
ELSEWHERE = Arm("9", "9" * 64, "folder:/m/9")


class Host:
    """A steward's look, on a ledger where version 1 is champion and 2 the canary, which the state has already."""

    def __init__(self, found: Any, folder: Path) -> None:
        self.database, self.state_dir = found.database, found.host.state_dir
        kept(folder / "m-2", self.state_dir)
        digest = opened(folder / "m-1").manifest.digest
        write_state(self.state_dir, State({"m": Assignment("1", digest), "n": Assignment("1", digest)}))
        registries = found.host.registries
        self.governing = Governing(
            self.database, self.state_dir, POLICY, registries, lambda: trust(folder), ("folder:/m", "folder:/n"), None
        )  # type: ignore[arg-type]
        rollouts.canary(self.database, "m", arm(folder, "2"), POLICY, Frozen(), ADA)
        self.governing.look()

    def state(self, model: str = "m") -> Assignment:
        return read_state(self.state_dir).models[model]

    def lease_ns(self) -> int:
        lease = Lease(self.state_dir)
        lease.look()
        return lease.until_ns - LEASE_NS


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return bundles(tmp_path / "bundles", "1", "2", "3")


@pytest.fixture
def host(database_url: str, folder: Path) -> Iterator[Host]:
    with desk(database_url, folder) as found:
        yield Host(found, folder)


def test_a_canary_in_the_ledger_is_one_in_the_state(host: Host) -> None:
    canary = host.state().canary
    assert canary is not None and (canary.version, canary.share) == ("2", 0.5)
    assert host.state("n").canary is None


def test_a_canary_that_was_rolled_back_ends_though_the_next_champion_is_not_here(host: Host) -> None:
    rollouts.roll_back(host.database, "m", ADA)
    rollouts.serve_arm(host.database, "m", ELSEWHERE, ADA)
    host.governing.look()
    assert (host.state().version, host.state().canary, host.state().challengers) == ("1", None, ())
    assert host.governing.status()["lacking"] == {"m": ["9"]}


def test_an_entry_that_cannot_be_taken_ends_the_models_canary_and_no_others(host: Host, folder: Path) -> None:
    rollouts.canary(host.database, "n", arm(folder, "2"), POLICY, Frozen(), ADA)
    host.governing.look()
    assert host.state("n").canary is not None
    seen = rollouts.current(host.database, "m")
    later = Entry("m", seen.seq + 1, 1, "advance", "a newer version", "", {"what": "nobody here knows"}, {})
    append(host.database, later)
    before_ns = time.time_ns()
    host.governing.look()
    assert host.state("m").canary is None and host.state("n").canary is not None
    assert "upgrade this host" in host.governing.status()["error"]
    assert host.lease_ns() >= before_ns, "it goes on for the other model"


def test_a_challenger_that_cannot_be_brought_keeps_no_other_bundle_away(host: Host, folder: Path) -> None:
    gone = Arm("8", "8" * 64, str(folder / "gone"))
    rollouts.shadow(host.database, "m", gone, ADA)
    rollouts.serve_arm(host.database, "n", arm(folder, "3"), ADA)
    host.governing.look()
    host.governing.bring()
    host.governing.look()
    assert host.state("n").version == "3"
    assert host.governing.status()["lacking"] == {"m": ["8"]}
    assert Challenged("8", "8" * 64, 4) not in host.state().challengers


def test_a_lease_lasts_from_when_the_ledger_was_asked(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    from scoreline.control import govern

    asked_ns = time.time_ns() - 3_000_000_000

    class Slow:
        """An answer that was three seconds on its way."""

        time_ns = staticmethod(lambda: asked_ns)
        monotonic = staticmethod(time.monotonic)

    monkeypatch.setattr(govern, "time", Slow)
    host.governing.look()
    assert abs(host.lease_ns() - asked_ns) < 1_000_000


def test_what_is_assigned_already_is_not_written_again(host: Host) -> None:
    write_state(host.state_dir, replace(read_state(host.state_dir), default="m"))
    before = (host.state_dir / "state.json").stat().st_mtime_ns
    host.governing.look()
    assert (host.state_dir / "state.json").stat().st_mtime_ns == before


def test_a_canary_goes_on_where_the_workers_part_began_anew_and_wrote_the_champion_alone(host: Host) -> None:
    before = read_state(host.state_dir)
    alone = {model: replace(assigned, canary=None) for model, assigned in before.models.items()}
    write_state(host.state_dir, State(alone))
    host.governing.look()
    assert host.state() == before.models["m"]
    assert host.state().canary is not None
