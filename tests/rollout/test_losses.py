"""Losses against plain formulas, within their bounds whatever is answered; and what has none says so."""

import math
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import plain_manifest
from scoreline.core.errors import RolloutRefused
from scoreline.core.manifest import Manifest
from scoreline.core.policy import ThresholdPolicy
from scoreline.evidence.paired import GridBet
from scoreline.rollout.losses import EPS, Loss, loss_of
from scoreline.rollout.policy import Policy

CLASSES = ("cat", "dog", "7")
COSTS = {("decline", "0"): 25.0, ("approve", "1"): 100.0}
FLAT: Mapping[tuple[str, str], float] = {}
DECIDES = ThresholdPolicy(("approve", "decline"), (0.5,))
REFERS = ThresholdPolicy(("approve", "refer", "decline"), (0.3, 0.7))


def manifest(**changed: Any) -> Manifest:
    return plain_manifest(**changed)


def of_classes(*classes: str, **changed: Any) -> Manifest:
    return plain_manifest(link="softmax", outputs=len(classes), classes=classes, **changed)


BINARY = loss_of("brier", FLAT, manifest())
LOG = loss_of("log", FLAT, manifest())
MULTI = loss_of("brier", FLAT, of_classes(*CLASSES))
MULTI_LOG = loss_of("log", FLAT, of_classes(*CLASSES))
COST = loss_of("cost", COSTS, manifest(policy=DECIDES))
ALL = {"brier": BINARY, "log": LOG, "brier of classes": MULTI, "log of classes": MULTI_LOG, "cost": COST}


@pytest.mark.parametrize(
    ("loss", "scores", "outcome", "label", "wanted"),
    [
        (BINARY, [0.8], None, 1, 0.2**2),
        (BINARY, [0.8], None, 0, 0.8**2),
        (LOG, [0.8], None, 1, -math.log(0.8)),
        (LOG, [0.8], None, 0, -math.log(0.2)),
        (LOG, [0.0], None, 1, -math.log(EPS)),
        (LOG, [0.0], None, 0, -math.log(1 - EPS)),
        (MULTI, [0.5, 0.3, 0.2], None, 1, (0.5**2 + 0.7**2 + 0.2**2) / 2),
        (MULTI, [0.0, 0.0, 1.0], None, 1, 1.0),
        (MULTI_LOG, [0.5, 0.3, 0.2], None, 2, -math.log(0.2)),
        (COST, [0.9], "approve", 1, 100.0),
        (COST, [0.9], "decline", 0, 25.0),
        (COST, [0.9], "decline", 1, 0.0),
        (BINARY, [3.0], None, 1, 0.0),
        (BINARY, [-3.0], None, 1, 1.0),
        (MULTI, [9.0, 9.0, 9.0], None, 1, 1.0),
    ],
)
def test_losses_are_what_their_formulas_say(
    loss: Loss, scores: list[float], outcome: str | None, label: int, wanted: float
) -> None:
    assert loss.of(scores, outcome, label) == pytest.approx(wanted, rel=1e-12)


def test_two_classes_lose_as_one_score_does() -> None:
    two = loss_of("brier", FLAT, of_classes("no", "yes"))
    for chance in (0.0, 0.3, 1.0):
        for label in (0, 1):
            assert two.of([1 - chance, chance], None, label) == pytest.approx(BINARY.of([chance], None, label))


def test_bounds() -> None:
    assert (BINARY.bound, MULTI.bound, COST.bound) == (1.0, 1.0, 100.0)
    assert LOG.bound == MULTI_LOG.bound == pytest.approx(6.9068, abs=1e-4)


any_score = st.floats(-10, 10) | st.floats(0, 1) | st.sampled_from([0.0, 1.0, -0.0, 1e300])


@given(st.sampled_from(sorted(ALL)), st.lists(any_score, min_size=6, max_size=6), st.integers(0, 2), st.data())
def test_no_difference_is_beyond_the_bound(kind: str, scores: list[float], label: int, data: st.DataObject) -> None:
    """Else a challenger that answers nonsense would stop the comparison."""
    loss, words = ALL[kind], st.sampled_from(["approve", "decline"])
    label %= len(loss.labels)
    mine, theirs = (loss.of(half, data.draw(words), label) for half in (scores[:3], scores[3:]))
    assert abs(mine - theirs) <= loss.bound * (1 + 1e-9)
    GridBet(loss.bound, 0.01).add([mine - theirs])


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (1.0, 1),
        (0.0, 0),
        ("1", 1),
        ("true", 1),
        ("False", 0),
        ("0.0", 0),
        (2.0, None),
        (0.5, None),
        (math.inf, None),
        (math.nan, None),
        ("cat", None),
        ("", None),
    ],
)
def test_what_happened_to_a_score_is_0_or_1(value: float | str, wanted: int | None) -> None:
    assert BINARY.label(value) == wanted


@pytest.mark.parametrize(
    ("value", "wanted"),
    [("cat", 0), ("dog", 1), ("7", 2), (7.0, 2), ("Cat", None), (7.5, None), (math.inf, None), (1.0, None)],
)
def test_what_happened_to_a_class_is_its_name(value: float | str, wanted: int | None) -> None:
    assert MULTI.label(value) == wanted


def test_a_class_may_be_named_as_a_number_is_written() -> None:
    assert loss_of("brier", FLAT, of_classes("1.0", "2.0")).label(2.0) == 1


def test_costs_are_read_from_the_policy() -> None:
    rules = Policy(loss="cost", costs=("decline/0=25", "approve/1=100"))
    assert loss_of(rules.loss, rules.cost_of, manifest(policy=DECIDES)) == COST


SIGMOID, MARGIN = manifest(), manifest(link="identity")
LIKELIEST = ThresholdPolicy(CLASSES, likeliest=True)
REFUSED: dict[str, tuple[str, Mapping[tuple[str, str], float], Manifest, Manifest | None, str]] = {
    "a regression": ("brier", FLAT, MARGIN, None, "no probabilities, so they have no brier loss"),
    "counts": ("log", FLAT, manifest(link="exp"), None, "no probabilities, so they have no log loss"),
    "a challenger's margins": ("brier", FLAT, SIGMOID, manifest(link="identity", version="2"), "scores of version 2"),
    "other classes": ("brier", FLAT, of_classes("a", "b"), of_classes("b", "a", version="2"), "version 2 has other cl"),
    "no outcomes": ("cost", COSTS, SIGMOID, None, "version 1 has no outcomes"),
    "a challenger that decides nothing": (
        "cost",
        COSTS,
        manifest(policy=DECIDES),
        manifest(version="2"),
        "version 2 has no outcomes",
    ),
    "an outcome that would be free": (
        "cost",
        COSTS,
        manifest(policy=DECIDES),
        manifest(policy=REFERS, version="2"),
        "does not have (refer), so nobody knows their cost",
    ),
    "a word that is none": ("cost", {("dcline", "0"): 1.0}, manifest(policy=DECIDES), None, "does not have (dcline)"),
    "what never happens": ("cost", {("decline", "no"): 1.0}, manifest(policy=DECIDES), None, "never happens here (no)"),
    "no class": ("cost", {("cat", "cow"): 1.0}, of_classes(*CLASSES, policy=LIKELIEST), None, "(cow); it is 7, cat, d"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_has_no_loss_says_so(case: str) -> None:
    kind, costs, mine, theirs, said = REFUSED[case]
    with pytest.raises(RolloutRefused) as refused:
        loss_of(kind, costs, mine, theirs)
    assert said in str(refused.value)
    assert str(refused.value).endswith(": only agreement can be shown")


@pytest.mark.parametrize(
    ("kind", "mine", "theirs"),
    [
        ("brier", SIGMOID, manifest(version="2", output="risk")),
        ("brier", SIGMOID, manifest(version="2", link="identity", policy=DECIDES)),
        ("log", of_classes(*CLASSES), of_classes(*CLASSES, version="2")),
        ("cost", manifest(policy=DECIDES), manifest(policy=DECIDES, version="2")),
        ("cost", manifest(policy=DECIDES, link="identity"), manifest(policy=DECIDES, version="2")),
    ],
)
def test_what_can_be_compared_is(kind: str, mine: Manifest, theirs: Manifest) -> None:
    assert loss_of(kind, COSTS if kind == "cost" else FLAT, mine, theirs).kind == kind
