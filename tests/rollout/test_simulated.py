"""Whole rollouts in simulated time: the controller on real e-values, looked at again and again. Fixed seeds."""

from collections.abc import Callable

import numpy as np

from scoreline.evidence.ratio import RatioE
from scoreline.rollout.controller import Since, decide
from scoreline.rollout.policy import Policy
from scoreline.rollout.stages import SILENCE, Stage, start_canary
from scoreline.rollout.verdict import CanaryEvidence
from somestages import ONE, SECOND, STEADY, TWO

POLICY = Policy(min_step_s=300, min_requests=300)
PER_S = 20
CLEAN = {"errors": (0.001, 0.001), "overruns": (0.0, 0.0), "slow": (0.01, 0.01)}  # champion, canary
RUNS = 15


class Simulated:
    """One model and its traffic; nothing but `decide` moves it."""

    def __init__(self, seed: int, rates: dict[str, tuple[float, float]], tick_s: int = 10) -> None:
        self.rng, self.rates, self.tick_s = np.random.default_rng(seed), rates, tick_s
        share = POLICY.first_share
        self.stage: Stage = start_canary(STEADY, TWO, 4, 0, salt="5a" * 16, share=share, slow_ns=1)
        self.found = {name: RatioE() for name in rates}
        self.units = self.units_step = self.last_ns = self.now_s = 0
        self.done: list[str] = []
        self.since = Since()

    def tick(self, per_s: int = PER_S) -> None:
        self.now_s += self.tick_s
        n_c = int(self.rng.binomial(per_s * self.tick_s, self.stage.share))
        n_b = per_s * self.tick_s - n_c
        for name, (before, after) in self.rates.items():
            k_c, k_b = self.rng.binomial(n_c, after), self.rng.binomial(n_b, before)
            self.found[name] = self.found[name].add(n_c, n_b, k_c, k_b, share=self.stage.share)
        self.units, self.units_step = self.units + n_c, self.units_step + n_c
        self.last_ns = self.now_s * SECOND if n_c else self.last_ns
        self.look()

    def look(self) -> None:
        r0 = {"slow": POLICY.slow_ratio}
        evidence = CanaryEvidence(
            rollout=self.stage.rollout,
            step=self.stage.step,
            e_rollback={name: found.rollback_e(r0.get(name, 1.0)) for name, found in self.found.items()},
            e_safe={name: found.safe_e(POLICY.r1, POLICY.p_tol) for name, found in self.found.items()},
            units_step=self.units_step,
            units=self.units,
            last_window_ns=self.last_ns,
            ratios={name: found.interval(POLICY.alpha_rollback) for name, found in self.found.items()},
        )
        step = self.stage.step
        self.stage, actions = decide(self.stage, evidence, POLICY, self.now_s * SECOND, 5 + len(self.done), self.since)
        self.done += [action.kind for action in actions]
        self.since = Since(self.now_s * SECOND, self.units_step) if actions else self.since
        self.units_step = self.units_step if self.stage.step == step else 0

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
