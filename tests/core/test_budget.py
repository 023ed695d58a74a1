"""The latency budget: one set of defaults, shares that fit into the whole, and what is other for one model."""

from typing import Any

import pytest

from scoreline.core.budget import Budget, budgets_of
from scoreline.core.errors import SettingError
from scoreline.settings import Settings, load_settings

NOTHING = {"SCORELINE_CONFIG": "/dev/null"}


def test_the_settings_are_the_budget_and_have_its_defaults() -> None:
    assert Settings().latency.budgets == budgets_of(Budget(), ())
    assert Budget().here_ms == 150


def test_what_is_set_counts_for_every_model_but_those_that_have_their_own() -> None:
    given = {
        "SCORELINE_LATENCY__MODEL_MS": "60",
        "SCORELINE_LATENCY__MODELS": "fraud/total_ms=100, fraud/network_ms=20",
    }
    budgets = load_settings(None, NOTHING | given).latency.budgets
    assert budgets.of("churn") == Budget(model_ms=60)
    assert budgets.of("fraud") == Budget(total_ms=100, network_ms=20, model_ms=60)
    assert budgets.over_ns("fraud") == 60_000_000


@pytest.mark.parametrize(
    ("given", "words"),
    (
        ({"model_ms": 141}, "latency.total_ms: at least network_ms, features_ms and model_ms together"),
        ({"total_ms": 0}, "latency.total_ms: between 1 and"),
        ({"network_ms": -1}, "latency.network_ms: between 0 and"),
        ({"model_ms": 0}, "latency.model_ms: between 1 and"),
        ({"features_ms": 3_600_001}, "latency.features_ms: between 1 and"),
    ),
)
def test_a_budget_that_cannot_be_kept_is_refused_by_the_name_of_its_setting(given: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingError, match=words):
        Budget(**given)


@pytest.mark.parametrize(
    "text", ("fraud", "fraud/total_ms", "fraud/total_ms=", "fraud/all_ms=3", "/total_ms=3", "a/model_ms=x")
)
def test_what_is_other_for_one_model_says_which_and_what(text: str) -> None:
    with pytest.raises(SettingError, match=r'latency\.models: each as "MODEL/NAME=MS"'):
        budgets_of(Budget(), [text])


def test_a_models_own_budget_that_cannot_be_kept_names_the_model() -> None:
    with pytest.raises(SettingError, match=r"latency\.models: fraud: total_ms: at least"):
        budgets_of(Budget(), ["fraud/total_ms=150"])


def test_a_canary_is_not_ended_before_it_has_overrun() -> None:
    with pytest.raises(SettingError, match=r"rollout\.hang_ms: more than latency\.model_ms, of every model"):
        load_settings(None, NOTHING | {"SCORELINE_ROLLOUT__HANG_MS": "140"})
    with pytest.raises(SettingError, match=r"rollout\.hang_ms"):
        load_settings(None, NOTHING | {"SCORELINE_LATENCY__MODELS": "slow/total_ms=9000,slow/model_ms=2000"})
