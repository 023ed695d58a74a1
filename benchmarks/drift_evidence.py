"""Drift at full size: how soon a change alarms, and how often nothing does. `make evidence` calls it.

By the very bets, tolerances and weights that watch real traffic, on scores alone; at one false alarm a year and a tick
every ten seconds. EVIDENCE_RUNS (10,000) shortens all of it.
"""

import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "drift"))  # the simulations of the tests
import numpy as np
import simulated as sim
from report import write
from rollout_evidence import RUNS, plain
from somereference import DEFAULT, NO_TOLERANCE, manifest_of, reference_of

from scoreline.core.schema import Field
from scoreline.drift.fold import Fold
from scoreline.drift.folding import counted
from scoreline.drift.rules import Rules
from scoreline.evidence.detector import YEAR_S

RULES: Final = Rules(DEFAULT)
YEARS: Final = 10
SHIPPED: Final = 2500  # rows of 20 fields in a piece of 1 MiB
Figures = Iterator[dict[str, Any]]


def main() -> int:
    figures: list[dict[str, Any]] = []
    for part in (delays, small_references, years, folding):
        for found in part():
            figures.append(found)
            print(f"{found['figure']:<100} {found['measured']:>10.4g} {found['target']}", flush=True)
    print(f"written to {write(figures, ['drift', 'evidence'], f'make evidence (EVIDENCE_RUNS={RUNS})')}")
    return 0 if all(found["held"] for found in figures) else 1


def delays() -> Figures:
    wanted = (
        (0.5, DEFAULT, "the default tolerance", 1, 20.0),
        (0.5, DEFAULT, "the default tolerance", 20, 20.0),
        (0.2, DEFAULT, "the default tolerance", 5, None),
        (0.2, NO_TOLERANCE, "no tolerance but standard errors", 5, None),
        (0.12, NO_TOLERANCE, "no tolerance but standard errors", 5, 2000.0),
    )
    for number, (to, tolerance, words, per_tick, target) in enumerate(wanted):
        rng = np.random.default_rng([21, number])
        reference = sim.reference_like(rng, 100_000, 0.1, tolerance)
        runs = max(RUNS // 50, 5)
        needed = [sim.requests_to_alarm(rng, reference, RULES.log_alarm_at, to, per_tick, 500) for _ in range(runs)]
        median = float(np.median(needed))
        name = f"requests to alarm, median of {runs}: mean score 10 -> {100 * to:g} %, {per_tick} a tick, {words}"
        held = target is None or median <= target
        yield plain(name, median, f"<= {target:g}" if target else "(measured)", held)


def small_references() -> Figures:
    """100,000 requests in ticks of ten, each stream with a reference of its own."""
    runs = max(RUNS // 50, 5)
    for words, tolerance, as_if_of, target in (
        ("with the default tolerance", DEFAULT, 0, 0.5),
        ("taken for the truth", NO_TOLERANCE, 10**12, None),
    ):
        rng, found = np.random.default_rng(22), 0
        for _ in range(runs):
            reference = sim.reference_like(rng, 2000, 0.1, tolerance, as_if_of)
            found += sim.false_alarms(rng, reference, RULES.log_alarm_at, 100_000, 10, 1)
        share = 100 * found / runs
        name = f"% of {runs} streams of 100,000 requests with a false alarm, a reference of 2,000 rows {words}"
        yield plain(name, share, f"<= {target:g}" if target else "(measured)", target is None or share <= target)


def years() -> Figures:
    """Logits of scores go up and down by 0.1 each day, and requests from 1 to 9 a tick."""
    ticks = int(YEAR_S / RULES.tick_s * min(RUNS / 10_000, 1.0))
    rng = np.random.default_rng(23)
    reference = sim.reference_like(rng, 20_000, 0.1, DEFAULT)
    alarms = sim.alarms_in_years(rng, reference, RULES.log_alarm_at, ticks, YEARS, 0.1)
    span = YEARS * ticks * RULES.tick_s / YEAR_S
    name = f"false alarms in {span:.3g} simulated years of healthy traffic with daily cycles, at 1 a year"
    yield plain(name, alarms, f"<= {math.ceil(span)}", alarms <= math.ceil(span))
    low = math.log(2000)
    few = min(ticks, 20 * sim.DAY_TICKS)
    narrow = sim.reference_like(rng, 10**6, 0.1, NO_TOLERANCE)
    alarms = sim.alarms_in_years(rng, narrow, low, few, YEARS, 0.0)
    name = f"the same at one in 2,000 ticks, without tolerance, {YEARS * few:,} ticks"
    yield plain(name, alarms, f"<= {YEARS * few // 2000}", alarms <= YEARS * few // 2000)


def folding() -> Figures:
    rng = np.random.default_rng(24)
    fields = [Field(f"f{at}", "category", categories=tuple("abcd")) for at in range(4)]
    fields += [Field(f"f{at}", "number") for at in range(4, 20)]
    values, scores = rng.random((SHIPPED, 20)), rng.beta(1, 9, (SHIPPED, 1))
    values[:, :4] = rng.integers(0, 4, (SHIPPED, 4))
    fold = Fold(reference_of(values, scores, manifest=manifest_of(fields)))
    rows = [
        (b"", 0, b"", "", "", "", values[at].tobytes(), b"", scores[at].tobytes(), 0, b"\1\0" * (at % 3 == 0), b"", 0)
        for at in range(SHIPPED)
    ]
    times_us = []
    for _ in range(50):
        start_ns = time.perf_counter_ns()
        counted(fold, rows)
        times_us.append((time.perf_counter_ns() - start_ns) / 1e3 / SHIPPED)
    median = float(np.median(times_us))
    yield plain(f"us per decision of 20 fields to fold a piece of {SHIPPED:,}", median, "<= 2", median <= 2)


if __name__ == "__main__":
    sys.exit(main())
