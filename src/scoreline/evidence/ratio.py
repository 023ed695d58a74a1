"""RatioE: how often an event happens in the canary against the baseline, as an e-process over counts.

A unit that has an event is one of the canary's with probability w r / (1 + w (r - 1)), where r is the ratio of rates
and w the canary's share. So m events, k_c of them the canary's, give each r of a grid the log likelihood against r = 1

    L(r) = k_c ln r - m ln(1 + w (r - 1)),

which adds up over windows, hosts and steps of a ramp. A weighted mean of exp(L(r) - L(r0)) over r > r0 has mean <= 1 as
long as the ratio is <= r0: it reaches 1/alpha, ever, with probability <= alpha. Two kinds of units:

- **Sticky** (entities: they stay in their arm): each counts its first event of the rollout, once per class, and w is
  the share with which a hash that nothing else depends on drew its arm at that moment. Exact whatever units do: few,
  heavy, always failing, in bursts. The realised share of those active is not: a few heavy clients that never fail are
  in one arm or the other all along, and with them in one, others' failures look like the other arm's fault.
- **New in each window** (requests without an entity): w is the share drawn with, or, where it is not known, the
  realised n_c / (n_c + n_b). Given the exposures of a window k_c is hypergeometric, and E[r^k_c] <= (1 + w (r - 1))^m
  (Hoeffding 1963, theorem 4). A window must then hold many units of both arms to say much.

First events thin out, and sooner where the canary is worse: that hides a bad canary. So to advance, the events of
units that had not been seen before in the rollout must say the same for themselves.

Nearest published form: Lindon & Malek, "Anytime-valid inference for multinomial count data", NeurIPS 2022.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from scoreline.core.link import Floats
from scoreline.evidence.likelihoods import RATIOS, e_value, log_e_above, log_e_below, log_e_rare, log_likelihoods


def _nothing() -> Floats:
    return np.zeros(len(RATIOS))


@dataclass(frozen=True, slots=True, eq=False)
class RatioE:
    """The evidence of one event class so far; `a + b` merges, in any order. A new one's e-values are all 1.

    Counts are of units: seen (n) and with an event (k). `logs`: L of each of RATIOS; `logs_at_sight`: L of the events
    of units that had not been seen before.
    """

    logs: Floats = field(default_factory=_nothing)
    logs_at_sight: Floats = field(default_factory=_nothing)
    n_c: int = 0
    n_b: int = 0
    k_c: int = 0
    k_b: int = 0

    def add(
        self, n_c: ArrayLike, n_b: ArrayLike, k_c: ArrayLike, k_b: ArrayLike, *, share: ArrayLike | None = None
    ) -> Self:
        """With windows of units added that are in no other window (requests): whole numbers, or arrays (n_windows,).

        `share`: what the assignment drew with; None: the realised share of each window.
        """
        seen_c, seen_b, events_c, events_b = (np.atleast_1d(np.asarray(given)) for given in (n_c, n_b, k_c, k_b))
        w = seen_c / np.maximum(seen_c + seen_b, 1) if share is None else share
        gained = _summed(events_c, events_b, w)
        return self + type(self)(gained, gained, _count(seen_c), _count(seen_b), _count(events_c), _count(events_b))

    def add_sticky(
        self,
        n_c: ArrayLike,
        k_c: ArrayLike,
        k_b: ArrayLike,
        *,
        share: ArrayLike,
        late_c: ArrayLike,
        late_b: ArrayLike,
    ) -> Self:
        """With windows of units added that stay in their arm (entities): whole numbers, or arrays (n_windows,).

        `n_c`: units first seen in this window, by the canary. `k_c`, `k_b`: units with their first event in it;
        `late_c`, `late_b` of them were first seen before it. All of the whole rollout. `share`: drawn with by then.
        """
        events_c, events_b = np.atleast_1d(np.asarray(k_c)), np.atleast_1d(np.asarray(k_b))
        gained = _summed(events_c, events_b, share)
        at_sight = _summed(events_c - np.asarray(late_c), events_b - np.asarray(late_b), share)
        return self + type(self)(gained, at_sight, _count(n_c), 0, _count(events_c), _count(events_b))

    def __add__(self, other: Self) -> Self:
        return type(self)(
            self.logs + other.logs,
            self.logs_at_sight + other.logs_at_sight,
            self.n_c + other.n_c,
            self.n_b + other.n_b,
            self.k_c + other.k_c,
            self.k_b + other.k_b,
        )

    def rollback_e(self, r0: float = 1.0) -> float:
        """Against "the canary's rate is at most r0 times the baseline's": roll back at 1/alpha."""
        return e_value(log_e_above(self.logs, r0))

    def ratio_down_e(self, r1: float) -> float:
        """Against "the canary's rate is at least r1 times the baseline's"."""
        return e_value(min(log_e_below(self.logs, r1), log_e_below(self.logs_at_sight, r1)))

    def absolute_e(self, p_tol: float) -> float:
        """Against "at least p_tol of the canary's units have an event"; p_tol in (0, 1)."""
        return e_value(log_e_rare(self.n_c, self.k_c, p_tol))

    def safe_e(self, r1: float, p_tol: float) -> float:
        """Against "at least r1 times the baseline's rate, and at least p_tol": advance at 1/alpha."""
        return (self.ratio_down_e(r1) + self.absolute_e(p_tol)) / 2

    def outside_e(self, tolerance: float) -> float:
        """Against "the ratio lies in [1/tolerance, tolerance]": to roll back what may not move either way (scores)."""
        return (self.rollback_e(tolerance) + e_value(log_e_below(self.logs, 1 / tolerance))) / 2

    def inside_e(self, tolerance: float) -> float:
        """Against "the ratio is beyond 1/tolerance or tolerance": to advance what may not move either way."""
        up = min(log_e_above(self.logs, 1 / tolerance), log_e_above(self.logs_at_sight, 1 / tolerance))
        return min(self.ratio_down_e(tolerance), e_value(up))

    def interval(self, alpha: float) -> tuple[float, float]:
        """Of the ratio: holds the true one at all times with probability >= 1 - alpha. (0, inf): nothing is known."""
        limit = np.log(2 / alpha)
        low, high = 0.0, float("inf")
        for ratio in RATIOS.tolist():
            if log_e_above(self.logs, ratio) < limit:
                break
            low = ratio
        for ratio in reversed(RATIOS.tolist()):
            if log_e_below(self.logs, ratio) < limit:
                break
            high = ratio
        return low, high


@dataclass(frozen=True, slots=True)
class Combined:
    """The evidence of several classes as one: `e` to be held against 1/alpha, and the class that carries it."""

    e: float
    leading: str
    terms: Mapping[str, float]


def combined(es: Mapping[str, float], weights: Mapping[str, float] | None = None) -> Combined:
    """The largest weighted e-value: reaches 1/alpha falsely with probability <= alpha. Weights add to 1; None: equal.

    Not the sum: where units stay in their arm, an event of one class foretells the arm of the same unit's event in
    another, and then a sum of e-processes need not be one. The largest term needs no assumption (a union bound).
    """
    given = weights or dict.fromkeys(es, 1 / max(len(es), 1))
    terms = {name: given[name] * e for name, e in es.items()}
    leading = max(terms, key=terms.__getitem__, default="")
    return Combined(terms.get(leading, 1.0), leading, terms)


def _count(given: ArrayLike) -> int:
    return int(np.sum(given))


def _summed(k_c: np.ndarray, k_b: np.ndarray, share: ArrayLike) -> Floats:
    """L over windows; those with the same share are taken together."""
    m = k_c + k_b
    shares, place = np.unique(np.broadcast_to(np.asarray(share, dtype=np.float64), m.shape)[m > 0], return_inverse=True)
    canary = np.bincount(place, weights=k_c[m > 0], minlength=len(shares))
    both = np.bincount(place, weights=m[m > 0], minlength=len(shares))
    gained: Floats = log_likelihoods(canary, both, shares).sum(axis=0)
    return gained
