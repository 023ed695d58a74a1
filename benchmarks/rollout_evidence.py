"""Every statistical promise of a rollout at full size, by the simulations of the tests. `make evidence` calls it.

EVIDENCE_RUNS (10,000) shortens. Error rates come with the upper 95 % bound of their probability (one-sided,
Clopper-Pearson): `upper`, a probability, where `measured` is in per cent. Figures "(measured)" are no promises:
they show what the ways not taken would cost.
"""

import itertools
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "evidence"))  # the simulations of the tests
import numpy as np
import replaying as replays
import simulating as sim
from report import figure, write
from scipy.stats import binom

from scoreline.evidence.likelihoods import log_e_above
from scoreline.evidence.ratio import RatioE

RUNS: Final = int(os.environ.get("EVIDENCE_RUNS", "10000"))
CHUNK: Final = 1000
FULL: Final = 5000  # runs from which on the upper bound must hold, too
ALPHA, ALPHA_ADVANCE, R1, P_TOL = 0.01, 0.05, 2.0, 0.005
LOOKS, PER_LOOK = 1000, 100  # 100,000 requests at 100 a second, looked at every second
Figures = Iterator[dict[str, Any]]
Crossed = Callable[[sim.Rng, int], sim.Floats]


def main() -> int:
    figures = []
    for part in (false_rollbacks, ramps, entities, false_advances, delays, shadows, safe_costs, merging):
        for found in part():
            figures.append(found)
            bound = f"(<= {100 * found['upper']:.2f} %)" if "upper" in found else ""
            print(f"{found['figure']:<96} {found['measured']:>10.4g} {bound:<12} {found['target']}", flush=True)
    print(f"written to {write(figures, ['rollout', 'evidence'], f'make evidence (EVIDENCE_RUNS={RUNS})')}")
    return 0 if all(found["held"] for found in figures) else 1


def crossed(of: Crossed, runs: int, *seed: int) -> sim.Floats:
    """In pieces, each with a generator of its own, so that memory stays small."""
    pieces = [min(CHUNK, runs - start) for start in range(0, runs, CHUNK)]
    return np.concatenate([of(np.random.default_rng([*seed, at]), piece) for at, piece in enumerate(pieces)])


def error_rate(name: str, of: Crossed, alpha: float | None, runs: int, *seed: int) -> dict[str, Any]:
    """In per cent; `alpha` None: no promise. At full size the upper bound is held against 1.3 alpha, too."""
    found = sim.share_of(np.isfinite(crossed(of, runs, *seed)))
    target = "(measured)" if alpha is None else f"<= {100 * alpha:.0f} %, upper bound <= {130 * alpha:.1f} %"
    if alpha is None or runs < FULL:  # a short form can only be contradicted
        held = alpha is None or bool(binom.sf(found.hits - 1, runs, alpha) > 0.001)
    else:
        held = found.measured <= alpha and found.upper <= 1.3 * alpha
    told = figure(f"% {name}", 100 * found.measured, target, [100 * found.measured])
    return told | {"upper": found.upper, "runs": runs, "held": held}


def plain(name: str, value: float, target: str, held: bool, values: list[float] | None = None) -> dict[str, Any]:
    return figure(name, float(value), target, [float(one) for one in values or [value]]) | {"held": bool(held)}


def steady(share: float, rate: float, realised: bool) -> Crossed:
    def of(rng: sim.Rng, runs: int) -> sim.Floats:
        looks = sim.requests(rng, runs, LOOKS, PER_LOOK, lambda _: share, lambda _: (rate, rate), realised)
        return sim.crossings(looks, runs, sim.rollback(), ALPHA)

    return of


def false_rollbacks() -> Figures:
    for at, (share, rate) in enumerate(itertools.product((0.001, 0.01, 0.1, 0.5), (0.001, 0.005, 0.01))):
        for realised in (False, True):
            name = f"false rollback, share {100 * share:g} %, rate {100 * rate:g} %"
            form = "realised share" if realised else "drawn share"
            yield error_rate(f"{name}, {form}", steady(share, rate, realised), ALPHA, RUNS, 1, at, realised)

    yield error_rate("intervals at 5 % that miss a true ratio of 2 at any look", misses, 0.05, RUNS, 13)


def misses(rng: sim.Rng, runs: int) -> sim.Floats:
    looks = sim.requests(rng, runs, LOOKS, PER_LOOK, lambda _: 0.1, lambda _: (0.02, 0.01))
    return sim.crossings(looks, runs, sim.misses(2.0), 0.05 / 2)


def ramps() -> Figures:
    happening = {
        "nothing": lambda _: 1.0,
        "an outage x40 of both arms for 5 minutes": lambda look: 40.0 if 500 <= look < 800 else 1.0,
        "four times the rate midway": lambda look: 1.0 if look < 500 else 4.0,
    }
    for at, (what, worse) in enumerate(happening.items()):

        def of(rng: sim.Rng, runs: int, worse: Callable[[int], float] = worse) -> sim.Floats:
            def rates(look: int) -> tuple[float, float]:
                return 0.005 * worse(look), 0.005 * worse(look)

            looks = sim.requests(rng, runs, LOOKS, PER_LOOK, sim.ramp(LOOKS), rates)
            return sim.crossings(looks, runs, sim.rollback(), ALPHA)

        yield error_rate(f"false rollback over 1 -> 10 -> 50 %, {what}", of, ALPHA, RUNS, 2, at)


TRAFFIC: Final[dict[str, Callable[[sim.Rng], sim.Entities]]] = {
    "Zipf(1.1) entities": lambda _: sim.zipf(10_000, 0.01),
    "5 % of entities always failing": lambda rng: sim.some_always_fail(10_000, 0.05, 0.002, rng),
    "five clients with 80 % of traffic": lambda _: sim.heavy(5, 2000, 0.8, 0.01, 0.01),
    "five clients with 80 % of traffic that never fail": lambda _: sim.heavy(5, 2000, 0.8, 0.0, 0.01),
    "one client that always fails": lambda _: sim.heavy(1, 2000, 0.1, 1.0, 0.0),
}


def sticky(make: Callable[[sim.Rng], sim.Entities], steps: sim.Steps, at_least: int, per_step: bool) -> Crossed:
    def of(rng: sim.Rng, runs: int) -> sim.Floats:
        looks = sim.sticky(lambda: make(rng), runs, rng, steps, at_least=at_least, per_step=per_step)
        return sim.crossings(looks, runs, sim.rollback(), ALPHA)

    return of


def at_risk(make: Callable[[sim.Rng], sim.Entities], share: float) -> Crossed:
    def of(rng: sim.Rng, runs: int) -> sim.Floats:
        looks = sim.at_risk(lambda: make(rng), runs, 50_000, 10, rng, share)
        return sim.crossings(looks, runs, sim.rollback(), ALPHA)

    return of


def entities() -> Figures:
    for at, (name, make) in enumerate(TRAFFIC.items()):
        for steps in ((0.01,), (0.1,), (0.5,), sim.RAMP, sim.LONG_RAMP):
            shown = " -> ".join(f"{100 * share:g}" for share in steps) + " %"
            of = sticky(make, steps, 300, False)
            yield error_rate(f"false rollback, {name}, {shown}", of, ALPHA, RUNS, 3, at, len(steps))
    few = max(RUNS // 50, 1)
    for at, (name, make) in enumerate(TRAFFIC.items()):
        for share in (0.1, 0.5):
            told = f"false rollback, {name}, {100 * share:g} %, realised share of those active in 10 requests"
            yield error_rate(told, at_risk(make, share), None, few, 4, at)
    one = sticky(TRAFFIC["one client that always fails"], sim.LONG_RAMP, 100, True)
    yield error_rate("false rollback, one client that always fails, counted in each of 6 steps", one, None, RUNS, 5)


def advance(share: float, p_b: float) -> Crossed:
    def of(rng: sim.Rng, runs: int) -> sim.Floats:
        looks = sim.requests(rng, runs, 200, 500, lambda _: share, lambda _: (R1 * p_b, p_b))
        return sim.crossings(looks, runs, sim.safe(R1, P_TOL), ALPHA_ADVANCE, silent_too=True)

    return of


def advance_sticky(each: int, spread: float, share: float, at_sight: bool) -> Crossed:
    def of(rng: sim.Rng, runs: int) -> sim.Floats:
        looks = sim.worsening(runs, 100_000 // each, each, 0.005, R1, share, spread, 200, rng)
        return sim.crossings(looks, runs, sim.safe(R1, P_TOL, at_sight), ALPHA_ADVANCE, silent_too=True)

    return of


def false_advances() -> Figures:
    for at, (share, p_b) in enumerate(itertools.product((0.01, 0.1, 0.5), (0.0025, 0.005))):
        name = f"false advance at twice {100 * p_b:g} %, share {100 * share:g} %"
        yield error_rate(name, advance(share, p_b), ALPHA_ADVANCE, RUNS, 6, at)
    some = max(RUNS // 10, 1)
    cases = ((1, 0.0), (10, 2.0), (50, 2.0), (200, 0.0), (200, 2.0), (200, 9.0))
    for at, ((each, spread), share) in enumerate(itertools.product(cases, (0.1, 0.5))):
        name = f"false advance at twice 0.5 %, share {100 * share:g} %, {each} requests an entity, spread {spread:g}"
        of = advance_sticky(each, spread, share, True)
        yield error_rate(name, of, ALPHA_ADVANCE, some, 7, at)
        yield error_rate(f"{name}, late events too", advance_sticky(each, spread, share, False), None, some, 7, at)


def waited(share: float, p_b: float, p_c: float, *seed: int) -> sim.Floats:
    """Requests of both arms until rollback."""
    return crossed(lambda rng, runs: sim.mean_delay(rng, runs, share, p_b, p_c, ALPHA), RUNS, 8, *seed)


def delays() -> Figures:
    ratios = []
    grid = itertools.product((0.01, 0.1, 0.5), (0.001, 0.005, 0.01), (2, 3, 5, 10))
    for at, (share, p_b, ratio) in enumerate(grid):
        found = waited(share, p_b, ratio * p_b, at)
        ratios.append(found.mean() / sim.wald(share, p_b, ratio * p_b, ALPHA))
        name = f"share {100 * share:g} %, {100 * p_b:g} -> {100 * ratio * p_b:g} %"
        yield plain(f"mean delay / Wald's bound, {name}", ratios[-1], "<= 1.41", ratios[-1] <= 1.41)
        if (p_b, ratio) == (0.01, 5):
            median = float(np.median(found)) * share
            yield plain(f"canary requests to rollback, median, {name}", median, "(measured)", True)
    middle = float(np.median(ratios))
    yield plain("mean delay / Wald's bound, median of the grid", middle, "<= 1.25", middle <= 1.25, ratios)
    for share, ratio in itertools.product((0.01, 0.5), (1.5, 20)):
        found = waited(share, 0.01, ratio * 0.01, 99)
        told = found.mean() / sim.wald(share, 0.01, ratio * 0.01, ALPHA)
        name = f"mean delay / Wald's bound, beside the grid, share {100 * share:g} %, 1 -> {ratio:g} %"
        yield plain(name, told, "(measured)", True)
    median = float(np.median(waited(0.01, 0.0, 0.02, 100))) * 0.01
    yield plain("canary requests to rollback, median, share 1 %, 0 -> 2 %", median, "<= 100", median <= 100)
    for per_look, realised in itertools.product((10, 100), (False, True)):
        median = float(np.median(windowed(per_look, realised)))
        form = "realised" if realised else "drawn"
        name = f"the same in windows of {per_look} requests, {form} share"
        yield plain(f"canary requests to rollback, median, share 1 %, 0 -> 2 %, {name}", median, "(measured)", True)


def windowed(per_look: int, realised: bool) -> sim.Floats:
    def of(rng: sim.Rng, runs: int) -> sim.Floats:
        looks = sim.requests(rng, runs, 100_000 // per_look, per_look, lambda _: 0.01, lambda _: (0.02, 0.0), realised)
        return (sim.crossings(looks, runs, sim.rollback(), ALPHA) + 1) * per_look * 0.01

    return crossed(of, max(RUNS // 10, 1), 9, per_look)


SHADOWS: Final = {
    "equal models": (replays.equal_models(0.05), ("BETTER", "WORSE")),
    "a challenger worse by delta": (replays.overpredicting(0.1), ("BETTER", "SAFE")),
}
DELTA, BATCHES, BATCH, LATE = 0.01, 500, 100, 50


def claimed(of: replays.Shadow, claim: str, arrived: Callable[[sim.Ints], sim.Ints]) -> Crossed:
    def crossings(rng: sim.Rng, runs: int) -> sim.Floats:
        counts = arrived(replays.batches(rng, runs, BATCHES, BATCH, of))
        return replays.claims(counts, of, DELTA, getattr(replays, claim), ALPHA)

    return crossings


def shadows() -> Figures:
    for at, (name, (of, false)) in enumerate(SHADOWS.items()):
        for claim in false:
            ordered = claimed(of, claim, lambda counts: replays.behind_watermark(counts, LATE))
            yield error_rate(f"false {claim}, {name}, 50,000 outcomes, in request order", ordered, ALPHA, RUNS, 10, at)
        delays = replays.favourable_first(of, LATE)
        arriving = claimed(of, "BETTER", lambda counts, delays=delays: replays.as_they_arrive(counts, delays))
        told = f"false BETTER, {name}, in the order of arrival, favourable outcomes first"
        yield error_rate(told, arriving, None, max(RUNS // 20, 1), 11, at)


def safe_costs() -> Figures:
    for off, delta, promised in ((0.05, 0.002, True), (0.05, 0.001, True), (0.1, 0.005, True), (0.1, 0.01, True),
                                 (0.02, 0.001, False), (0.01, 0.001, False)):  # fmt: skip
        of = replays.equal_models(off)
        cost = 2 * np.log(1 / ALPHA) * of.variance / delta**2

        def taken(rng: sim.Rng, runs: int, of: replays.Shadow = of, delta: float = delta, cost: float = cost) -> Any:
            per_look = max(int(cost / 100), 1)
            counts = replays.batches(rng, runs, 1200, per_look, of)
            return (replays.claims(counts, of, delta, replays.SAFE, ALPHA) + 1) * per_look

        ratio = crossed(taken, max(RUNS // 5, 1), 12).mean() / cost
        name = f"outcomes to SAFE / (2 ln(1/alpha) var / delta^2), variance {of.variance:.2g}, delta {delta:g}"
        yield plain(name, ratio, "<= 1.5" if promised else "(measured)", not promised or ratio <= 1.5)


def merging() -> Figures:
    rng = np.random.default_rng(64)
    n_c = rng.binomial(2000, 0.01, (64, 500))
    n = np.stack([n_c, 2000 - n_c])
    k = rng.binomial(n, 0.02)
    workers = [RatioE().add(*n[:, at], *k[:, at]) for at in range(64)]
    whole = log_e_above(RatioE().add(*n.reshape(2, -1), *k.reshape(2, -1)).logs, 1.0)
    merged = [sum((workers[at] for at in rng.permutation(64)), RatioE()) for _ in range(100)]
    worst = float(max(abs(log_e_above(found.logs, 1.0) - whole) for found in merged))
    yield plain("merging 64 workers in 100 orders: largest difference of ln E", worst, "<= 1e-9", worst <= 1e-9)


if __name__ == "__main__":
    sys.exit(main())
