"""`[latency]`: what a request may take, and which part of it may spend how much."""

from dataclasses import dataclass

from scoreline.core.budget import Budget, Budgets, budgets_of
from scoreline.settings.option import option


@dataclass(frozen=True, slots=True)
class Latency:
    """Every number is one of `core.budget.Budget`, which knows the ranges; a test holds the defaults equal."""

    total_ms: int = option(200, "What a request may take in all; a caller's X-Deadline-Ms can only shorten it.")
    network_ms: int = option(50, "Of it, the network's share: what is not answered in the rest is refused.")
    features_ms: int = option(10, "Of it, the feature store's share, for each 100 rows begun; then defaults are used.")
    model_ms: int = option(140, "Of it, the model's share: a version with a higher p99 becomes no canary.")
    models: tuple[str, ...] = option((), "What is other for one model, as `fraud/total_ms=100`: MODEL/NAME=MS.")

    def __post_init__(self) -> None:
        _ = self.budgets

    @property
    def budgets(self) -> Budgets:
        """Raises SettingError."""
        return budgets_of(Budget(self.total_ms, self.network_ms, self.features_ms, self.model_ms), self.models)
