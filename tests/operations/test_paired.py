"""Champion and challenger on the same decisions: claims, order, repetitions, and what is said where nothing is."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models import opened
from recorded import kept
from scoreline.core.decision import Decisions
from scoreline.core.ids import IdSource
from scoreline.core.outcome import Outcome
from scoreline.operations import paired
from scoreline.operations.desk import Desk, Shown
from scoreline.operations.paired import Pairing
from scoreline.records.outcomes import add_outcomes
from scoreline.records.segments import BEGIN, Segment
from scoreline.records.shadowed import Scored, add_scores
from scoreline.rollout.policy import Policy
from scoreline.rollout.stages import Arm, Challenger, Stage
from somedesk import bundles, decisions, desk, ship

MS = 1_000_000
SECOND = 1000 * MS
SEGMENT = Segment("a" * 24, 0, Path("unused"))
N = 4000


class Shadowed:
    """Decisions of a champion with scores of a challenger; outcomes come when a test says so."""

    def __init__(self, folder: Path, desk: Desk, n: int, policy: Policy) -> None:
        self.desk, self._folder = desk, folder
        self.digest = opened(folder / "m-2").manifest.digest
        champion = opened(folder / "m-1").manifest.digest
        kept(folder / "m-2", desk.host.state_dir)
        self.begun_ns = (time.time_ns() - 100 * SECOND) // MS * MS
        self.stage = Stage(Arm("1", champion), 1, challengers=(Challenger(Arm("2", self.digest), 2, self.begun_ns),))
        self.many = decisions(folder, n)
        ids = IdSource()

        def place(number: int, found: Decisions) -> None:
            found.context = replace(found.context, time_ns=self.begun_ns + number * MS)
            found.base = ids.new_base(found.context.time_ns)
            found.scores = self.champion[number : number + 1, None].copy()

        rng = np.random.default_rng(7)
        self.champion = rng.beta(2, 6, n)
        self.place = place
        self.pairing = Pairing(desk.database, desk.host.state_dir, policy)

    def ship(self, entities: Sequence[bytes] | None = None) -> None:
        def change(number: int, found: Decisions) -> None:
            self.place(number, found)
            if entities:
                found.entities = [entities[number]]

        ship(self.desk.database, self._folder, self.many, change)

    def score(self, scores: Any, begin: int = 0, end: int | None = None) -> None:
        """The challenger's scores of the decisions from one to another."""
        author = replace(self.many[0].author, version="2", digest=self.digest, role="challenger", epoch=2)
        part = list(zip(self.many, np.asarray(scores, "<f8"), strict=True))[begin:end]
        found = [Scored(one.base.to_bytes(16, "big"), score.tobytes(), int(score > 0.5)) for one, score in part]
        at = BEGIN + begin
        assert add_scores(self.desk.database, author, SEGMENT, at, BEGIN + begin + len(part), found, 0)

    def happened(
        self, places: Sequence[int], labels: Sequence[float], observed_ns: int | None = None, late_ns: int = 0
    ) -> None:
        """As it was reported when the last decision was taken, or so much later."""
        told = [
            Outcome(float(labels[place]), prediction=self.many[place].base.to_bytes(16, "big"), observed_ns=observed_ns)
            for place in places
        ]
        reported_ns = self.begun_ns + N * MS + late_ns
        add_outcomes(self.desk.database, [(one, b"") for one in told], "tests", reported_ns)

    def report(self) -> Shown:
        return self.pairing.report("m", self.stage, self.stage.challengers[0])


@pytest.fixture
def shadowed(database_url: str, tmp_path: Path) -> Iterator[Shadowed]:
    folder = bundles(tmp_path / "bundles", "1", "2")
    with desk(database_url, folder) as found:
        yield Shadowed(folder, found, N, Policy(delta=0.02))


def drawn(chances: Any, seed: int = 1) -> list[float]:
    return (np.random.default_rng(seed).random(len(chances)) < chances).astype(float).tolist()


CHALLENGERS = {
    "WORSE": lambda p: np.clip(1 - p, 0, 1),
    "SAFE": lambda p: np.clip(p + np.where(np.arange(len(p)) % 2, 0.01, -0.01), 0, 1),
}


@pytest.mark.parametrize("claim", CHALLENGERS)
def test_who_is_worse_is_found_and_who_is_as_good_is_safe(shadowed: Shadowed, claim: str) -> None:
    challenger = CHALLENGERS[claim](shadowed.champion)
    shadowed.ship()
    shadowed.score(challenger)
    shadowed.happened(range(N), drawn(shadowed.champion))
    seen, report = shadowed.report()
    assert report["claims"] == [claim]
    assert (seen.rows, seen.pairs, report["pairs"], report["outcomes_missing"]) == (N, N, N, 0.0)
    labels = np.array(drawn(shadowed.champion))
    losses = (shadowed.champion - labels) ** 2, (challenger - labels) ** 2
    assert report["mean_loss"] == pytest.approx(losses[0].mean(), rel=1e-9)
    assert report["mean_loss_challenger"] == pytest.approx(losses[1].mean(), rel=1e-9)
    low, high = report["difference"]
    assert low <= (losses[0] - losses[1]).mean() <= high


def test_who_is_better_is_found(shadowed: Shadowed) -> None:
    truth = np.where(np.arange(N) % 2, 0.9, 0.1)
    shadowed.ship()
    shadowed.score(truth)
    shadowed.happened(range(N), drawn(truth))
    assert set(shadowed.report().report["claims"]) == {"BETTER", "SAFE"}


def test_without_outcomes_there_is_agreement_and_no_claim(shadowed: Shadowed) -> None:
    shadowed.ship()
    shadowed.score(shadowed.champion)
    seen, report = shadowed.report()
    assert (seen.rows, seen.pairs) == (N, 0)
    assert (seen.e_safe, seen.e_worse) == pytest.approx((1.0, 1.0))
    assert (report["claims"], report["mean_loss"], report["difference"]) == ([], None, None)
    assert report["agreement"]["ratio_of_means"] == [1.0]
    assert any("missing at random" in said for said in report["assumptions"])


def test_many_looks_come_to_what_one_comes_to(shadowed: Shadowed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores and outcomes come in pieces, in another order, and someone looks after each."""
    monkeypatch.setattr(paired, "GRACE_NS", 2 * N * SECOND)
    challenger, labels = np.clip(shadowed.champion * 1.2, 0, 1), drawn(shadowed.champion)
    shadowed.ship()
    order = np.random.default_rng(3).permutation(N)
    for begin in range(0, N, 800):
        shadowed.happened(order[begin : begin + 800].tolist(), labels)
    for begin in range(0, N, 700):
        shadowed.score(challenger, begin, begin + 700)
        shadowed.report()
    again = Pairing(shadowed.desk.database, shadowed.desk.host.state_dir, Policy(delta=0.02))
    once = again.report("m", shadowed.stage, shadowed.stage.challengers[0])
    looked = shadowed.report()
    assert looked.seen.rows == once.seen.rows
    for name in ("e_better", "e_safe", "e_worse"):
        assert getattr(looked.seen, name) == pytest.approx(getattr(once.seen, name), rel=1e-9)
    assert looked.report["pairs"] == once.report["pairs"] == N


def test_outcomes_that_come_early_do_not_count_before_all_are_final(
    shadowed: Shadowed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Positives are known at once, negatives late: by their arrival an over-predicting challenger would look better."""
    labels = drawn(shadowed.champion)
    over = np.clip(shadowed.champion + 0.3, 0, 1)
    shadowed.ship()
    shadowed.score(over)
    shadowed.happened([place for place in range(N) if labels[place]], labels)
    by_arrival = [(shadowed.champion[p] - 1) ** 2 - (over[p] - 1) ** 2 for p in range(N) if labels[p]]
    assert np.mean(by_arrival) > 0.2, "what an order of arrival would be fooled by"
    real = paired.manifest_of
    monkeypatch.setattr(paired, "manifest_of", lambda *where: replace(real(*where), maturity_s=10 * N))
    assert shadowed.report().report["pairs"] == 0, "none is final yet"


def test_the_same_event_told_of_several_decisions_of_one_entity_is_one_pair(shadowed: Shadowed) -> None:
    challenger, labels = np.clip(1 - shadowed.champion, 0, 1), [1.0] * N
    shadowed.ship([(place // 100).to_bytes(16, "big") for place in range(N)])
    shadowed.score(challenger)
    shadowed.happened(range(N), labels, observed_ns=shadowed.begun_ns)
    report = shadowed.report().report
    assert (report["pairs"], report["repeated"]) == (N // 100, N - N // 100)


def test_a_decision_without_its_score_is_waited_for(shadowed: Shadowed) -> None:
    shadowed.ship()
    shadowed.happened(range(N), drawn(shadowed.champion))
    assert shadowed.report().seen.rows == 0
    shadowed.score(shadowed.champion, 0, 200)
    assert 0 < shadowed.report().seen.rows <= 200


def test_what_happened_that_is_no_class_is_told_and_not_counted(shadowed: Shadowed) -> None:
    shadowed.ship()
    shadowed.score(shadowed.champion)
    shadowed.happened(range(100), [7.5] * N)
    report = shadowed.report().report
    assert (report["pairs"], report["unusable"]) == (0, 100)
