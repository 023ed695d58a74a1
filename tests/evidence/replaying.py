"""Shadows simulated by the thousand: champion and challenger on the same requests, outcomes coming when they like.

Requests are of a few kinds, so a difference of losses has a few values, and a batch is a count of each.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from simulating import Floats, Ints, Rng

from scoreline.evidence.likelihoods import log_mean
from scoreline.evidence.paired import BET_WEIGHTS, GridBet

BETTER, SAFE, WORSE = range(3)
RATES = np.array([0.05, 0.1, 0.2, 0.4])  # of the outcome, by kind of request


@dataclass(frozen=True)
class Shadow:
    """What a pair of models does: the values of d (Brier) and their probabilities, kinds by outcomes (no, yes)."""

    d: Floats
    probabilities: Floats

    @property
    def mean(self) -> float:
        return float(self.d @ self.probabilities)

    @property
    def variance(self) -> float:
        return float(self.d**2 @ self.probabilities) - self.mean**2


def shadow(champion: Floats, challenger: Floats, rates: Floats = RATES) -> Shadow:
    """Models by their scores of each kind of request; a model may have several of a kind (rows), all as often."""
    champion, challenger = np.atleast_2d(champion), np.atleast_2d(challenger)
    outcomes = np.array([0.0, 1.0])[:, None, None]
    d = (champion - outcomes) ** 2 - (challenger - outcomes) ** 2
    probabilities = np.stack([1 - rates, rates])[:, None, :] / d[0].size * np.ones_like(d)
    return Shadow(d.ravel(), probabilities.ravel())


def equal_models(off: float) -> Shadow:
    """Both are wrong by `off` on each request, up or down, independently: as good as one another, and different."""
    signs = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]])[:, :, None] * off
    return shadow(RATES + signs[:, 0], RATES + signs[:, 1])


def overpredicting(by: float) -> Shadow:
    """A champion that is right, and a challenger that says `by` too much: worse by the square of that on average."""
    return shadow(RATES, RATES + by)


def batches(rng: Rng, runs: int, looks: int, per_look: int, of: Shadow) -> Ints:
    """How many differences of each value each look brings, in the order of the requests: (looks, runs, n_values)."""
    return rng.multinomial(per_look, of.probabilities, (looks, runs))


def as_they_arrive(counts: Ints, delays: Ints) -> Ints:
    """The same when each outcome is taken at once: a value's outcomes come so many looks after their requests."""
    arrived = np.zeros_like(counts)
    for value, delay in enumerate(delays):
        arrived[delay:, :, value] = counts[: len(counts) - delay, :, value]
    return arrived


def behind_watermark(counts: Ints, latest: int) -> Ints:
    """The same when each outcome waits until the latest there can be is in: requests stay in their order."""
    return as_they_arrive(counts, np.full(counts.shape[2], latest))


def favourable_first(of: Shadow, looks: int) -> Ints:
    """The delays an adversary would choose: what speaks for the challenger at once, all else at the last moment."""
    return np.where(of.d > 0, 0, looks)


def claims(counts: Ints, of: Shadow, delta: float, claim: int, alpha: float) -> Floats:
    """The number of the look at which each run makes the claim; inf: never."""
    gains = np.stack([GridBet(1.0, delta).add(value).sums[claim] for value in of.d])
    found = np.full(counts.shape[1], np.inf)
    for number, log_e in enumerate(_log_es(counts, gains)):
        found[np.isinf(found) & (log_e >= np.log(1 / alpha))] = number
    return found


def _log_es(counts: Ints, gains: Floats) -> Iterator[Floats]:
    sums = np.zeros((counts.shape[1], gains.shape[1]))
    for batch in counts:
        sums += batch @ gains
        yield log_mean(sums, BET_WEIGHTS)
