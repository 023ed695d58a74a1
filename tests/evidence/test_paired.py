"""GridBet by its laws: sums in any order, sides swapped, small nulls counted out in full."""

import itertools
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreline.evidence.paired import GridBet

DELTA = 0.01
differences = st.lists(st.floats(-1, 1), max_size=30)


def bet(d: object = (), bound: float = 1.0, delta: float = DELTA) -> GridBet:
    return GridBet(bound, delta).add(d)  # type: ignore[arg-type]


def es(found: GridBet) -> list[float]:
    return [found.better_e(), found.safe_e(), found.worse_e()]


def test_nothing_seen_is_no_evidence() -> None:
    assert es(bet()) == pytest.approx([1.0] * 3, abs=1e-12)
    assert bet().interval(0.05) == (-1.0, 1.0)


@given(differences, st.randoms())
def test_evidence_does_not_depend_on_order_or_grouping(d: list[float], chance: random.Random) -> None:
    together = bet(d)
    chance.shuffle(d)
    at = chance.randint(0, len(d))
    apart = bet(d[:at]) + bet(d[at:])
    assert np.abs(np.log(es(together)) - np.log(es(apart))).max() <= 1e-9
    assert (together.n, apart.n) == (len(d), len(d))
    assert (together.total, together.squares) == pytest.approx((apart.total, apart.squares), abs=1e-9)


@given(differences, st.integers(0, 30))
def test_in_order_the_interval_does_not_depend_on_grouping(d: list[float], at: int) -> None:
    assert bet(d).interval(0.05) == pytest.approx(bet(d[:at]).add(d[at:]).interval(0.05), abs=1e-9)


@given(differences)
def test_sides_swapped_better_is_worse(d: list[float]) -> None:
    swapped = bet([-value for value in d])
    assert swapped.better_e() == pytest.approx(bet(d).worse_e())
    low, high = bet(d).interval(0.05)
    assert swapped.interval(0.05) == pytest.approx((-high, -low), abs=1e-9)


def test_64_workers_in_any_order_differ_by_less_than_1e_9() -> None:
    rng = np.random.default_rng(64)
    d = rng.uniform(-1, 1, (64, 1000)) ** 3
    whole = bet(d.ravel())
    for _ in range(20):
        merged = sum((bet(d[at]) for at in rng.permutation(64)), bet())
        assert np.abs(np.log(es(merged)) - np.log(es(whole))).max() <= 1e-9


@pytest.mark.parametrize("bound", [1.0, 6.91])
def test_small_nulls_counted_out_in_full(bound: float) -> None:
    """Two values with a mean on the edge of what each claim denies, five times in a row: the mean e-value is 1."""
    for low, high in itertools.product((-bound, -0.3), (0.2, bound)):
        for edge, sign, claim in ((0.0, 1, 0), (-DELTA, 1, 1), (0.0, -1, 2)):
            p = (edge - low) / (high - low)
            mean = 0.0
            for hits in itertools.product((0, 1), repeat=5):
                d = sign * np.where(hits, high, low)
                mean += float(np.prod(np.where(hits, p, 1 - p))) * es(bet(d, bound))[claim]
            assert mean == pytest.approx(1, abs=1e-9)


def test_a_challenger_better_on_later_days_only_is_no_worse_than_its_running_mean() -> None:
    """The weak null: days of -0.5 and then of 0.5, whose mean never exceeds 0; every look stays far from a claim."""
    d = np.tile(np.repeat([-0.5, 0.5], 50), 40)
    looked = bet()
    for piece in np.array_split(d, 80):
        looked = looked.add(piece)
        assert looked.better_e() <= 1


def test_claims_and_the_interval_of_clear_cases() -> None:
    rng = np.random.default_rng(7)
    noise = rng.choice([-0.1, 0.1], 20_000)
    better, worse, equal = bet(noise + 0.02), bet(noise - 0.02), bet(noise)
    assert better.better_e() > 100
    assert better.safe_e() > 100
    assert worse.worse_e() > 100
    assert worse.safe_e() < 1
    assert equal.safe_e() > 100
    assert max(equal.better_e(), equal.worse_e()) < 100
    for found, mean in ((better, 0.02), (worse, -0.02), (equal, 0.0)):
        low, high = found.interval(0.05)
        assert low < mean < high
        assert high - low < 0.02


def test_what_breaks_the_claim_is_refused() -> None:
    for d in ([1.01], [0.0, -1.01], [float("nan")]):
        with pytest.raises(ValueError, match="bound"):
            bet(d)
    with pytest.raises(ValueError, match="merged"):
        bet([0.1]) + bet([0.1], delta=0.02)
