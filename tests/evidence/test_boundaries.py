"""The boundaries, held against confseq's own unit tests and against Table 4a of Choe & Ramdas."""

import csv
import math

import numpy as np
import pytest
from scipy.special import gammainc

from scoreline.evidence.boundaries import (
    gamma_exponential_bound,
    gamma_exponential_log_e,
    log_gamma_p,
    normal_rho,
    one_sided_normal_bound,
    one_sided_normal_log_e,
    two_sided_normal_bound,
    two_sided_normal_log_e,
)
from scoreline.evidence.paired import GridBet
from shared_data import shared_file

GAMES = "mlb_2010_2019.csv"
# name of p, name of q, interval of the mean difference of Brier scores at 5 %, e-value against "p is as good as q"
TABLE_4A = (
    ("fivethirtyeight", "vegas", (-0.00265, -0.00061), 2979.04),
    ("constant", "laplace", (-0.00295, 0.00044), 6.37),
    ("constant", "k29", (0.00005, 0.00464), 48.88),
)


def test_the_constants_of_confseq() -> None:
    """v_opt = 100, alpha = 0.05, sum 10 at clock 100, to the digits printed there."""
    two, one = normal_rho(100, 0.05), normal_rho(100, 0.1)
    assert two == pytest.approx(12.60056, abs=5e-6)
    assert two_sided_normal_log_e(10, 100, two) == pytest.approx(-0.6510052, abs=5e-8)
    assert two_sided_normal_bound(100, 0.05, v_opt=100) == pytest.approx(30.35209, abs=5e-6)
    assert one_sided_normal_log_e(10, 100, one) == pytest.approx(-0.06502391, abs=5e-9)
    assert one_sided_normal_bound(100, 0.05, v_opt=100) == pytest.approx(27.66071, abs=5e-6)
    assert gamma_exponential_log_e(10, 100, one, c=2) == pytest.approx(-0.2490165, abs=5e-8)
    assert gamma_exponential_bound(100, 0.05, v_opt=100, c=2) == pytest.approx(33.02017, abs=5e-6)


@pytest.mark.parametrize(("p", "q", "interval", "e"), TABLE_4A)
def test_table_4a_of_choe_and_ramdas(p: str, q: str, interval: tuple[float, float], e: float) -> None:
    """25,165 games, to the digits printed there; the paper's differences are of scores, ours of losses."""
    found = shared_file(GAMES)
    if found is None:
        pytest.skip(f"{GAMES} is in none of the folders of CONTRIBUTING.md")
    with found.open() as file:
        games = list(csv.DictReader(file))
    assert len(games) == 25_165
    outcome, scores_p, scores_q = (np.array([float(game[name]) for game in games]) for name in ("y", p, q))
    bet = GridBet(bound=1.0, delta=0.001)
    for piece in np.array_split((scores_q - outcome) ** 2 - (scores_p - outcome) ** 2, 7):
        bet = bet.add(piece)
    assert np.round(bet.interval(0.05), 5).tolist() == list(interval)
    rho = normal_rho(100, 0.05)
    both = [math.exp(gamma_exponential_log_e(total, bet.variation, rho, c=2)) for total in (bet.total, -bet.total)]
    assert round(max(both), 2) == e


def test_the_incomplete_gamma_function_is_scipys() -> None:
    for a in (0.05, 0.5, 1.0, 3.15, 40.0, 900.0, 25_000.0):
        for x in a * np.array([0.2, 0.7, 0.95, 1.0, 1.05, 1.5, 4.0]):
            known = gammainc(a, x)
            if known > 1e-300:
                assert log_gamma_p(a, float(x)) == pytest.approx(math.log(known), rel=1e-9, abs=1e-11)


def test_sums_below_what_the_mixture_reaches_get_a_bound_and_bounds_rise() -> None:
    rho = normal_rho(100, 0.1)
    sums = [-1000.0, -60.0, -50.0, 0.0, 30.0, 60.0]
    found = [gamma_exponential_log_e(s, 100, rho, c=2) for s in sums]
    assert found == sorted(found)
    assert found[0] < 0
    bounds = [gamma_exponential_bound(v, 0.05, v_opt=100, c=2) for v in (1.0, 10.0, 100.0, 10_000.0)]
    assert bounds == sorted(bounds)
    assert gamma_exponential_bound(100, 1e-6, v_opt=100, c=2) > bounds[2]
