"""What comes with the record as it is: reports of one call, and numbers told apart by their quarters."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models import opened
from recorded import kept
from scoreline.core.decision import Decisions
from scoreline.core.ids import IdSource
from scoreline.core.outcome import Outcome
from scoreline.operations import splits
from scoreline.operations.desk import Desk
from scoreline.operations.paired import Pairing, backtested, rivals
from scoreline.records.joined import Places
from scoreline.records.outcomes import add_outcomes
from scoreline.records.segments import BEGIN, Segment
from scoreline.records.shadowed import Scored, add_scores
from scoreline.rollout.policy import Policy
from scoreline.rollout.stages import Challenger, Stage
from somedesk import arm, bundles, decisions, desk, ship

MS, SECOND = 1_000_000, 1_000_000_000
N = 600
SEGMENT = Segment("a" * 24, 0, Path("unused"))


class Recorded:
    """N decisions of a champion, a millisecond each, and a challenger that always says .9."""

    def __init__(self, folder: Path, desk: Desk, entities: Sequence[bytes] = ()) -> None:
        kept(folder / "m-2", desk.host.state_dir)
        self.desk, self.begun_ns = desk, time.time_ns() - 60 * SECOND
        self.end_ns = self.begun_ns + N * MS
        self.stage = Stage(arm(folder, "1"), 1, challengers=(Challenger(arm(folder, "2"), 2, self.begun_ns),))
        self.many = decisions(folder, N)
        ids = IdSource()

        def place(number: int, found: Decisions) -> None:
            found.context = replace(found.context, time_ns=self.begun_ns + number * MS)
            found.base = ids.new_base(found.context.time_ns)
            found.entities = [entities[number]] if entities else found.entities

        ship(desk.database, folder, self.many, place)
        self.mine, self.theirs = (opened(folder / f"m-{version}").manifest for version in "12")
        self.ids = [found.base.to_bytes(16, "big") for found in self.many]

    def score(self, begin: int, end: int) -> None:
        author = replace(self.many[0].author, version="2", digest=self.theirs.digest, role="challenger", epoch=2)
        found = [Scored(id_, np.array([0.9]).tobytes(), 1) for id_ in self.ids[begin:end]]
        assert add_scores(self.desk.database, author, SEGMENT, BEGIN + begin, BEGIN + end, found, 0)

    def pairing(self, segment: str = "") -> Pairing:
        return Pairing(self.desk.database, self.desk.host.state_dir, Policy(segment=segment))

    def happened(self, label: float) -> None:
        told = [(Outcome(label, prediction=id_), b"") for id_ in self.ids]
        add_outcomes(self.desk.database, told, "tests", self.end_ns)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return bundles(tmp_path / "bundles", "1", "2")


@pytest.fixture
def desk_here(database_url: str, folder: Path) -> Iterator[Desk]:
    with desk(database_url, folder) as found:
        yield found


def test_what_one_call_says_of_an_entity_is_one_event(desk_here: Desk, folder: Path) -> None:
    """Nobody said when it was observed. Twenty decisions on one entity are no more evidence than one."""
    recorded = Recorded(folder, desk_here, [(place // 20).to_bytes(16, "big") for place in range(N)])
    recorded.score(0, N)
    recorded.happened(1.0)
    report = recorded.pairing().report("m", recorded.stage, recorded.stage.challengers[0]).report
    assert (report["pairs"], report["repeated"]) == (N // 20, N - N // 20)


def test_numbers_are_told_apart_once_enough_were_seen(
    desk_here: Desk, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = Recorded(folder, desk_here)
    recorded.happened(1.0)
    challenger = recorded.stage.challengers[0]
    monkeypatch.setattr(splits, "FIRST", N + 1)
    pairing = recorded.pairing("c")
    recorded.score(0, 250)
    before = pairing.report("m", recorded.stage, challenger).report
    assert (before["segment"], before["segments"], before["agreement"]["rows"]) == (None, [], 250)
    monkeypatch.setattr(splits, "FIRST", N)
    recorded.score(250, N)
    looked = pairing.report("m", recorded.stage, challenger).report
    assert (looked["segment"], looked["pairs"], looked["agreement"]["rows"]) == ("c", N, N)
    position = recorded.mine.schema.index["c"]
    column = np.array([found.values[0, position] for found in recorded.many])
    edges = splits.quarters_of(column)
    counts = np.bincount(np.searchsorted(edges, column[~np.isnan(column)], side="right")).tolist()
    assert [each["pairs"] for each in looked["segments"] if each["segment"]] == counts
    assert sum(each["pairs"] for each in looked["segments"]) == N
    anew = recorded.pairing("c").report("m", recorded.stage, challenger).report
    assert anew["segments"] == looked["segments"]
    places = Places(None, desk_here.database)
    policy = Policy(segment="c")
    told = backtested(
        places,
        "m",
        rivals(recorded.mine, recorded.theirs, policy, in_time_ns=1 << 62),
        lambda page: {one.row.id: (np.array([0.9]).tobytes(), 1) for one in page},
        policy,
    )
    assert told["segments"] == looked["segments"], "so does who looks back"
