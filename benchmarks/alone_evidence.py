"""The ramp through 100 %, where no champion is beside the canary, at full size. `make evidence` calls it.

Errors, at the parts of alpha that a real rollout gives them. EVIDENCE_RUNS (10,000) shortens; figures as in
`rollout_evidence`.
"""

import itertools
import sys
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "evidence"))  # the simulations of the tests
import lonely
import numpy as np
from report import write
from rollout_evidence import ALPHA, ALPHA_ADVANCE, PER_LOOK, R1, RUNS, Crossed, Figures, crossed, error_rate, plain, sim

from scoreline.evidence.alone import harm_limits, safe_limits
from scoreline.evidence.likelihoods import log_e_often, log_e_rare
from scoreline.rollout.policy import WEIGHTS

PARTS: Final = WEIGHTS["errors"] * ALPHA, WEIGHTS["errors_alone"] * ALPHA
P_TOL: Final = 0.01  # the default of rollout.p_tol
LOOKS: Final = 250  # of each step
BEFORE: Final = 50_000  # requests of the champion
DRIFTS: Final[dict[str, tuple[float, ...]]] = {
    "the same rate": (1.0, 1.0, 1.0, 1.0),
    "twice the rate of both arms at 100 %": (1.0, 1.0, 1.0, 2.0),
    "twice the rate in every other step": (2.0, 1.0, 2.0, 1.0),
    "half the rate at first": (0.5, 1.0, 1.0, 1.0),
}


def main() -> int:
    figures: list[dict[str, Any]] = []
    for part in (false_rollbacks, beyond, false_promotions, delays):
        for found in part():
            figures.append(found)
            bound = f"(<= {100 * found['upper']:.2f} %)" if "upper" in found else ""
            print(f"{found['figure']:<96} {found['measured']:>10.4g} {bound:<12} {found['target']}", flush=True)
    print(f"written to {write(figures, ['alone', 'evidence'], f'make evidence (EVIDENCE_RUNS={RUNS})')}")
    return 0 if all(found["held"] for found in figures) else 1


def whole(rate: float, drift: tuple[float, ...]) -> Crossed:
    def of(rng: sim.Rng, runs: int) -> sim.Floats:
        return lonely.whole_ramp(rng, runs, LOOKS, PER_LOOK, rate * np.array(drift), PARTS, R1, P_TOL)

    return of


def false_rollbacks() -> Figures:
    for at, ((what, drift), rate) in enumerate(itertools.product(DRIFTS.items(), (0.001, 0.01, 0.02))):
        name = f"false rollback over 1 -> 10 -> 50 -> 100 %, {100 * rate:g} %, {what}"
        yield error_rate(name, whole(rate, drift), ALPHA, RUNS, 14, at)


def beyond() -> Figures:
    """What is not promised: at 100 % nobody can tell a canary from its surroundings."""
    for times in (3.0, 4.0):
        name = f"rollback of a canary like the champion, {times:g} times the rate of both (1 %) at 100 %"
        yield error_rate(name, whole(0.01, (1.0, 1.0, 1.0, times)), None, max(RUNS // 10, 1), 15)


def false_promotions() -> Figures:
    for at, p_b in enumerate((0.001, 0.01, 0.02)):
        rate = max(R1 * p_b, P_TOL)

        def of(rng: sim.Rng, runs: int, p_b: float = p_b, rate: float = rate) -> sim.Floats:
            limits = safe_limits(BEFORE, rng.binomial(BEFORE, p_b, runs), R1, P_TOL, ALPHA_ADVANCE)
            return lonely.alone(
                rng, runs, 4 * LOOKS, PER_LOOK, rate, lambda n, k, of: log_e_rare(n, k, limits[of]), ALPHA_ADVANCE
            )

        name = f"false promotion from 100 % at {100 * rate:g} %, the champion having had {100 * p_b:g} %"
        yield error_rate(name, of, ALPHA_ADVANCE, RUNS, 16, at)


def delays() -> Figures:
    targets = {(0.0, 0.02): 3000.0, (0.0, 0.1): None, (0.0, 1.0): 10.0, (0.02, 0.08): None}
    for (p_b, p_c), target in targets.items():

        def of(rng: sim.Rng, runs: int, p_b: float = p_b, p_c: float = p_c) -> sim.Floats:
            limits = harm_limits(BEFORE, rng.binomial(BEFORE, p_b, runs), R1, P_TOL, PARTS[1])
            return lonely.alone(rng, runs, 20_000, 1, p_c, lambda n, k, of: log_e_often(n, k, limits[of]), PARTS[1]) + 1

        median = float(np.median(crossed(of, max(RUNS // 20, 1), 17)))
        name = f"canary requests to rollback at 100 %, median, {100 * p_b:g} -> {100 * p_c:g} %"
        yield plain(name, median, f"<= {target:g}" if target else "(measured)", target is None or median <= target)


if __name__ == "__main__":
    sys.exit(main())
