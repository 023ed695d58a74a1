"""The link functions: the same score alone and in a batch, within range, and quiet at the extremes."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from models import Array, library_margins, library_scores, same_bits, ulps
from scoreline.core.link import LINKS, Link, all_finite, exponential, identity, sigmoid, softmax, softmax64

FLOAT32_MAX = float(np.finfo(np.float32).max)
margins_alike = st.floats(-FLOAT32_MAX, FLOAT32_MAX, width=32) | st.floats(-110, 110, width=32)
columns = npst.arrays(np.float64, st.tuples(st.integers(1, 70), st.just(1)), elements=margins_alike)
matrices = npst.arrays(np.float64, st.tuples(st.integers(1, 40), st.integers(2, 40)), elements=margins_alike)


@pytest.mark.parametrize("link", ["identity", "sigmoid", "exp"])
@given(columns)
def test_score_of_a_row_alone_is_its_score_in_a_batch(link: str, margins: Array) -> None:
    together = LINKS[link](margins)
    assert together.shape == margins.shape
    alone = [LINKS[link](margins[row : row + 1]) for row in range(len(margins))]
    assert same_bits(np.concatenate(alone), together)


@pytest.mark.parametrize("softmax", [softmax, softmax64])
@given(matrices)
def test_softmax_of_a_row_alone_is_its_softmax_in_a_batch(softmax: Link, margins: Array) -> None:
    together = softmax(margins)
    assert same_bits(np.concatenate([softmax(margins[row : row + 1]) for row in range(len(margins))]), together)
    assert same_bits(softmax(np.asfortranarray(margins)), together)


@given(columns)
def test_sigmoid_is_a_probability_and_rises(margins: Array) -> None:
    scores = sigmoid(np.sort(margins, axis=0))
    assert ((scores > 0) & (scores <= 1)).all()
    assert (np.diff(scores[:, 0]) >= 0).all()


@given(columns)
def test_exp_is_finite_and_not_negative(margins: Array) -> None:
    scores = exponential(margins)
    assert np.isfinite(scores).all()
    assert (scores >= 0).all()


@pytest.mark.parametrize("softmax", [softmax, softmax64])
@given(matrices)
def test_softmax_is_a_distribution_whose_order_is_that_of_the_margins(softmax: Link, margins: Array) -> None:
    scores = softmax(margins)
    assert ((scores >= 0) & (scores <= 1)).all()
    assert np.allclose(scores.sum(axis=1), 1, rtol=1e-12)
    assert (np.take_along_axis(scores, margins.argmax(axis=1)[:, None], 1)[:, 0] == scores.max(axis=1)).all()


def test_identity_is_the_margin_itself() -> None:
    margins = np.array([[-0.0], [1.5], [FLOAT32_MAX]])
    assert same_bits(identity(margins), margins)


def test_known_scores() -> None:
    assert sigmoid(np.array([[0.0]])).item() == 0.5
    assert sigmoid(np.array([[1.0]])).item() == pytest.approx(0.731058578630004879, rel=1e-15)
    assert exponential(np.array([[1.0]])).item() == pytest.approx(math.e, rel=1e-15)
    assert softmax(np.array([[0.0, math.log(3)]]))[0].tolist() == pytest.approx([0.25, 0.75], rel=1e-7)
    assert softmax64(np.array([[0.0, math.log(3)]]))[0].tolist() == pytest.approx([0.25, 0.75], rel=1e-15)


@pytest.mark.parametrize("link", sorted(LINKS))
@pytest.mark.parametrize("n_rows", [1, 3])
def test_extremes_warn_of_nothing(link: str, n_rows: int) -> None:
    extreme = np.array([[0.0, FLOAT32_MAX, -FLOAT32_MAX, 1e-45, -800.0, 800.0]] * n_rows)
    with warnings.catch_warnings(), np.errstate(all="warn", under="ignore"):
        warnings.simplefilter("error")
        scores = LINKS[link](extreme)
        alone = [LINKS[link](np.array([[margin]])) for margin in extreme[0]]
    assert np.isfinite(scores).all()
    assert all(np.isfinite(score).all() for score in alone)


def test_sigmoid_follows_xgboost_down_to_its_own_bound() -> None:
    """From one margin to the next: 4 float32 ulp at most, where XGBoost's scores stand still too."""
    import xgboost

    margins = np.concatenate([np.linspace(-95, 95, 40_000), np.linspace(-89, -88, 5_000)])[:, None]
    booster = xgboost.train(
        {"objective": "binary:logistic", "booster": "gblinear", "nthread": 1}, xgboost.DMatrix(margins, margins > 0), 1
    )
    slope = library_margins(booster, np.array([[0.0], [1.0]]))
    values = (margins - slope[0]) / (slope[1] - slope[0])
    seen = library_margins(booster, values)
    assert seen.min() < -94
    assert ulps(sigmoid(seen), library_scores(booster, values)) <= 4


@pytest.mark.parametrize("n_classes", [3, 12])
def test_softmax_follows_xgboost_where_it_is_sure(n_classes: int) -> None:
    """A model sure of its classes has margins far apart, where a rounded distance moves a score by many ulp."""
    import xgboost

    rng = np.random.default_rng(0)
    values = rng.normal(size=(2000, 4))
    labels = np.clip((values[:, 0] + values[:, 1] / 2) * n_classes / 4 + n_classes / 2, 0, n_classes - 1).astype(int)
    booster = xgboost.train(
        {"objective": "multi:softprob", "num_class": n_classes, "nthread": 1}, xgboost.DMatrix(values, labels), 60
    )
    values = rng.normal(size=(5000, 4)) * 2
    margins = library_margins(booster, values)
    assert np.ptp(margins, axis=1).max() > 10
    assert ulps(softmax(margins), library_scores(booster, values)) <= 4


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("shape", [(1, 1), (1, 3), (5, 1)])
def test_a_margin_that_is_not_finite_is_found(bad: float, shape: tuple[int, int]) -> None:
    margins = np.zeros(shape)
    assert all_finite(margins)
    margins[-1, -1] = bad
    assert not all_finite(margins)
