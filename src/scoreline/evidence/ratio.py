"""RatioE: how often an event happens in the canary against the baseline, as an e-process over counts.

A unit that has an event is one of the canary's with probability w r / (1 + w (r - 1)), where r is the ratio of rates
and w the canary's share. So m events, k_c of them the canary's, give each r of a grid the log likelihood, against r = 1,

    L(r) = k_c ln r - m ln(1 + w (r - 1)),

which adds up over windows, hosts and steps of a ramp. A weighted mean of exp(L(r) - L(r0)) over r > r0 has mean <= 1 as
long as the ratio is <= r0: it reaches 1/alpha, ever, with probability <= alpha. What w is depends on what is counted:

- **share given**, for sticky units (entities): each counts its first event of the rollout, and its arm was drawn with
  this share by a hash that nothing else depends on. Exact whatever units do: few, heavy, always failing, in bursts.
- **no share given**, for units that are new in each window (requests): the realised share n_c / (n_c + n_b). Given
  the exposures of a window k_c is hypergeometric, and E[r^k_c] <= (1 + w (r - 1))^m (Hoeffding 1963, theorem 4).
  Nothing need be known of the split, but a window must hold many units of both arms to say much. Units that stay in
  their arm over windows break it: those that never fail count in w again and again.

Nearest published form: Lindon & Malek, "Anytime-valid inference for multinomial count data", NeurIPS 2022.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Self

import numpy as np
from numpy.typing import ArrayLike

from scoreline.core.link import Floats

_ABOVE: Final = (
    1.05, 1.1, 1.15, 1.2, 1.25, 1.3, 1.4, 1.5, 1.6, 1.8, 2, 2.25, 2.5, 2.75, 3, 3.5,
    4, 5, 6, 7, 8, 10, 12, 15, 20, 25, 30, 40, 50, 64, 100,
)  # fmt: skip
# 63 ratios, about evenly spaced in their logarithm and round: limits people set are among them.
RATIOS: Final[Floats] = np.array([*(1 / ratio for ratio in reversed(_ABOVE)), 1.0, *_ABOVE])
_LOGS: Final[Floats] = np.log(RATIOS)
_WIDTHS: Final[Floats] = np.gradient(_LOGS)
# Rates an absolute claim bets on, as parts of the tolerated rate, and the weights of the bets.
_PARTS: Final[Floats] = np.array([0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8])
_PART_WEIGHTS: Final[Floats] = np.array([0.46, *[0.06] * 9])
_LARGEST_LOG: Final = 690.0  # e-values beyond e^690 are shown as that: they stay numbers, in JSON too


def _nothing() -> Floats:
    return np.zeros(len(RATIOS))


@dataclass(frozen=True, slots=True, eq=False)
class RatioE:
    """The evidence of one event class so far; `a + b` merges, in any order. A new one's e-values are all 1.

    Counts are of units: exposed (n), with an event (k), and x_c, the canary's units that could have had their first
    event when they were first seen. `log_likelihoods` has L(r) of each of RATIOS.
    """

    log_likelihoods: Floats = field(default_factory=_nothing)
    n_c: int = 0
    n_b: int = 0
    k_c: int = 0
    k_b: int = 0
    x_c: int = 0

    def add(
        self,
        n_c: ArrayLike,
        n_b: ArrayLike,
        k_c: ArrayLike,
        k_b: ArrayLike,
        *,
        share: ArrayLike | None = None,
        x_c: ArrayLike | None = None,
    ) -> Self:
        """With windows added: whole numbers or arrays of them, all of one shape (n_windows,).

        `share`: what the assignment drew with; None: the realised share of each window. `x_c`: None where every
        exposure is a unit of its own (requests). A window without events, or with one arm only, changes no ratio.
        """
        exposed_c, exposed_b, events_c, events_b = (
            np.atleast_1d(np.asarray(given, dtype=np.int64)) for given in (n_c, n_b, k_c, k_b)
        )
        exposed = np.maximum(exposed_c + exposed_b, 1)
        w = exposed_c / exposed if share is None else np.broadcast_to(share, events_c.shape)
        told = (events_c + events_b > 0) & (w > 0) & (w < 1)
        k, m, w = events_c[told], (events_c + events_b)[told], w[told]
        shares, place = np.unique(w, return_inverse=True)
        per_share = np.bincount(place, weights=m, minlength=len(shares))
        gained = k.sum() * _LOGS - per_share @ np.log1p(np.outer(shares, RATIOS - 1))
        return type(self)(
            self.log_likelihoods + gained,
            self.n_c + int(exposed_c.sum()),
            self.n_b + int(exposed_b.sum()),
            self.k_c + int(events_c.sum()),
            self.k_b + int(events_b.sum()),
            self.x_c + int(np.sum(exposed_c if x_c is None else x_c)),
        )

    def __add__(self, other: Self) -> Self:
        return type(self)(
            self.log_likelihoods + other.log_likelihoods,
            self.n_c + other.n_c,
            self.n_b + other.n_b,
            self.k_c + other.k_c,
            self.k_b + other.k_b,
            self.x_c + other.x_c,
        )

    def rollback_e(self, r0: float = 1.0) -> float:
        """Against "the canary's rate is at most r0 times the baseline's". An r0 beside RATIOS: as the next above."""
        return _e(self._above(int(np.searchsorted(RATIOS, r0, side="left"))))

    def ratio_down_e(self, r1: float) -> float:
        """Against "the canary's rate is at least r1 times the baseline's". An r1 beside RATIOS: as the next below."""
        return _e(self._below(int(np.searchsorted(RATIOS, r1, side="right")) - 1))

    def absolute_e(self, p_tol: float) -> float:
        """Against "at least p_tol of the canary's units have an event", told by x_c and k_c; p_tol in (0, 1)."""
        clean = max(self.x_c - self.k_c, 0)
        odds = np.log1p(-_PARTS * p_tol) - np.log1p(-p_tol)
        with np.errstate(divide="ignore"):
            hits = self.k_c * np.log(_PARTS) if self.k_c else np.zeros_like(_PARTS)
        return _e(_log_mean(hits + clean * odds, _PART_WEIGHTS))

    def safe_e(self, r1: float, p_tol: float) -> float:
        """Against "at least r1 times the baseline's rate, and at least p_tol": the canary may advance at 1/alpha."""
        return (self.ratio_down_e(r1) + self.absolute_e(p_tol)) / 2

    def outside_e(self, tolerance: float) -> float:
        """Against "the ratio lies in [1/tolerance, tolerance]": for what may not move either way (scores)."""
        return (self.rollback_e(tolerance) + self.ratio_down_e(1 / tolerance)) / 2

    def inside_e(self, tolerance: float) -> float:
        """Against "the ratio is beyond 1/tolerance or tolerance": what two-sided classes need to advance."""
        return min(self.ratio_down_e(tolerance), self.rollback_e(1 / tolerance))

    def interval(self, alpha: float) -> tuple[float, float]:
        """Of the ratio: it holds the true one at all times with probability >= 1 - alpha. (0, inf) is no knowledge."""
        limit = np.log(2 / alpha)
        low, high = 0.0, np.inf
        for at in range(len(RATIOS)):
            if self._above(at) < limit:
                break
            low = float(RATIOS[at])
        for at in reversed(range(len(RATIOS))):
            if self._below(at) < limit:
                break
            high = float(RATIOS[at])
        return low, high

    def _above(self, at: int) -> float:
        """Log of the mean of the likelihoods of ratios above RATIOS[at], over that of RATIOS[at]."""
        if at >= len(RATIOS) - 1:
            return -np.inf
        away = _LOGS[at + 1 :] - _LOGS[at]
        return _log_mean(self.log_likelihoods[at + 1 :] - self.log_likelihoods[at], _prior(away) * _WIDTHS[at + 1 :])

    def _below(self, at: int) -> float:
        if at <= 0:
            return -np.inf
        away = _LOGS[at] - _LOGS[:at]
        return _log_mean(self.log_likelihoods[:at] - self.log_likelihoods[at], _prior(away) * _WIDTHS[:at])


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


def _prior(away: Floats) -> Floats:
    """The density of bets over |ln(r / r0)|: most on ratios of 2 to 5, little on what takes for ever to be seen."""
    density: Floats = away * np.exp(-away)
    return density


def _log_mean(logs: Floats, weights: Floats) -> float:
    """ln of the weighted mean of exp(logs)."""
    top = logs.max()
    return float(top + np.log(weights @ np.exp(logs - top)) - np.log(weights.sum())) if np.isfinite(top) else -np.inf


def _e(log_e: float) -> float:
    return float(np.exp(min(log_e, _LARGEST_LOG)))
