"""Rollouts simulated by the thousand, on the formulas that decide real ones. Tests run it short, `make evidence` long.

A run is one rollout. `crossings` walks all runs look by look; what happened between two looks is a `Look` of counts,
one element per run. Seeds are the caller's: the same ones give the same runs.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import beta

from scoreline.evidence.likelihoods import RATIOS, log_e_above, log_e_below, log_e_rare, log_likelihoods

Rng = np.random.Generator
Ints = np.ndarray[Any, Any]
Floats = np.ndarray[Any, Any]
Steps = tuple[float, ...]
RAMP: Steps = (0.01, 0.1, 0.5)
LONG_RAMP: Steps = (0.01, 0.02, 0.05, 0.1, 0.25, 0.5)


class Share(NamedTuple):
    """How often something happened, and the upper 95 % bound of its probability (one-sided, Clopper-Pearson)."""

    measured: float
    upper: float
    hits: int


def share_of(happened: Ints) -> Share:
    runs, hits = len(happened), int(np.sum(happened))
    upper = float(beta.ppf(0.95, hits + 1, runs - hits)) if hits < runs else 1.0
    return Share(hits / runs, upper, hits)


class Look(NamedTuple):
    """What happened since the look before, per run; `share` None: realised. `late`: of units seen before."""

    n_c: Any
    n_b: Any
    k_c: Any
    k_b: Any
    share: float | None
    late_c: Any = 0
    late_b: Any = 0


@dataclass
class Evidence:
    """RatioE of many runs at once."""

    logs: Floats
    at_sight: Floats
    n_c: Ints
    k_c: Ints


LogE = Callable[[Evidence], Floats]


def rollback(r0: float = 1.0) -> LogE:
    return lambda evidence: log_e_above(evidence.logs, r0)


def outside(tolerance: float) -> LogE:
    def log_e(evidence: Evidence) -> Floats:
        both = log_e_above(evidence.logs, tolerance), log_e_below(evidence.logs, 1 / tolerance)
        return np.logaddexp(*both) - np.log(2)

    return log_e


def misses(ratio: float) -> LogE:
    """An interval of the ratio at alpha leaves this one out when either side reaches 2 / alpha."""
    return lambda evidence: np.maximum(log_e_above(evidence.logs, ratio), log_e_below(evidence.logs, ratio))


def safe(r1: float, p_tol: float, at_sight: bool = True) -> LogE:
    """`at_sight` False: what it would be without looking at the events of new units apart."""

    def log_e(evidence: Evidence) -> Floats:
        down = log_e_below(evidence.logs, r1)
        if at_sight:
            down = np.minimum(down, log_e_below(evidence.at_sight, r1))
        return np.logaddexp(down, log_e_rare(evidence.n_c, evidence.k_c, p_tol)) - np.log(2)

    return log_e


def crossings(looks: Iterable[Look], runs: int, log_e: LogE, alpha: float, silent_too: bool = False) -> Floats:
    """The number of the look (0, 1, ...) at which each run's e-value first reached 1/alpha; inf: never.

    A run in whose look nothing failed is not evaluated, unless `silent_too`: only absolute claims move then.
    """
    found = np.full(runs, np.inf)
    everything = Evidence(np.zeros((runs, len(RATIOS))), np.zeros((runs, len(RATIOS))), np.zeros(runs), np.zeros(runs))
    for number, look in enumerate(looks):
        n_c, n_b, k_c, k_b, late_c, late_b = (
            np.broadcast_to(given, runs) for given in (look.n_c, look.n_b, look.k_c, look.k_b, look.late_c, look.late_b)
        )
        everything.n_c += n_c
        everything.k_c += k_c
        moved = np.flatnonzero(((k_c + k_b > 0) | silent_too) & np.isinf(found))
        if not len(moved):
            continue
        k, m = k_c[moved], (k_c + k_b)[moved]
        share = n_c[moved] / np.maximum(n_c + n_b, 1)[moved] if look.share is None else look.share
        everything.logs[moved] += log_likelihoods(k, m, share)
        if silent_too:
            everything.at_sight[moved] += log_likelihoods(k - late_c[moved], m - (late_c + late_b)[moved], share)
        now = Evidence(everything.logs[moved], everything.at_sight[moved], everything.n_c[moved], everything.k_c[moved])
        found[moved[log_e(now) >= np.log(1 / alpha)]] = number
        if np.isfinite(found).all():
            break
    return found


def requests(
    rng: Rng,
    runs: int,
    looks: int,
    per_look: int,
    share: Callable[[int], float],
    rates: Callable[[int], tuple[float, float]],
    realised: bool = False,
) -> Iterator[Look]:
    """Traffic without entities: `share` and `rates` (of canary and baseline) by the number of the look."""
    for number in range(looks):
        p_c, p_b = rates(number)
        n_c = rng.binomial(per_look, share(number), runs)
        k_c, k_b = rng.binomial(n_c, p_c), rng.binomial(per_look - n_c, p_b)
        yield Look(n_c, per_look - n_c, k_c, k_b, None if realised else share(number))


def ramp(looks: int) -> Callable[[int], float]:
    """1, 10, 50 %: a third of all looks each."""
    return lambda number: RAMP[min(3 * number // looks, 2)]


def mean_delay(rng: Rng, runs: int, share: float, p_b: float, p_c: float, alpha: float) -> Floats:
    """Requests of both arms until each run is rolled back, looked at after each request."""
    mean = share * p_c + (1 - share) * p_b
    waited = np.zeros(runs)
    going = np.ones(runs, dtype=bool)

    def events() -> Iterator[Look]:
        while True:
            waited[going] += rng.geometric(mean, int(going.sum()))
            k_c = rng.random(runs) < share * p_c / mean
            yield Look(0, 0, k_c.astype(int), 1 - k_c, share)

    # `crossings` stops looking at runs that have crossed; their clocks stop here.
    def stopping(evidence: Evidence) -> Floats:
        log_e = log_e_above(evidence.logs, 1.0)
        going[np.flatnonzero(going)[log_e >= np.log(1 / alpha)]] = False
        return log_e

    crossings(events(), runs, stopping, alpha)
    return waited


def wald(share: float, p_b: float, p_c: float, alpha: float) -> float:
    """Requests of both arms that no test of level alpha can do without on average, knowing both rates beforehand."""
    mean = share * p_c + (1 - share) * p_b
    canary = share * p_c / mean
    against = (1 - canary) * np.log((1 - canary) / (1 - share)) if canary < 1 else 0.0
    return float(np.log(1 / alpha) / (mean * (canary * np.log(canary / share) + against)))


@dataclass(frozen=True)
class Entities:
    """Entities: how much of the traffic each has, and how often a request of each fails, whatever the arm."""

    traffic: Floats
    fails: Floats


def zipf(entities: int, fails: Floats | float, exponent: float = 1.1) -> Entities:
    traffic = np.arange(1, entities + 1) ** -exponent
    return Entities(traffic / traffic.sum(), np.broadcast_to(fails, entities))


def heavy(clients: int, others: int, traffic: float, client_fails: float, fails: float) -> Entities:
    """So many clients with a part of the traffic in equal shares, and others with the rest."""
    shares = np.concatenate([np.full(clients, traffic / clients), np.full(others, (1 - traffic) / others)])
    return Entities(shares, np.concatenate([np.full(clients, client_fails), np.full(others, fails)]))


def some_always_fail(entities: int, part: float, fails: float, rng: Rng) -> Entities:
    return zipf(entities, np.where(rng.random(entities) < part, 1.0, fails))


def failures(of: Entities, n_requests: int, rng: Rng) -> tuple[Ints, Ints]:
    """The failing requests of one run in order: their times (numbers of requests) and entities."""
    weights = of.traffic * of.fails
    times = np.flatnonzero(rng.random(n_requests) < weights.sum())
    return times, np.searchsorted(np.cumsum(weights), rng.random(len(times)) * weights.sum(), side="right")


def step_times(of: Entities, drawn: Floats, steps: Steps, at_least: int) -> Floats:
    """When each step but the first begins: once the canary has had so many requests in the one before.

    This depends on where the heavy entities are, as it would.
    """
    return np.cumsum([at_least / max(of.traffic[drawn < share].sum(), 1e-12) for share in steps[:-1]])


def sticky(
    make: Callable[[], Entities],
    runs: int,
    rng: Rng,
    steps: Steps,
    n_requests: int = 100_000,
    looks: int = 200,
    at_least: int = 300,
    per_step: bool = False,
) -> list[Look]:
    """First events of identical arms, of sticky units. One Look per step and piece of time.

    `at_least`: requests of the canary in each step; `per_step`: each entity counts again in each step.
    """
    counts = np.zeros((2, len(steps), looks, runs), dtype=np.int32)
    for run in range(runs):
        of = make()
        drawn = rng.random(len(of.traffic))
        times, entities = failures(of, n_requests, rng)
        step = np.searchsorted(step_times(of, drawn, steps, at_least), times, side="right")
        _, first = np.unique(entities + len(drawn) * step * per_step, return_index=True)
        canary = (drawn[entities] < np.array(steps)[step])[first]
        np.add.at(counts, (canary.astype(int), step[first], times[first] * looks // n_requests, run), 1)
    return [
        Look(0, 0, counts[1, step, number], counts[0, step, number], share)
        for number in range(looks)
        for step, share in enumerate(steps)
        if counts[:, step, number].any()
    ]


def at_risk(
    make: Callable[[], Entities], runs: int, n_requests: int, per_look: int, rng: Rng, share: float
) -> list[Look]:
    """The same with the realised share of the entities that are active in a look and had no event yet."""
    looks = n_requests // per_look
    counts = np.zeros((4, looks, runs), dtype=np.int32)
    for run in range(runs):
        of = make()
        n_entities = len(of.traffic)
        canary = rng.random(n_entities) < share
        entities = np.searchsorted(np.cumsum(of.traffic), rng.random(n_requests), side="right").clip(0, n_entities - 1)
        failed = np.flatnonzero(rng.random(n_requests) < of.fails[entities])
        event = np.full(n_entities, n_requests)
        units, first = np.unique(entities[failed], return_index=True)
        event[units] = failed[first]
        active = np.unique((np.arange(n_requests) // per_look) * n_entities + entities)
        number, unit = active // n_entities, active % n_entities
        risked = event[unit] // per_look >= number
        number, unit = number[risked], unit[risked]
        fails = event[unit] // per_look == number
        for row, told in enumerate((canary[unit], ~canary[unit], canary[unit] & fails, ~canary[unit] & fails)):
            counts[row, :, run] = np.bincount(number[told], minlength=looks)
    return [Look(*counts[:, number], None) for number in range(looks)]


def worsening(
    runs: int, entities: int, each: int, p_b: float, ratio: float, share: float, spread: float, looks: int, rng: Rng
) -> list[Look]:
    """Sticky units of which the canary's fail `ratio` times as often at each request, some more than others.

    `each`: requests per entity; `spread`: the variance of entities' own rates around a mean of 1 (gamma; 0: none).
    """
    span = float(entities * each)
    counts = np.zeros((5, looks, runs), dtype=np.int32)
    for run in range(runs):
        canary = rng.random(entities) < share
        own = rng.gamma(1 / spread, spread, entities) if spread else np.ones(entities)
        rate = np.minimum(p_b * own * np.where(canary, ratio, 1.0), 1.0)
        nth = rng.geometric(np.maximum(rate, 1e-12))  # which of its requests is the first to fail
        seen = rng.exponential(span / each, entities)
        failed = np.where(nth == 1, seen, seen + rng.gamma(np.maximum(nth - 1, 1), span / each))
        told = failed < span
        number = np.minimum(failed / span * looks, looks - 1).astype(int)[told]
        late, arm = (nth > 1)[told], canary[told]
        sight = np.minimum(seen / span * looks, looks - 1).astype(int)[canary & (seen < span)]
        rows = (number[arm], number[~arm], number[arm & late], number[~arm & late])
        for row, numbers in enumerate((sight, *rows)):
            counts[row, :, run] = np.bincount(numbers, minlength=looks)
    return [Look(n, 0, k_c, k_b, share, l_c, l_b) for n, k_c, k_b, l_c, l_b in counts.transpose(1, 0, 2)]
