"""Whole rollouts in simulated time: the controller on real e-values, looked at again and again. Fixed seeds."""

from collections.abc import Callable

import numpy as np
import pytest

from scoreline.operations.canaries import Seen
from scoreline.records.counting import Counts
from scoreline.rollout.controller import Since, decide
from scoreline.rollout.policy import Policy
from scoreline.rollout.stages import SILENCE, Stage, start_canary
from somestages import ONE, SECOND, STEADY, TWO

POLICY = Policy(min_step_s=300, min_requests=300)
PER_S = 20
CLEAN = {"errors": (0.001, 0.001), "overruns": (0.0, 0.0), "slow": (0.01, 0.01)}  # champion, canary
RUNS = 15
RUNS_ALONE = 5
Rates = dict[str, tuple[float, float]]


class Simulated:
    """One model and its traffic, counted as shipping does; nothing but `decide` moves it.

    `rates_alone`: those of the canary once it answers everything, if they are others.
    """

    def __init__(self, seed: int, rates: Rates, tick_s: int = 10, rates_alone: Rates | None = None) -> None:
        self.rng, self.rates, self.tick_s = np.random.default_rng(seed), rates, tick_s
        self.rates_alone = rates_alone or rates
        share = POLICY.first_share
        self.stage: Stage = start_canary(STEADY, TWO, 4, 0, salt="5a" * 16, share=share, slow_ns=1)
        self.counts: dict[tuple[int, str], Counts] = {}
        self.now_s = self.units = 0
        self.done: list[str] = []
        self.why = ""
        self.since = Since()

    def tick(self, per_s: int = PER_S) -> None:
        self.now_s += self.tick_s
        share = self.stage.share
        n_c = int(self.rng.binomial(per_s * self.tick_s, share))
        n_b = per_s * self.tick_s - n_c
        for name, (before, after) in (self.rates_alone if share == 1.0 else self.rates).items():
            k_c, k_b = int(self.rng.binomial(n_c, after)), int(self.rng.binomial(n_b, before))
            new = {"k_c": k_c, "k_b": k_b, "sight_c": k_c}
            new |= {"new_c": n_c, "new_b": n_b, "step_c": n_c} if name == "errors" else {}
            key = self.stage.stepped, name
            had = self.counts.get(key, Counts(key[0], name, share, *[0] * (len(Counts._fields) - 3)))
            added = {field: getattr(had, field) + number for field, number in new.items()}
            last_ns = self.now_s * SECOND if n_c else had.canary_ns
            self.counts[key] = had._replace(**added, canary_ns=last_ns)
        self.units += n_c
        self.look()

    def look(self) -> None:
        evidence = Seen.of(list(self.counts.values()), self.stage.stepped).evidence(self.stage, POLICY)
        self.stage, actions = decide(self.stage, evidence, POLICY, self.now_s * SECOND, 5 + len(self.done), self.since)
        for action in actions:
            self.done.append(action.kind)
            self.why = action.why
        self.since = Since(self.now_s * SECOND, evidence.units_step) if actions else self.since

    def run(self, until: Callable[["Simulated"], bool], most_s: int = 100_000) -> "Simulated":
        while not until(self) and self.now_s < most_s:
            self.tick()
        return self


def over(simulated: Simulated) -> bool:
    return simulated.stage.canary is None


def test_a_good_version_becomes_champion_by_itself_and_in_time() -> None:
    """False rollbacks: 1 % at most; none in fifteen is what is likely."""
    ended = [Simulated(seed, CLEAN, tick_s=60).run(over) for seed in range(RUNS)]
    assert [one.stage.champion for one in ended] == [TWO] * RUNS
    assert {tuple(one.done) for one in ended} == {("advance", "advance", "advance", "promote")}
    assert np.median([one.now_s for one in ended]) < 4 * 3600


def test_a_version_that_errs_on_two_in_a_hundred_is_rolled_back_at_one_in_a_hundred() -> None:
    ended = [Simulated(seed, {**CLEAN, "errors": (0.0, 0.02)}).run(over) for seed in range(RUNS)]
    assert [one.stage.champion for one in ended] == [ONE] * RUNS
    assert {tuple(one.done) for one in ended} == {("roll_back",)}
    assert np.median([one.units for one in ended]) <= 130  # looked at every ten seconds, in which it sees two


def test_a_slow_version_is_rolled_back_on_latency() -> None:
    ended = [Simulated(seed, {**CLEAN, "slow": (0.01, 0.2)}).run(over) for seed in range(RUNS)]
    assert {tuple(one.done) for one in ended} == {("roll_back",)}


def test_when_traffic_stops_the_canary_is_held_and_goes_on_with_it() -> None:
    one = Simulated(1, CLEAN).run(lambda one: one.now_s >= 200)
    for _ in range(100):
        one.tick(per_s=0)
    assert (one.done, one.stage.held_for, one.stage.share) == (["hold"], SILENCE, 0.01)
    assert one.run(over).stage.champion == TWO
    assert one.done[:2] == ["hold", "resume"] and one.done[-1] == "promote"


def alone(seed: int, before: float, after: float) -> Simulated:
    """Errors of both arms until the canary answers everything, and its own from then on."""
    rates = {**CLEAN, "errors": (before, before)}
    return Simulated(seed, rates, 60, {**rates, "errors": (before, after)}).run(over)


@pytest.mark.parametrize(("before", "after"), [(0.0, 1.0), (0.02, 1.0), (0.0, 0.03), (0.02, 0.1)])
def test_what_does_harm_only_once_it_answers_everything_is_rolled_back_there(before: float, after: float) -> None:
    ended = [alone(seed, before, after) for seed in range(RUNS_ALONE)]
    assert {one.stage.champion for one in ended} == {ONE}
    assert {tuple(one.done) for one in ended} == {("advance", "advance", "advance", "roll_back")}
    assert all(one.why.startswith("errors_alone: e-value") for one in ended)


def test_what_fails_as_often_as_before_becomes_champion() -> None:
    ended = [alone(seed, 0.02, 0.02) for seed in range(RUNS_ALONE)]
    assert {tuple(one.done) for one in ended} == {("advance", "advance", "advance", "promote")}
