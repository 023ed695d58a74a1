"""How much traffic a verdict will take, to be shown before a rollout starts. Means, by Wald's bound and what bets cost.

Units are what is counted: entities where they are told, else requests. Rates are events per unit. None: never, as
things stand.
"""

import math
from typing import Final

from scoreline.evidence.alone import MOST
from scoreline.evidence.likelihoods import log_e_above, log_e_rare, log_likelihoods
from scoreline.evidence.paired import LARGEST_BET

# How many times Wald's bound the mean delay is, as `make evidence` measures it: the price of not
# knowing the ratio, or the difference, beforehand.
RATIO_PRICE: Final = 1.25
PAIRED_PRICE: Final = 1.3
_MOST: Final = 1 << 40
_MOST_EVENTS: Final = 1000


def canary_units_to_rollback(p_b: float, p_c: float, share: float, alpha: float, r0: float = 1.0) -> float | None:
    """Until a canary with rate p_c against p_b is rolled back; None where its ratio is not above r0.

    Not before so many events of the canary as are needed where the baseline has none: two at a share of 1 %.
    """
    if not 0 < share < 1 or p_c <= r0 * p_b:
        return None
    least = next((k for k in range(1, _MOST_EVENTS) if _after(k, share, r0) >= math.log(1 / alpha)), None)
    if least is None:
        return None
    return max(RATIO_PRICE * math.log(1 / alpha) * share / _growth(p_b, p_c, share, r0), least / p_c)


def canary_units_to_safe(p: float, share: float, alpha: float, r1: float, p_tol: float) -> float | None:
    """Until a canary as good as the baseline may advance: by its ratio or by its rate, whichever comes sooner."""
    found = [float(clean_units_to_safe(p_tol, alpha))] if p == 0 else []
    wanted = math.log(2 / alpha)  # each of the two is one half of the evidence
    if p > 0 and 0 < share < 1 and r1 > 1:
        found.append(RATIO_PRICE * wanted * share / _growth(p, p, share, r1))
    if 0 < p < p_tol:
        found.append(RATIO_PRICE * wanted / _divergence(p, p_tol))
    return min(found, default=None)


def alone_units_to_safe(p: float, alpha: float, r1: float, p_tol: float) -> float | None:
    """Until a canary that answers everything, and is as good as the champion, is safe by its rate of this step."""
    if p == 0:
        return float(clean_units_to_safe(p_tol, alpha))
    limit = min(max(p_tol, r1 * p), MOST)
    return RATIO_PRICE * math.log(2 / alpha) / _divergence(p, limit) if p < limit else None


def clean_units_to_safe(p_tol: float, alpha: float) -> int:
    """How many units without an event are enough to advance: exact."""
    low, high = 0, 1
    while log_e_rare(high, 0, p_tol) < math.log(2 / alpha) and high < _MOST:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if log_e_rare(middle, 0, p_tol) < math.log(2 / alpha):
            low = middle
        else:
            high = middle
    return high


def outcomes_to_safe(variance: float, delta: float, alpha: float, bound: float = 1.0) -> float | None:
    """Until a challenger as good as the champion is SAFE; `variance`: of the paired differences of losses.

    2 ln(1/alpha) variance / delta^2 where the variance is above bound * delta; below, the largest bet sets the pace.
    """
    if delta <= 0:
        return None
    spread = variance + delta**2
    bet = min(delta / spread, LARGEST_BET / (bound + delta))
    return PAIRED_PRICE * math.log(1 / alpha) / (bet * delta - bet**2 * spread / 2)


def duration_s(canary_units: float | None, units_per_s: float, share: float = 1.0) -> float | None:
    """How long it takes until the canary has seen so many; `units_per_s`: of both arms together."""
    rate = units_per_s * share
    return canary_units / rate if canary_units is not None and rate > 0 else None


def _after(events: int, share: float, r0: float) -> float:
    """ln E after events of the canary alone."""
    return float(log_e_above(log_likelihoods(events, events, share), r0))


def _growth(p_b: float, p_c: float, share: float, limit: float) -> float:
    """Of ln E, per unit of both arms, where `limit` is the ratio that is tested and the bet is the true ratio."""
    mean = share * p_c + (1 - share) * p_b
    truth, tested = share * p_c / mean, share * limit / (1 + share * (limit - 1))
    return mean * _divergence(truth, tested)


def _divergence(p: float, q: float) -> float:
    """Kullback-Leibler, of one event or none with probability p against q."""
    hit = p * math.log(p / q) if p > 0 else 0.0
    miss = (1 - p) * math.log((1 - p) / (1 - q)) if p < 1 else 0.0
    return hit + miss
