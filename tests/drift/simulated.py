"""Traffic simulated for years: scores only, tick by tick, by the very bets that watch real ones."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from somereference import manifest_of, profile_of

from scoreline.core.link import Floats
from scoreline.core.schema import Field
from scoreline.drift.counts import CUTS
from scoreline.drift.reference import Reference
from scoreline.evidence.detector import NOTHING, log_e_means, mean_bets, ticked
from scoreline.evidence.tolerance import Tolerance

DAY_TICKS = 8640
Rng = np.random.Generator
ONE_FIELD = (Field("x", "number", default=0.0),)  # its reference is empty: all weight is on the score


@cache
def middle_of(mean: float) -> float:
    """The middle of normal logits whose scores have this mean."""
    draws = np.random.default_rng(0).normal(size=400_000)
    low, high = -10.0, 10.0
    for _ in range(60):
        at = (low + high) / 2
        low, high = (at, high) if (1 / (1 + np.exp(-(draws + at)))).mean() < mean else (low, at)
    return low


def scores_of(rng: Rng, shape: Any, logit: Any) -> Floats:
    """Scores whose logits are normal around `logit`, as those of a model mostly are."""
    return 1 / (1 + np.exp(-(rng.normal(size=shape) + logit)))


def reference_like(rng: Rng, n_rows: int, mean: float, tolerance: Tolerance, as_if_of: int = 0) -> Reference:
    """`as_if_of`: how many rows it is taken to have, if not as many as it has."""
    scores, manifest = scores_of(rng, n_rows, middle_of(mean)), manifest_of(ONE_FIELD)
    profile = profile_of(manifest, np.full((n_rows, 1), np.nan), scores[:, None])
    return Reference.of(manifest, profile | {"rows": as_if_of or n_rows}, tolerance)


def log_e_by_tick(reference: Reference, scores: Floats, first: Any) -> Floats:
    """ln e of each bet in each tick, as folding its rows gives: scores (n_rows,), and where each tick begins."""
    at, counts = reference.layout.at, np.zeros((len(first), reference.layout.size))
    cuts = np.array(reference.scores[0].labels)
    above = np.searchsorted(cuts, scores, side="left")
    n_rows = np.diff(np.append(first, len(scores)))
    counts[:, at["rows"]] = n_rows[:, None]
    counts[:, at["missing"]] = n_rows[:, None]
    for place in range(min(len(cuts), CUTS)):
        counts[:, at["score_above"].start + place] = np.add.reduceat(above > place, first)
    slopes, limits = mean_bets(*(limit[0] for limit in reference.mean_limits))
    rows = np.log1p(slopes * (scores[:, None] - limits))
    counts[:, at["log_e"]] = np.add.reduceat(rows, first, axis=0)
    assert log_e_means(slopes, limits, scores[:1]).shape == slopes.shape
    return reference.log_e(counts)


@dataclass
class Detector:
    """The recursion of many streams at once; evidence begins anew after each alarm."""

    reference: Reference
    log_alarm_at: float
    streams: int

    def __post_init__(self) -> None:
        self.is_bet = self.reference.weights > 0
        self.weights = self.reference.weights[self.is_bet]
        self.logs = np.full((self.streams, int(self.is_bet.sum())), NOTHING)

    def tick(self, log_e: Floats) -> Any:
        """Which streams alarm at a tick: log_e (streams, bets)."""
        self.logs = ticked(self.logs, log_e[:, self.is_bet])
        top = self.logs.max(axis=1)
        total = np.log(np.exp(self.logs - top[:, None]) @ self.weights) + top
        alarms = total >= self.log_alarm_at
        self.logs[alarms] = NOTHING
        return alarms


def requests_to_alarm(
    rng: Rng,
    reference: Reference,
    log_alarm_at: float,
    to: float,
    per_tick: int,
    before: int = 2000,
    most: int = 20_000,
) -> float:
    """Requests from the change of the mean score, after so many ticks like the reference, to the alarm; inf: none."""
    detector = Detector(reference, log_alarm_at, 1)
    first = np.arange(0, per_tick * before, per_tick)
    for log_e in log_e_by_tick(reference, scores_of(rng, per_tick * before, middle_of(0.1)), first):
        detector.tick(log_e[None])
    first = np.arange(0, per_tick * (most // per_tick), per_tick)
    for number, log_e in enumerate(
        log_e_by_tick(reference, scores_of(rng, len(first) * per_tick, middle_of(to)), first)
    ):
        if detector.tick(log_e[None])[0]:
            return float((number + 1) * per_tick)
    return float("inf")


def false_alarms(
    rng: Rng, reference: Reference, log_alarm_at: float, requests: int, per_tick: int, streams: int
) -> int:
    """How many of so many streams of requests, all like the reference's world, alarm at least once."""
    detector, found = Detector(reference, log_alarm_at, streams), np.zeros(streams, dtype=np.bool_)
    block = 200
    for _ in range(requests // per_tick // block):
        rows = scores_of(rng, streams * block * per_tick, middle_of(0.1))
        log_e = log_e_by_tick(reference, rows, np.arange(0, len(rows), per_tick)).reshape(streams, block, -1)
        for tick in range(block):
            found |= detector.tick(log_e[:, tick])
    return int(found.sum())


def alarms_in_years(rng: Rng, reference: Reference, log_alarm_at: float, ticks: int, streams: int, wave: float) -> int:
    """Alarms of traffic whose logits go up and down by `wave` each day, and which is 1 to 9 requests a tick."""
    detector, alarms, block = Detector(reference, log_alarm_at, streams), 0, 2000
    for start in range(0, ticks, block):
        clock = 2 * np.pi * np.arange(start, start + block) / DAY_TICKS
        sizes = np.maximum(rng.poisson(5 - 4 * np.cos(clock), (streams, block)), 1).ravel()
        logits = np.repeat(np.tile(middle_of(0.1) + wave * np.sin(clock), streams), sizes)
        first = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        log_e = log_e_by_tick(reference, scores_of(rng, len(logits), logits), first).reshape(streams, block, -1)
        for tick in range(block):
            alarms += int(detector.tick(log_e[:, tick]).sum())
    return alarms
