"""Champion and challenger on the same decisions: claims, order, repetitions, and what is said where nothing is."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

from models import opened
from recorded import kept
from scoreline.core.decision import Author, Decisions
from scoreline.core.ids import IdSource
from scoreline.core.outcome import Outcome
from scoreline.operations import paired
from scoreline.operations.bundles import manifest_of
from scoreline.operations.desk import Desk, Shown
from scoreline.operations.paired import Pairing
from scoreline.records.joined import Places
from scoreline.records.outcomes import add_outcomes
from scoreline.records.segments import BEGIN, Segment
from scoreline.records.shadowed import Scored, add_scores
from scoreline.records.tables import SEGMENTS
from scoreline.rollout.policy import Policy
from scoreline.rollout.stages import Arm, Challenger, Stage
from somedesk import bundles, decisions, desk, ship

MS = 1_000_000
SECOND = 1000 * MS
SEGMENT = Segment("a" * 24, 0, Path("unused"))
N = 4000


class Clock:
    """What `time` is to who asks for the time."""

    def __init__(self, now_ns: int) -> None:
        self.now_ns = now_ns

    def time_ns(self) -> int:
        return self.now_ns


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

    @property
    def challenger(self) -> Author:
        return replace(self.many[0].author, version="2", digest=self.digest, role="challenger", epoch=2)

    def score(self, scores: Any, begin: int = 0, end: int | None = None, segment: Segment = SEGMENT) -> None:
        """The challenger's scores of the decisions from one to another."""
        part = list(zip(self.many, np.asarray(scores, "<f8"), strict=True))[begin:end]
        found = [Scored(one.base.to_bytes(16, "big"), score.tobytes(), int(score > 0.5)) for one, score in part]
        at = BEGIN + begin
        assert add_scores(self.desk.database, self.challenger, segment, at, BEGIN + begin + len(part), found, 0)

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


def test_a_shadow_that_lags_is_waited_for_until_it_has_come_by(
    shadowed: Shadowed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paired, "GRACE_NS", 0)
    shadowed.ship()
    with shadowed.desk.database.reading() as connection:
        writer, number, end = connection.execute(select(SEGMENTS.c.writer, SEGMENTS.c.number, SEGMENTS.c.offset)).one()
    real = Segment(writer, number, Path("unused"))
    shadowed.score(shadowed.champion, 0, 200, segment=real)
    assert shadowed.report().seen.rows == 200
    author = shadowed.challenger
    assert add_scores(shadowed.desk.database, author, real, BEGIN + 200, end, [], N - 200)
    shown = shadowed.report()
    assert (shown.seen.rows, shown.report["unscored"]) == (200, N - 200)


def test_an_event_of_an_entity_is_one_pair_with_the_last_decision_before_it(shadowed: Shadowed) -> None:
    """Of each five decisions on an entity the last counts; of the last ten entities nothing was heard."""
    entities = [(place // 5).to_bytes(16, "big") for place in range(N)]
    labels, told = drawn(shadowed.champion), range(4, N - 50, 5)
    shadowed.ship(entities)
    shadowed.score(shadowed.champion)
    end_ns = shadowed.begun_ns + N * MS
    outcomes = [
        (Outcome(labels[place], model="m", entity="unused", event_ns=end_ns, observed_ns=end_ns), entities[place])
        for place in told
    ]
    add_outcomes(shadowed.desk.database, outcomes, "tests", end_ns)
    report = shadowed.report().report
    assert (report["pairs"], report["repeated"]) == (len(told), N - N // 5)
    assert report["outcomes_missing"] == pytest.approx(10 / (N // 5))
    losses = [(shadowed.champion[place] - labels[place]) ** 2 for place in told]
    assert report["mean_loss"] == pytest.approx(np.mean(losses), rel=1e-9)


def test_outcomes_that_are_reported_too_late_are_told_and_count_for_nobody(shadowed: Shadowed) -> None:
    shadowed.ship()
    shadowed.score(shadowed.champion)
    shadowed.happened(range(N), drawn(shadowed.champion), late_ns=paired.LAG_NS)
    report = shadowed.report().report
    assert (report["pairs"], report["late"], report["outcomes_missing"]) == (0, N, 1.0)


def test_whoever_begins_anew_at_any_time_comes_to_the_same(shadowed: Shadowed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outcomes come at any time, some too late, some corrected; one looks all the time, another once at the end."""
    clock, rng = Clock(shadowed.begun_ns), np.random.default_rng(11)
    monkeypatch.setattr(paired, "time", clock)
    challenger, labels = np.clip(shadowed.champion + 0.2, 0, 1), drawn(shadowed.champion)
    shadowed.ship()
    shadowed.score(challenger)
    delays = np.where(np.array(labels) > 0, 0, 7 * SECOND // 2) + rng.integers(0, 12 * SECOND // 10, N)
    reported = shadowed.begun_ns + np.arange(N) * MS + delays
    false = set[str]()
    for look in range(1, 27):
        after, clock.now_ns = clock.now_ns, shadowed.begun_ns + look * SECOND // 2
        come = np.flatnonzero((reported > after) & (reported <= clock.now_ns)).tolist()
        for some, flipped in ((come, labels), (come[::25], [1 - label for label in labels])):
            ids = [shadowed.many[place].base.to_bytes(16, "big") for place in some]
            told = [Outcome(flipped[place], prediction=id_) for place, id_ in zip(some, ids, strict=True)]
            add_outcomes(shadowed.desk.database, [(one, b"") for one in told], "tests", clock.now_ns)
        false.update(shadowed.report().report["claims"])
    again = Pairing(shadowed.desk.database, shadowed.desk.host.state_dir, Policy(delta=0.02))
    once, looked = again.report("m", shadowed.stage, shadowed.stage.challengers[0]), shadowed.report()
    assert 0 < looked.report["outcomes_missing"] == once.report["outcomes_missing"] < 0.05
    assert looked.report["pairs"] == once.report["pairs"] < N
    for name in ("e_better", "e_safe", "e_worse"):
        assert getattr(looked.seen, name) == pytest.approx(getattr(once.seen, name), rel=1e-9)
    assert false == {"WORSE"}


def test_a_look_is_of_bounded_size_and_says_whether_there_is_more(
    shadowed: Shadowed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paired, "PAGE_ROWS", 500)
    shadowed.ship()
    shadowed.score(shadowed.champion)
    shadowed.happened(range(N), drawn(shadowed.champion))
    whole = shadowed.report()
    stepping = Pairing(shadowed.desk.database, shadowed.desk.host.state_dir, Policy(delta=0.02), at_once=2)
    looks = [stepping.report("m", shadowed.stage, shadowed.stage.challengers[0]) for _ in range(7)]
    assert 0 < looks[0].seen.rows <= 1000 and looks[0].report["is_behind"] and not looks[-1].report["is_behind"]
    assert looks[-1].seen.rows == looks[-1].seen.pairs == whole.seen.pairs == N
    assert looks[-1].seen.e_safe == pytest.approx(whole.seen.e_safe, rel=1e-9)


def test_many_decisions_of_one_millisecond_are_counted_once_each(
    shadowed: Shadowed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their ids are in another order than their nanoseconds."""
    monkeypatch.setattr(paired, "PAGE_ROWS", 70)
    place, rng = shadowed.place, np.random.default_rng(4)

    def crowded(number: int, found: Decisions) -> None:
        place(number // 100 * 100, found)
        found.context = replace(found.context, time_ns=found.context.time_ns + int(rng.integers(MS)))
        found.scores = shadowed.champion[number : number + 1, None].copy()

    shadowed.place = crowded
    shadowed.ship()
    shadowed.score(shadowed.champion)
    shadowed.happened(range(N), drawn(shadowed.champion))
    stepping = Pairing(shadowed.desk.database, shadowed.desk.host.state_dir, Policy(delta=0.02), at_once=3)
    for _ in range(25):
        seen = stepping.report("m", shadowed.stage, shadowed.stage.challengers[0]).seen
    assert (seen.rows, seen.pairs) == (N, N)


def test_a_backtest_comes_to_what_shadow_would_have(shadowed: Shadowed) -> None:
    challenger = np.clip(shadowed.champion + 0.02, 0, 1)
    shadowed.ship()
    shadowed.happened(range(N), drawn(shadowed.champion))
    made = {
        one.base.to_bytes(16, "big"): (np.array([score], "<f8").tobytes(), int(score > 0.5))
        for one, score in zip(shadowed.many, challenger, strict=True)
    }
    manifests = [
        manifest_of(shadowed.desk.host.state_dir, each) for each in (shadowed.stage.champion.digest, shadowed.digest)
    ]
    found = paired.rivals(*manifests, Policy(delta=0.02), in_time_ns=paired.EVER_NS)
    tested = paired.backtested(Places(None, shadowed.desk.database), "m", found, lambda _: made, Policy(delta=0.02))
    shadowed.score(challenger)
    report = shadowed.report().report
    assert tested["pairs"] == N and tested["agreement"] == report["agreement"]
    assert tested["claims"] == report["claims"]
    assert tested["e_safe"] == pytest.approx(report["e_safe"], rel=1e-9)


def test_what_happened_that_is_no_class_is_told_and_not_counted(shadowed: Shadowed) -> None:
    shadowed.ship()
    shadowed.score(shadowed.champion)
    shadowed.happened(range(100), [7.5] * N)
    report = shadowed.report().report
    assert (report["pairs"], report["unusable"]) == (0, 100)
