"""GridBet: paired losses of champion and challenger on the same decisions, as e-processes over bounded differences.

d = loss of the champion - loss of the challenger, |d| <= bound. Against "the mean of d is at most m", for 24 fixed bets

    S_j = sum ln(1 + lambda_j (d - m)),    E = sum of v_j exp(S_j).

The bets are fixed on purpose: S adds up in any order, and E stays an e-process for the weak null, the running mean of
d (Choe & Ramdas, "Comparing Sequential Forecasters", Operations Research 2024), so a challenger that is better on some
days only is handled. Differences come in the order of the requests, behind the watermark after which outcomes are
final: in the order of the outcomes' arrival, early positives would be evidence.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Self

import numpy as np
from numpy.typing import ArrayLike

from scoreline.core.link import Floats
from scoreline.evidence.boundaries import gamma_exponential_bound
from scoreline.evidence.likelihoods import e_value, log_mean

N_BETS: Final = 24
LARGEST_BET: Final = 0.95
BETS: Final[Floats] = np.geomspace(0.005, LARGEST_BET, N_BETS)
# Larger bets weigh more: like models differ little, and then a large bet decides sooner. By simulation.
BET_WEIGHTS: Final[Floats] = np.sqrt(BETS)
_V_OPT: Final = 100.0  # the interval is narrowest about there
_CHUNK: Final = 8192
_ROUNDING: Final = 1e-9


def _nothing() -> Floats:
    return np.zeros((3, N_BETS))


@dataclass(frozen=True, slots=True, eq=False)
class GridBet:
    """The evidence of one challenger so far; `a + b` merges, in any order. A new one knows nothing: every e-value is 1.

    `bound`: the largest |d| there can be (Brier: 1; log loss of scores clipped to [eps, 1 - eps]: ln((1 - eps) / eps)).
    `delta`: how much worse on average still counts as safe, in units of the loss. `sums`: S of BETTER, SAFE, WORSE.
    """

    bound: float
    delta: float
    sums: Floats = field(default_factory=_nothing)
    n: int = 0
    total: float = 0.0  # sum of d
    squares: float = 0.0  # sum of d^2
    variation: float = 0.0  # sum of (d - mean of those before)^2: the interval's clock, no claim's

    def add(self, d: ArrayLike) -> Self:
        """With differences added, in the order of the requests: shape (n_pairs,)."""
        given = np.atleast_1d(np.asarray(d, dtype=np.float64))
        if not (np.abs(given) <= self.bound * (1 + _ROUNDING)).all():
            raise ValueError(f"a difference of losses is beyond the bound of {self.bound}")
        before = self.total + np.cumsum(given) - given
        centres = before / np.maximum(self.n + np.arange(len(given)), 1)
        return type(self)(
            self.bound,
            self.delta,
            self.sums + sum((self._gained(piece) for piece in _pieces(given)), np.zeros_like(self.sums)),
            self.n + len(given),
            self.total + float(given.sum()),
            self.squares + float(given @ given),
            self.variation + float(np.sum((given - centres) ** 2)),
        )

    def _gained(self, d: Floats) -> Floats:
        better = np.log1p(np.outer(BETS / self.bound, d)).sum(axis=1)
        safe = np.log1p(np.outer(BETS / (self.bound + self.delta), d + self.delta)).sum(axis=1)
        worse = np.log1p(np.outer(BETS / self.bound, -d)).sum(axis=1)
        return np.stack([better, safe, worse])

    def __add__(self, other: Self) -> Self:
        if (self.bound, self.delta) != (other.bound, other.delta):
            raise ValueError("evidence for different claims cannot be merged")
        return type(self)(
            self.bound,
            self.delta,
            self.sums + other.sums,
            self.n + other.n,
            self.total + other.total,
            self.squares + other.squares,
            self.variation + other.variation,
        )

    def better_e(self) -> float:
        """BETTER at 1/alpha; against "the challenger's mean loss is not lower"."""
        return self._e(0)

    def safe_e(self) -> float:
        """SAFE at 1/alpha; against "the challenger's mean loss is higher by delta or more"."""
        return self._e(1)

    def worse_e(self) -> float:
        """WORSE at 1/alpha; against "the challenger's mean loss is not higher"."""
        return self._e(2)

    def interval(self, alpha: float) -> tuple[float, float]:
        """Of the mean of d: holds the running mean at all times with probability >= 1 - alpha. Empirical Bernstein."""
        if self.n == 0:
            return -self.bound, self.bound
        mean, clock = self.total / self.n, max(self.variation, 1.0)
        radius = gamma_exponential_bound(clock, alpha / 2, v_opt=_V_OPT, c=2 * self.bound) / self.n
        return max(mean - radius, -self.bound), min(mean + radius, self.bound)

    def _e(self, claim: int) -> float:
        return e_value(log_mean(self.sums[claim], BET_WEIGHTS))


def _pieces(d: Floats) -> Iterator[Floats]:
    return (d[at : at + _CHUNK] for at in range(0, len(d), _CHUNK))
